"""Searches a trained supernet, or goes on with a search.

python -m launch.search --config=configs/mnist.py --workdir=runs/mnist
"""

from absl import flags

from launch import common
from scarlet_jax import jobs, workspace

FLAGS = flags.FLAGS
USAGE = "python -m launch.search --config=configs/mnist.py --workdir=runs/mnist"


def main() -> None:
    setup = workspace.prepare(FLAGS.config, FLAGS.workdir)
    jobs.search_supernet(setup, jobs.load_supernet(setup))
    jobs.say_unreadable(setup)


if __name__ == "__main__":
    common.define_config()
    common.run(main, USAGE)
