"""How far a supernet's scores can be trusted: trains some networks alone, and compares.

scarlet rank --config=mnist --workdir=runs/mnist --minutes=10
scarlet rank --config=mnist --workdir=runs/fast --supernet=runs/mnist
"""

import math
import time

from absl import flags

from scarlet_jax.launch import common
from scarlet_jax.run.images import say_unreadable
from scarlet_jax.run.rank import rank_supernet
from scarlet_jax.run.report import write_report
from scarlet_jax.run.search import saved_search
from scarlet_jax.run.supernet import load_supernet

FLAGS = flags.FLAGS
OWN_FLAGS = ("minutes", "supernet")


def main() -> None:
    setup = common.prepare(FLAGS.supernet)
    network = load_supernet(setup)
    state = saved_search(setup, network)
    begin = time.monotonic()
    rank_supernet(setup, network, FLAGS.minutes)
    seconds = {"ranking": time.monotonic() - begin}
    retrain = common.command("train_subnet", without=OWN_FLAGS)
    write_report(setup, network, state, common.command("rank"), seconds, retrain)
    say_unreadable(setup)


if __name__ == "__main__":
    common.define_run()
    flags.DEFINE_float(
        "minutes",
        math.inf,
        "No training is begun that would end later, by the time of those before; what is not "
        "trained by then is left out.",
        lower_bound=0.0,
    )
    flags.register_validator("minutes", lambda value: value == value, "allowed: 0 or more minutes")
    common.define_path(
        "supernet", None, "The work directory whose supernet is meant, if not --workdir."
    )
    common.run(main, __doc__)
