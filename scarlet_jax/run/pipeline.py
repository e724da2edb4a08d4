"""The main job: all the others, one after the other."""

import time
from pathlib import Path

from scarlet_jax import search
from scarlet_jax.run.one_writer import one_writer
from scarlet_jax.run.report import write_report
from scarlet_jax.run.search import search_supernet
from scarlet_jax.run.setup import Setup
from scarlet_jax.run.subnet import model_name, train_subnet
from scarlet_jax.run.supernet import train_supernet


@one_writer
def run_pipeline(setup: Setup, command: str = "run_pipeline") -> Path:
    """Supernet, search, retraining of the picks, report.

    Args:
      setup: of the work directory.
      command: that repeats the run, for the report.

    Returns:
      The report's path.
    """
    begin = time.monotonic()
    network = train_supernet(setup)
    trained = time.monotonic()
    state = search_supernet(setup, network)
    searched = time.monotonic()
    for number, pick in enumerate(search.pick_indices(setup.problem, state)):
        architecture = state.architectures[pick]
        train_subnet(setup, architecture, model_name(setup, number, architecture))
    seconds = {
        "supernet": trained - begin,
        "search": searched - trained,
        "subnets": time.monotonic() - searched,
    }
    return write_report(setup, network, state, command, seconds)
