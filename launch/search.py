"""Searches a trained supernet, or goes on with a search.

scarlet search --config=mnist --workdir=runs/mnist
scarlet search --config=mnist --workdir=runs/mnist --resume --generations=40
scarlet search --config=mnist --workdir=runs/fast --supernet=runs/mnist
"""

import time

from absl import flags

from scarlet_jax.launch import common
from scarlet_jax.run.images import say_unreadable
from scarlet_jax.run.report import write_report
from scarlet_jax.run.search import check_searched, search_supernet
from scarlet_jax.run.supernet import load_supernet

FLAGS = flags.FLAGS
OWN_FLAGS = ("resume", "generations", "supernet")


def main() -> None:
    if FLAGS.generations is not None:
        FLAGS.config.search.generations = FLAGS.generations
    setup = common.prepare(FLAGS.supernet)
    if FLAGS.resume:
        check_searched(setup)
    network = load_supernet(setup)
    begin = time.monotonic()
    state = search_supernet(setup, network)
    seconds = {"search": time.monotonic() - begin}
    retrain = common.command("train_subnet", without=OWN_FLAGS)
    write_report(setup, network, state, common.command("search"), seconds, retrain)
    say_unreadable(setup)


if __name__ == "__main__":
    common.define_run()
    flags.DEFINE_boolean("resume", False, "Only go on with a search; an error if there is none.")
    flags.DEFINE_integer(
        "generations", None, "Instead of search.generations; more of them extend a search."
    )
    common.define_path(
        "supernet", None, "The work directory whose supernet is searched, if not --workdir."
    )
    common.run(main, __doc__)
