"""Trains a supernet, searches it, retrains what was found, and writes a report.

scarlet pipeline --config=mnist --workdir=runs/mnist
"""

from scarlet_jax.launch import common
from scarlet_jax.run.images import say_unreadable
from scarlet_jax.run.pipeline import run_pipeline


def main() -> None:
    setup = common.prepare()
    run_pipeline(setup, command=common.command("pipeline"))
    say_unreadable(setup)


if __name__ == "__main__":
    common.define_run()
    common.run(main, __doc__)
