"""Trains a supernet, or goes on with one.

scarlet train_supernet --config=mnist --workdir=runs/mnist
"""

from scarlet_jax.launch import common
from scarlet_jax.progress import say
from scarlet_jax.run.images import say_unreadable
from scarlet_jax.run.supernet import train_supernet


def main() -> None:
    setup = common.prepare()
    train_supernet(setup)
    say_unreadable(setup)
    say(f"supernet trained; its weights and metrics are in {setup.workdir / 'supernet'}")


if __name__ == "__main__":
    common.define_run()
    common.run(main, __doc__)
