"""Scores architectures with supernet weights, or a trained subnet.

scarlet evaluate --config=mnist --workdir=runs/mnist --arch=all-identity
scarlet evaluate --config=mnist --workdir=runs/mnist --subnet=model-0
"""

import numpy as np
from absl import flags

from scarlet_jax import space as spaces
from scarlet_jax.errors import InputError
from scarlet_jax.launch import common
from scarlet_jax.progress import say
from scarlet_jax.run.images import say_unreadable
from scarlet_jax.run.setup import make_space
from scarlet_jax.run.subnet import evaluate_subnet
from scarlet_jax.run.supernet import load_supernet, right_images

FLAGS = flags.FLAGS


def main() -> None:
    if bool(FLAGS.arch) == bool(FLAGS.subnet):
        raise InputError(f"give either --arch or --subnet, {common.examples(__doc__)}")
    space = make_space(FLAGS.config)
    architectures = [spaces.parse(space, text) for text in FLAGS.arch]
    setup = common.prepare()
    if FLAGS.subnet:
        scores = evaluate_subnet(setup, FLAGS.subnet)
        images = scores.pop("images")
        text = ", ".join(f"{name} {value:.4f}" for name, value in scores.items())
        say(f"{FLAGS.subnet}: {text} on {images:.0f} test images")
    else:
        correct = right_images(setup, load_supernet(setup))(np.stack(architectures))
        for name, right in zip(map(spaces.label, FLAGS.arch, architectures), correct, strict=True):
            say(f"{name}: supernet accuracy {right.mean():.4f} on {len(right)} validation images")
    say_unreadable(setup)


if __name__ == "__main__":
    common.define_run()
    flags.DEFINE_multi_string("arch", [], common.ARCH_HELP + " Repeatable.")
    flags.DEFINE_string("subnet", None, "The name of a trained subnet in WORKDIR/subnets.")
    common.run(main, __doc__)
