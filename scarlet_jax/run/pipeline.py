"""The main job: all the others, one after the other."""

import time
from collections.abc import Sequence
from pathlib import Path

from scarlet_jax import search
from scarlet_jax.progress import say
from scarlet_jax.run import commands
from scarlet_jax.run.one_writer import one_writer
from scarlet_jax.run.report import write_report
from scarlet_jax.run.search import search_supernet
from scarlet_jax.run.setup import Setup
from scarlet_jax.run.subnet import Result, check_frozen, model_name, train_subnet
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
    check_frozen(setup)
    begin = time.monotonic()
    network = train_supernet(setup)
    trained = time.monotonic()
    state = search_supernet(setup, network)
    searched = time.monotonic()
    models = []
    for number, pick in enumerate(search.pick_indices(setup.problem, state)):
        architecture = state.architectures[pick]
        name = model_name(setup, number, architecture)
        models.append(train_subnet(setup, architecture, name))
    seconds = {
        "supernet": trained - begin,
        "search": searched - trained,
        "subnets": time.monotonic() - searched,
    }
    report = write_report(setup, network, state, command, seconds)
    _say_models(setup.workdir, models)
    return report


def _say_models(workdir: Path, models: Sequence[Result]) -> None:
    """A table of what was trained, and what to do with the best of it."""
    if not models:
        say("no model was picked, so none was trained")
        return
    width = max(len("model"), *(len(model["name"]) for model in models))
    say(f"{'model':{width}}  {'MACs':>13}  {'parameters':>11}  validation    test")
    for model in models:
        say(
            f"{model['name']:{width}}  {model['macs']:13,}  {model['params']:11,}  "
            f"{model['validation_accuracy']:10.2%}  {model['test_accuracy']:6.2%}"
        )
    best = max(models, key=lambda model: (model["validation_accuracy"], -model["macs"]))
    folder = workdir / "subnets" / best["name"]
    say(
        f"best by validation: {best['name']}; to use it\n"
        f"  {commands.predict(folder)}\n"
        f"  {commands.export(folder)}"
    )
