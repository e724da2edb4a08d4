r"""Trains one architecture alone and scores it on the test images.

scarlet train_subnet --config=mnist --workdir=runs/mnist \
    --arch=all-identity --name=smallest
scarlet train_subnet --config=mnist --workdir=runs/mnist --arch=all-identity --weights=runs/mnist
scarlet train_subnet --config=finetune --workdir=runs/pets --arch=scarlet-a \
    --weights=DIR --config.data.path=IMAGES
"""

from absl import flags

from scarlet_jax import models
from scarlet_jax import space as spaces
from scarlet_jax.files import as_path
from scarlet_jax.launch import common
from scarlet_jax.run.images import say_unreadable
from scarlet_jax.run.setup import make_space
from scarlet_jax.run.subnet import train_subnet
from scarlet_jax.run.supernet import is_supernet, load_supernet, path_model

FLAGS = flags.FLAGS


def main() -> None:
    architecture = spaces.parse(make_space(FLAGS.config), FLAGS.arch)
    supernet = FLAGS.weights if FLAGS.weights and is_supernet(as_path(FLAGS.weights)) else None
    setup = common.prepare(supernet)
    initial = None
    if supernet:
        initial = path_model(setup, load_supernet(setup), architecture)
    elif FLAGS.weights:
        initial = models.load(FLAGS.weights)
    name = FLAGS.name or spaces.label(FLAGS.arch, architecture)
    train_subnet(setup, architecture, name, initial)
    say_unreadable(setup)


if __name__ == "__main__":
    common.define_run()
    flags.DEFINE_string("arch", None, common.ARCH_HELP)
    flags.DEFINE_string("name", None, "Its folder under WORKDIR/subnets; the --arch by default.")
    common.define_path(
        "weights",
        None,
        "To start from: a model file, a folder with one, or the work directory of a supernet; "
        "random ones if absent.",
    )
    common.run(main, __doc__, required=("config", "workdir", "arch"))
