"""Trains a supernet, searches it, retrains what was found, and writes a report.

python -m launch.pipeline --config=configs/mnist.py --workdir=runs/mnist
"""

import shlex
import sys

from launch import common
from scarlet_jax import jobs

USAGE = "python -m launch.pipeline --config=configs/mnist.py --workdir=runs/mnist"


def main() -> None:
    setup = common.prepare()
    jobs.run_pipeline(setup, command=shlex.join(["python", "-m", "launch.pipeline", *sys.argv[1:]]))
    jobs.say_unreadable(setup)


if __name__ == "__main__":
    common.define_config()
    common.run(main, USAGE)
