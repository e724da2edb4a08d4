"""The jobs of the command line: train a supernet, search it, retrain what was found, report.

Each takes a configuration and a work directory, goes on where an earlier run stopped, and
leaves its results in files:

  config.json                 the configuration
  supernet/                   checkpoints, metrics
  search/search.npz           everything evaluated
  front.json                  the Pareto front and the picked models
  subnets/<name>/             checkpoints, metrics, result.json
  report.html                 figures and tables
"""

import hashlib
import json
import os
import platform
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh
from ml_collections import ConfigDict

from scarlet_jax import (
    cost,
    data,
    devices,
    evaluation,
    report,
    search,
    settings,
    subnet,
    supernet,
)
from scarlet_jax import space as spaces
from scarlet_jax.errors import InputError
from scarlet_jax.nn import functional
from scarlet_jax.progress import Progress, say
from scarlet_jax.space import Array, Space
from scarlet_jax.train import checkpoint, loop, metrics
from scarlet_jax.train import step as steps

# Settings that do not change the result, so a run may go on with others.
OPERATIONAL = {
    *("log_every", "eval_every", "checkpoint_every", "keep_checkpoints", "eval_paths"),
    *("path", "threads", "workers"),
}


@dataclass(frozen=True)
class Setup:
    """A checked configuration with what is built from it."""

    config: ConfigDict
    workdir: Path
    space: Space
    splits: data.Splits
    mesh: Mesh
    problem: search.Problem
    unreadable: data.Unreadable

    @property
    def num_classes(self) -> int:
        return len(self.splits.class_names)


def prepare(config: ConfigDict, workdir: str | os.PathLike[str]) -> Setup:
    """Checks every setting, opens the data and writes `config.json`, before any long work.

    Raises:
      InputError: for the first setting that is not allowed.
    """
    space = make_space(config)
    for name, section in (("supernet", config.supernet), ("subnet", config.subnet)):
        steps.check_training(name, section)
        devices.check_batch_size(f"{name}.batch_size", section.batch_size)
    steps.paths_per_step(config.supernet.sampler, space)
    splits = data.load(config.data, config.seed)
    setup = Setup(
        config=config,
        workdir=Path(workdir),
        space=space,
        splits=splits,
        mesh=devices.make_mesh(),
        problem=search.make_problem(
            space,
            config.search,
            image_size=config.data.image_size,
            num_classes=len(splits.class_names),
            channels=config.data.channels,
        ),
        unreadable=data.Unreadable(),
    )
    setup.workdir.mkdir(parents=True, exist_ok=True)
    _write(setup.workdir / "config.json", json.dumps(_plain(config), indent=1))
    return setup


def make_space(config: ConfigDict) -> Space:
    """The search space of a configuration."""
    return spaces.make_space(**config.space.to_dict())


def train_supernet(setup: Setup) -> functional.Network:
    """Trains the supernet to the end and returns it with the weights to search with."""
    config, training = setup.config, setup.config.supernet
    network = new_supernet(setup)
    score = _population_scorer(setup, network.graphdef)
    paths = spaces.sample(setup.space, np.random.default_rng(config.seed), training.eval_paths)

    def evaluate(state: steps.TrainState) -> dict[str, float]:
        accuracy = score(*steps.inference_arrays(state), paths)
        return {"validation_accuracy": float(accuracy.mean())}

    task = steps.supernet_task(network.graphdef, setup.space, training)
    state = _train(setup, network, task, "supernet", setup.workdir / "supernet", evaluate, {})
    return functional.Network(network.graphdef, *steps.inference_arrays(state))


def load_supernet(setup: Setup) -> functional.Network:
    """The trained supernet of a work directory.

    Raises:
      InputError: if there is none, its training is not finished, or its settings differ.
    """
    network = new_supernet(setup)
    directory = setup.workdir / "supernet" / "checkpoints"
    state = steps.init_state(network, setup.config.supernet)
    with checkpoint.Checkpoints(directory, _settings(setup, "supernet", {})) as saved:
        state = saved.restore(devices.replicate(setup.mesh, state))
    done, wanted = int(state.step), setup.config.supernet.steps
    if done < wanted:
        raise InputError(
            f"the supernet in {directory} has trained {done} of {wanted} steps; "
            "finish it first: python -m launch.train_supernet"
        )
    return functional.Network(network.graphdef, *steps.inference_arrays(state))


def new_supernet(setup: Setup) -> functional.Network:
    """A supernet with initial weights."""
    model = setup.config.model
    return supernet.create(
        setup.space,
        num_classes=setup.num_classes,
        channels=setup.config.data.channels,
        stabilizer=model.stabilizer,
        dtype=model.dtype,
        seed=setup.config.seed,
    )


def search_supernet(setup: Setup, network: functional.Network) -> search.State:
    """Searches with the supernet's weights and writes `front.json`."""
    config = setup.config
    score = _population_scorer(setup, network.graphdef)
    weights = (network.params, network.stats)
    context = {
        "supernet": _fingerprint(weights),
        "data": _without_operational(config.data),
        "statistics": config.search.statistics,
        "calibration_batches": config.search.calibration_batches,
        "batch_size": config.search.batch_size,
    }
    total = config.search.generations + 1
    with Progress("search", total, "generation") as progress:
        state = search.run(
            setup.problem,
            lambda architectures: score(*weights, architectures),
            seed=config.seed,
            directory=setup.workdir / "search",
            context=context,
            on_generation=lambda state: progress.update(
                state.generation,
                f"{len(state.accuracy)} evaluated, best accuracy {np.nanmax(state.accuracy):.2%}",
            ),
        )
    path = setup.workdir / "front.json"
    search.write_front(path, setup.problem, state)
    say(f"search: front written to {path}")
    return state


def evaluate_path(setup: Setup, network: functional.Network, architectures: Array) -> Any:
    """Validation accuracy of architectures `int32[P, L]` with supernet weights, `float64[P]`."""
    score = _population_scorer(setup, network.graphdef)
    return score(network.params, network.stats, architectures)


def train_subnet(setup: Setup, architecture: Array, name: str) -> dict[str, Any]:
    """Trains one architecture alone, scores it on the test images, writes `result.json`."""
    config, training = setup.config, setup.config.subnet
    network = subnet.create(
        setup.space,
        architecture,
        num_classes=setup.num_classes,
        channels=config.data.channels,
        dropout=training.dropout,
        dtype=config.model.dtype,
        seed=config.seed,
    )
    score = evaluation.network_evaluator(network.graphdef, config.data, setup.mesh)

    def on_split(state: steps.TrainState, source: data.Source) -> dict[str, float]:
        batches = data.eval_batches(
            source,
            config.data,
            batch_size=training.batch_size,
            process_index=jax.process_index(),
            process_count=jax.process_count(),
            unreadable=setup.unreadable,
        )
        return score(*steps.inference_arrays(state), batches)

    def evaluate(state: steps.TrainState) -> dict[str, float]:
        scores = on_split(state, setup.splits.validation)
        return {f"validation_{name}": scores[name] for name in ("accuracy", "loss")}

    directory = setup.workdir / "subnets" / name
    task = steps.subnet_task(network.graphdef)
    identity = {"architecture": architecture.tolist()}
    state = _train(setup, network, task, "subnet", directory, evaluate, identity, label=name)
    macs, params = cost.costs(setup.space, architecture, **_network_size(setup))
    result = {
        "name": name,
        "architecture": architecture.tolist(),
        "blocks": spaces.to_names(setup.space, architecture),
        "macs": int(macs),
        "params": int(params),
        **evaluate(state),
        **{f"test_{key}": value for key, value in on_split(state, setup.splits.test).items()},
    }
    _write(directory / "result.json", json.dumps(result, indent=1))
    say(
        f"{name}: test accuracy {result['test_accuracy']:.2%} of {result['test_images']} images, "
        f"{macs:,} MACs, {params:,} parameters, in {directory}"
    )
    return result


def run_pipeline(setup: Setup, command: str) -> Path:
    """The main job: supernet, search, retraining of the picks, report. Returns its path."""
    begin = time.monotonic()
    network = train_supernet(setup)
    trained = time.monotonic()
    state = search_supernet(setup, network)
    searched = time.monotonic()
    picks = search.pick_indices(setup.problem, state)
    results = [
        train_subnet(setup, state.architectures[pick], f"model-{i}")
        for i, pick in enumerate(picks)
    ]
    end = time.monotonic()
    seconds = {"supernet": trained - begin, "search": searched - trained, "subnets": end - searched}
    path = setup.workdir / "report.html"
    report.write_report(_report(setup, state, picks, results, command, seconds), path)
    if len(setup.unreadable):
        say(str(setup.unreadable))
    say(f"report written to {path}")
    return path


def _train(
    setup: Setup,
    network: functional.Network,
    task: steps.Task,
    section: str,
    directory: Path,
    evaluate: Any,
    identity: Mapping[str, Any],
    label: str | None = None,
) -> steps.TrainState:
    config, training = setup.config, setup.config[section]
    state = devices.replicate(setup.mesh, steps.init_state(network, training))

    def batches(start: int) -> Any:
        return data.train_batches(
            setup.splits.train,
            config.data,
            batch_size=training.batch_size,
            seed=config.seed,
            start_step=start,
            process_index=jax.process_index(),
            process_count=jax.process_count(),
            unreadable=setup.unreadable,
        )

    return loop.train(
        steps.make_train_step(task, training, config.data, setup.mesh, config.seed),
        state,
        batches,
        training=training,
        mesh=setup.mesh,
        directory=directory,
        settings=_settings(setup, section, identity),
        label=label or section,
        evaluate=evaluate,
    )


def _population_scorer(setup: Setup, graphdef: Any) -> Any:
    """`(params, stats, architectures) -> float64[P]`, accuracy on the validation images."""
    config, section = setup.config, setup.config.search

    def whole(source: Iterator[Any]) -> Iterator[Any]:
        for batch in source:
            part = {name: batch[name] for name in ("image", "label", "weight")}
            yield devices.replicate(setup.mesh, part)

    validation = list(
        whole(
            data.eval_batches(
                setup.splits.validation,
                config.data,
                batch_size=section.batch_size,
                unreadable=setup.unreadable,
            )
        )
    )
    calibration: list[Any] = []
    if section.statistics == "recalibrated":
        source = data.train_batches(
            setup.splits.train,
            config.data,
            batch_size=section.batch_size,
            seed=config.seed,
            start_step=0,
            unreadable=setup.unreadable,
        )
        calibration = [next(source) for _ in range(section.calibration_batches)]
        source.close()
    score = evaluation.population_evaluator(
        graphdef,
        config.data,
        setup.mesh,
        statistics=section.statistics,
        calibration=calibration,
        chunk=section.chunk,
    )
    return lambda params, stats, paths: score(params, stats, paths, lambda: validation)


def _network_size(setup: Setup) -> dict[str, int]:
    return {
        "image_size": setup.config.data.image_size,
        "num_classes": setup.num_classes,
        "channels": setup.config.data.channels,
    }


def _settings(setup: Setup, section: str, identity: Mapping[str, Any]) -> dict[str, Any]:
    """What trained weights depend on."""
    config = setup.config
    return {
        "seed": config.seed,
        "space": _plain(config.space),
        "model": _plain(config.model),
        "data": _without_operational(config.data),
        section: _without_operational(config[section]),
        "num_classes": setup.num_classes,
        **identity,
    }


def _without_operational(section: ConfigDict) -> dict[str, Any]:
    return {name: value for name, value in _plain(section).items() if name not in OPERATIONAL}


def _plain(section: ConfigDict) -> dict[str, Any]:
    """As JSON gives it back, tuples as lists."""
    return json.loads(json.dumps(section.to_dict()))


def _fingerprint(tree: Any) -> str:
    digest = hashlib.sha256()
    for leaf in jax.tree.leaves(tree):
        digest.update(np.asarray(leaf).tobytes())
    return digest.hexdigest()


def _write(path: Path, text: str) -> None:
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text + "\n")
    os.replace(partial, path)


def _report(
    setup: Setup,
    state: search.State,
    picks: Array,
    results: list[dict[str, Any]],
    command: str,
    seconds: Mapping[str, float],
) -> report.Report:
    points = np.stack([state.macs, state.accuracy], axis=1)
    models = [
        report.Model(
            name=result["name"],
            architecture=result["architecture"],
            supernet_accuracy=float(state.accuracy[pick]),
            macs=result["macs"],
            params=result["params"],
            validation_accuracy=result["validation_accuracy"],
            test_accuracy=result["test_accuracy"],
            test_images=result["test_images"],
            curve=metrics.read(setup.workdir / "subnets" / result["name"]),
        )
        for pick, result in zip(picks, results, strict=True)
    ]
    reproduction = {
        "command": command,
        "seed": str(setup.config.seed),
        **devices.describe(),
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {os.cpu_count()} CPU cores",
        **{f"{name}, seconds in this run": f"{value:.0f}" for name, value in seconds.items()},
    }
    return report.Report(
        title=f"SCARLET-NAS on {setup.config.data.source}, space {setup.space.name}",
        space=setup.space,
        supernet_curve=metrics.read(setup.workdir / "supernet"),
        generations=[points[row[row >= 0]] for row in state.survivors],
        history=points,
        front=points[search.front_indices(setup.problem, state)],
        models=models,
        reproduction=reproduction,
        config=setup.config.to_yaml(),
        notes=[str(setup.unreadable)] if len(setup.unreadable) else [],
    )
