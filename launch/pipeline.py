"""Trains a supernet, searches it, retrains what was found, and writes a report.

python -m launch.pipeline --config=configs/mnist.py --workdir=runs/mnist
"""

from launch import common
from scarlet_jax import jobs

USAGE = "python -m launch.pipeline --config=configs/mnist.py --workdir=runs/mnist"


def main() -> None:
    setup = common.prepare()
    jobs.run_pipeline(setup, command=common.command("pipeline"))
    jobs.say_unreadable(setup)


if __name__ == "__main__":
    common.define_config()
    common.run(main, USAGE)
