"""Searches a trained supernet, or goes on with a search.

python -m launch.search --config=configs/mnist.py --workdir=runs/mnist
"""

from launch import common
from scarlet_jax import jobs

USAGE = "python -m launch.search --config=configs/mnist.py --workdir=runs/mnist"


def main() -> None:
    setup = common.prepare()
    jobs.search_supernet(setup, jobs.load_supernet(setup))
    jobs.say_unreadable(setup)


if __name__ == "__main__":
    common.define_config()
    common.run(main, USAGE)
