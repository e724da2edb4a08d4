"""What a work directory has to report: its search, and every model that is picked or trained."""

import os
import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib import metadata
from itertools import chain
from pathlib import Path

import numpy as np
from absl import logging
from ml_collections import ConfigDict

from scarlet_jax import __version__, cost, devices, machine, processes, report, search, settings
from scarlet_jax import space as spaces
from scarlet_jax.differences import differences, flatten
from scarlet_jax.files import written
from scarlet_jax.nn import functional
from scarlet_jax.progress import say
from scarlet_jax.report.contents import Command, Curve, Setting, Training, best_model
from scarlet_jax.run import commands, training
from scarlet_jax.run.images import share_unreadable
from scarlet_jax.run.one_writer import one_writer
from scarlet_jax.run.rank import Record, load_record
from scarlet_jax.run.search import DIRECTORY, undecided
from scarlet_jax.run.searched import searched
from scarlet_jax.run.setup import Setup, data_settings
from scarlet_jax.run.subnet import Result, model_name, results
from scarlet_jax.train import checkpoint, losses

PACKAGES = ("flax", "optax", "numpy")  # whose versions are told, beside jax
ABSENT = "–"  # of a setting that others have, such as an argument of another optimizer


@one_writer
def write_report(
    setup: Setup,
    network: functional.Network,
    state: search.State,
    command: str,
    seconds: Mapping[str, float],
    retrain: str = "scarlet train_subnet",
) -> Path:
    """Writes `report.html` of what the work directory holds. Returns its path.

    Args:
      setup: of the work directory.
      network: the supernet that was searched.
      state: the search.
      command: what was run.
      seconds: what each job of it took.
      retrain: what trains a subnet in this work directory, but for `--arch` and `--name`.
    """
    path = setup.workdir / "report.html"
    notes, ranking = undecided(setup, network, state), load_record(setup, network)
    for note in notes:
        logging.warning("%s", note)
    share_unreadable(setup)
    if processes.is_first():
        contents = make_report(setup, state, command, seconds, retrain, notes, ranking)
        report.write_report(contents, path)
    say(f"report: {path}")
    return path


def make_report(
    setup: Setup,
    state: search.State,
    command: str,
    seconds: Mapping[str, float],
    retrain: str,
    notes: Sequence[str] = (),
    ranking: Record | None = None,
) -> report.Report:
    """The report of a work directory; see `write_report` for the arguments.

    What is noted of the search, and the supernet's ranking, are as `undecided` and `load_record`
    give them.
    """
    reproduction = {
        "command": command,
        "seed": str(setup.config.seed),
        "processor": f"{machine.processor()}, {os.cpu_count()} cores",
        **devices.describe(),
        **{name: metadata.version(name) for name in PACKAGES},
        "python": platform.python_version(),
        "scarlet_jax": __version__,
        **{f"{name}, seconds in this run": f"{value:.0f}" for name, value in seconds.items()},
    }
    found = results(setup.workdir)
    trained = {name: result for name, result in found.items() if _is_of(setup, result)}
    foreign = ", ".join(name for name in found if name not in trained)
    notes = [note[0].upper() + note[1:] for note in notes]
    if foreign:
        notes.append(f"Subnets of another space or other data are not shown: {foreign}")
    if len(setup.unreadable):
        notes.append(str(setup.unreadable))
    models = _models(setup, state, trained)
    missing = [
        f"{retrain} --arch={spaces.to_text(model.architecture)} --name={model.name}"
        for model in models
        if not model.is_trained
    ]
    return report.Report(
        title=f"SCARLET-NAS, space {setup.space.name}",
        date=_date(setup.workdir),
        space=setup.space,
        supernet_curve=_curve(setup.supernet_workdir / "supernet"),
        supernet_training=_training(setup, "supernet"),
        subnet_training=_training(setup, "subnet"),
        search=searched(setup.problem, state),
        models=models,
        ranking=_ranking(ranking),
        retrain=[*missing, command] if missing else [],
        commands=_commands(setup, models, command),
        reproduction=reproduction,
        settings=_settings(setup.config),
        notes=notes,
    )


def _date(workdir: Path) -> str:
    """When the latest checkpoint or search was saved, in UTC; empty if there is none."""
    step = f"{checkpoint.DIRECTORY}/*/{checkpoint.RECORD}"
    patterns = f"supernet/{step}", f"subnets/*/{step}", f"{DIRECTORY}/{search.FILE_NAME}"
    saved = chain.from_iterable(map(workdir.glob, patterns))
    times = [written(path) for path in saved]
    return f"{datetime.fromtimestamp(max(times), UTC):%Y-%m-%d %H:%M} UTC" if times else ""


def _training(setup: Setup, section: str) -> Training:
    smoothing = setup.config[section].label_smoothing
    least = losses.least_cross_entropy(setup.size.num_classes, smoothing)
    return Training(smoothing, least)


def _commands(setup: Setup, models: Sequence[report.Model], command: str) -> list[Command]:
    """What to do with the work directory, and with the best of its models if it is trained."""
    found = [Command("Go on where it was stopped, or write this page anew", command)]
    best = best_model(models)
    if best is not None and best[0].is_trained:
        name = best[0].name
        folder = setup.workdir / "subnets" / name
        found += [
            Command(f"Load {name} in Python", commands.load(folder)),
            Command(f"Classify pictures by {name}", commands.predict(folder)),
            Command(f"Export {name}", commands.export(folder)),
        ]
    logs = {setup.workdir: "the curves"}
    if setup.supernet_workdir != setup.workdir:
        logs[setup.supernet_workdir] = "the supernet's curves"
    return found + [
        Command(f"See {what} in TensorBoard (pip install tensorboard)", commands.tensorboard(where))
        for where, what in logs.items()
    ]


def _settings(config: ConfigDict) -> list[Setting]:
    """All settings, and those that only the defaults have."""
    own, given = flatten(config.to_dict()), flatten(settings.defaults().to_dict())
    return [
        Setting(name, *(repr(part[name]) if name in part else ABSENT for part in (own, given)))
        for name in {**own, **given}
    ]


def _is_of(setup: Setup, result: Result) -> bool:
    """Whether a subnet was trained in the setup's space, on its data."""
    own = {"space": setup.config.space.to_dict(), "data": data_settings(setup)}
    return not differences({part: result["settings"][part] for part in own}, own)


def _models(setup: Setup, state: search.State, trained: Mapping[str, Result]) -> list[report.Model]:
    """Those of the picks in the picks' order, then the other trained ones by name."""
    picks = state.architectures[search.pick_indices(setup.problem, state)].tolist()
    done = [result["architecture"] for result in trained.values()]
    todo = {
        model_name(setup, number, np.array(pick, np.int32)): {"architecture": pick}
        for number, pick in enumerate(picks)
        if pick not in done
    }

    def order(model: report.Model) -> tuple[int, str]:
        return picks.index(model.architecture) if model.is_picked else len(picks), model.name

    models = [
        _model(setup, state, name, result, result["architecture"] in picks)
        for name, result in {**trained, **todo}.items()
    ]
    return sorted(models, key=order)


def _model(
    setup: Setup, state: search.State, name: str, result: Result, is_picked: bool
) -> report.Model:
    """A model with all that is known of it: by the search, by its architecture, by training.

    Of one that is not trained, the result has the architecture alone.
    """
    path = np.array(result["architecture"], np.int32)
    found = np.flatnonzero((state.architectures == path).all(axis=1))
    index = int(found[0]) if len(found) else None
    row = setup.problem.computed_values(path[None])[0] if index is None else state.values[index]
    counts = cost.costs(setup.space, path, setup.size)
    macs, params = counts.tolist()  # of skips that are identities; training may have had others
    return report.Model(
        name=name,
        architecture=result["architecture"],
        index=index,
        is_picked=is_picked,
        values={
            **dict(zip(setup.problem.names, row.tolist(), strict=True)),
            "macs": result.get("macs", macs),
            "params": result.get("params", params),
        },
        validation_accuracy=result.get("validation_accuracy"),
        test_accuracy=result.get("test_accuracy"),
        test_images=result.get("test_images", 0),
        curve=_curve(setup.workdir / "subnets" / name) if "test_accuracy" in result else [],
    )


def _ranking(record: Record | None) -> report.Ranking | None:
    if record is None:
        return None
    networks = record["networks"]
    return report.Ranking(
        scores=np.array([network["score"] for network in networks]),
        accuracies=np.array([network["validation_accuracy"] for network in networks]),
        macs=(min(n["macs"] for n in networks), max(n["macs"] for n in networks)),
        **{name: record[name] for name in ("images", "steps", "kendall_tau", "differing")},
        **record["precision"],
    )


def _curve(directory: Path) -> Curve:
    return list(training.latest_record(directory).get("metrics", []))
