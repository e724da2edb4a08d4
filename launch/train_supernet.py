"""Trains a supernet, or goes on with one.

python -m launch.train_supernet --config=configs/mnist.py --workdir=runs/mnist
"""

from launch import common
from scarlet_jax.progress import say
from scarlet_jax.run.images import say_unreadable
from scarlet_jax.run.supernet import train_supernet

USAGE = "python -m launch.train_supernet --config=configs/mnist.py --workdir=runs/mnist"


def main() -> None:
    setup = common.prepare()
    train_supernet(setup)
    say_unreadable(setup)
    say(f"supernet trained; its weights and metrics are in {setup.workdir / 'supernet'}")


if __name__ == "__main__":
    common.define_config()
    common.run(main, USAGE)
