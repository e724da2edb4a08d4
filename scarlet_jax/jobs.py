"""The jobs of the command line: train a supernet, search it, retrain what was found, report.

Each goes on where an earlier run in the same work directory stopped, and leaves files there:

  supernet/            checkpoints, metrics
  search/search.npz    everything evaluated
  front.json           the Pareto front and the picked models
  subnets/<name>/      checkpoints, metrics, result.json, model.safetensors
  report.html          figures and tables
"""

import json
import reprlib
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import nullcontext
from functools import lru_cache, wraps
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import jax
import numpy as np
from numpy.typing import NDArray

from scarlet_jax import (
    cost,
    data,
    devices,
    evaluation,
    interrupts,
    lock,
    models,
    processes,
    report,
    search,
    subnet,
    summary,
    supernet,
    tensors,
)
from scarlet_jax import space as spaces
from scarlet_jax.errors import InputError
from scarlet_jax.files import write_signed
from scarlet_jax.nn import functional
from scarlet_jax.progress import Progress, say
from scarlet_jax.space import Array
from scarlet_jax.train import checkpoint, loop
from scarlet_jax.train import step as steps
from scarlet_jax.workspace import Setup, data_settings, training_settings, write

LONGEST_NAME = 255  # bytes of a file's name, on most file systems
Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def _one_writer(
    job: Callable[Concatenate[Setup, Arguments], Result],
) -> Callable[Concatenate[Setup, Arguments], Result]:
    """Lets a job begin only where its work directory can be written to, and nobody else does."""

    @wraps(job)
    def alone(setup: Setup, *args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        with lock.hold(setup.workdir) if processes.is_first() else nullcontext():
            return job(setup, *args, **kwargs)

    return alone


@_one_writer
def run_pipeline(setup: Setup, command: str) -> Path:
    """The main job: supernet, search, retraining of the picks, report. Returns its path."""
    begin = time.monotonic()
    network = train_supernet(setup)
    trained = time.monotonic()
    state = search_supernet(setup, network)
    searched = time.monotonic()
    for number, pick in enumerate(search.pick_indices(setup.problem, state)):
        architecture = state.architectures[pick]
        train_subnet(setup, architecture, summary.model_name(setup, number, architecture))
    seconds = {
        "supernet": trained - begin,
        "search": searched - trained,
        "subnets": time.monotonic() - searched,
    }
    return write_report(setup, state, command, seconds)


@_one_writer
def train_supernet(setup: Setup) -> functional.Network:
    """Trains the supernet to the end and returns it with the weights to search with."""
    config, training = setup.config, setup.config.supernet
    network = _new_supernet(setup)
    score = _population_scorer(setup, network.graphdef)
    paths = spaces.sample(setup.space, np.random.default_rng(config.seed), training.eval_paths)

    def evaluate(state: steps.TrainState) -> dict[str, float]:
        accuracy = score(*steps.inference_arrays(state), paths)
        return {"validation_accuracy": float(accuracy.mean())}

    task = steps.supernet_task(network.graphdef, training)
    directory = setup.workdir / "supernet"
    state = _train(setup, network, task, "supernet", "supernet", directory, {}, evaluate)
    return _trained_network(network, state)


def load_supernet(setup: Setup, source: Path | None = None) -> functional.Network:
    """The trained supernet of a work directory, `source` or the setup's own.

    Raises:
      InputError: if there is none, its training is not finished, or its settings differ.
    """
    network = _new_supernet(setup)
    state = _load(setup, network, "supernet", (source or setup.workdir) / "supernet", {})
    return _trained_network(network, state)


@_one_writer
def search_supernet(
    setup: Setup, network: functional.Network, source: Path | None = None
) -> search.State:
    """Searches with the supernet's weights and writes `front.json`.

    What has been scored with the same weights, data and settings is not scored again, whichever
    search asked for it: scores are kept beside the supernet, in the work directory `source`, or
    the setup's own.
    """
    section, problem = setup.config.search, setup.problem
    context = {
        "supernet": tensors.fingerprint((network.params, network.stats)),
        "space": setup.config.space.to_dict(),
        "data": data_settings(setup),
        "dtype": setup.config.model.dtype,
        "seed": setup.config.seed,  # of the held-out images
        "statistics": section.statistics,
        "calibration_batches": section.calibration_batches,
        "batch_size": section.batch_size,
    }
    save = processes.is_first()
    score = _path_scorer(setup, network)

    def score_or_stop(architectures: Array) -> NDArray[np.float64]:
        if processes.must_stop():
            interrupts.stop(
                "stopped in the search, whose scores are kept; the same command goes on from there"
            )
        return score(architectures)

    evaluate = search.remember(
        score_or_stop,
        (source or setup.workdir) / "evaluations",
        context,
        chunk=section.chunk,
        save=save,
        agree=lambda value: processes.gather(value)[0],
    )
    with (
        interrupts.deferred(),
        Progress("search", section.generations + 1, "generation") as progress,
    ):
        state = search.run(
            problem,
            evaluate,
            seed=setup.config.seed,
            directory=setup.workdir / "search",
            context=context,
            save=save,
            on_generation=lambda state: progress.update(
                state.generation, _search_detail(problem, state)
            ),
        )
    front = search.front(problem, state)
    for model in front["front"]:
        model["blocks"] = spaces.to_names(setup.space, model["architecture"])
    path = setup.workdir / "front.json"
    write(path, json.dumps({"space": setup.space.name, **front}, indent=1))
    search.say_picks(problem, state)
    say(
        f"search: {state.evaluations} evaluated, hypervolume {front['hypervolume']:.4f}, "
        f"{len(front['front'])} on the front, in {path}"
    )
    return state


def check_searched(setup: Setup) -> None:
    """Raises `InputError` if the work directory holds no search to go on with."""
    path = setup.workdir / "search" / search.FILE_NAME
    if not path.exists():
        raise InputError(f"there is no search to resume: {path} does not exist")


def _search_detail(problem: search.Problem, state: search.State) -> str:
    """Of the new architectures proposed, feasible are those that satisfied every constraint."""
    feasible = problem.feasible(state.values)
    details = [
        f"{state.evaluations} evaluated",
        f"{feasible.sum() / max(state.proposed, 1):.0%} feasible",
        f"hypervolume {search.hypervolume(problem, state):.3f}",
    ]
    for column in problem.evaluated:
        objective, scores = problem.objectives[column], state.values[feasible, column]
        if len(scores) and objective.goal != "none":
            best = scores.max() if objective.goal == "max" else scores.min()
            details.append(f"best {objective.name} {best:.3f}")
    return ", ".join(details)


def evaluate_paths(
    setup: Setup, network: functional.Network, architectures: Sequence[Array]
) -> NDArray[np.float64]:
    """Validation accuracy of P architectures with the supernet's weights, `float64[P]`."""
    return _path_scorer(setup, network)(np.stack(architectures))


@_one_writer
def train_subnet(
    setup: Setup, architecture: Array, name: str, initial: models.Model | None = None
) -> dict[str, Any]:
    """Trains one architecture alone and scores it on the test images.

    Writes `result.json`, and the model with its averaged weights as `model.safetensors`.

    Args:
      setup: of the work directory.
      architecture: `int32[L]`.
      name: of its folder.
      initial: whose weights it starts from, of the same architecture. If it has other classes,
        the classifier starts anew.

    Raises:
      InputError: for a name that is no folder's, an initial model of another network, or see
        `workspace.prepare`.
    """
    directory = _subnet_directory(setup, name)
    identity: dict[str, Any] = {"architecture": architecture.tolist()}
    if initial is None:
        network, skip = _new_subnet(setup, architecture), "identity"
    else:
        network, skip = _started_from(setup, architecture, initial), initial.skip
        identity["weights"] = tensors.fingerprint((initial.network.params, initial.network.stats))
    score = _subnet_scorer(setup, network.graphdef)

    def evaluate(state: steps.TrainState) -> dict[str, float]:
        scores = score(state, setup.splits.validation)
        return {f"validation_{key}": scores[key] for key in ("accuracy", "loss")}

    task = steps.subnet_task(network.graphdef)
    state = _train(setup, network, task, "subnet", name, directory, identity, evaluate)
    count = cost.of_network(setup.space, architecture, skip, setup.size)
    result = {
        "name": name,
        **identity,
        "skip": skip,
        "settings": training_settings(setup, "subnet", identity),
        "blocks": spaces.to_names(setup.space, architecture),
        "macs": count.macs,
        "params": count.params,
        **evaluate(state),
        **{f"test_{key}": value for key, value in score(state, setup.splits.test).items()},
    }
    trained = _trained_network(network, state)
    if processes.is_first():
        models.save(_as_model(setup, architecture, skip, trained), directory / models.FILE_NAME)
    if processes.is_first():
        write_signed(directory / summary.RESULT, result)
    say(
        f"{name}: test accuracy {result['test_accuracy']:.2%} of {result['test_images']} images, "
        f"{count.macs:,} MACs, {count.params:,} parameters, in {directory}"
    )
    return result


def evaluate_subnet(setup: Setup, name: str) -> dict[str, float]:
    """Scores a trained subnet of the work directory on the test images.

    Raises:
      InputError: if there is none of that name, its training is not finished, or its settings
        differ.
    """
    trained = summary.results(setup.workdir)
    if name not in trained:
        raise InputError(
            f"no trained subnet {name!r} in {setup.workdir}; there are: "
            f"{', '.join(trained) or 'none'}"
        )
    result = trained[name]
    architecture = spaces.validate(setup.space, result["architecture"])
    network = _new_subnet(setup, architecture, result.get("skip", "identity"))
    keys = ("architecture", "weights")
    identity: dict[str, Any] = {key: result[key] for key in keys if key in result}
    state = _load(setup, network, "subnet", _subnet_directory(setup, name), identity)
    return _subnet_scorer(setup, network.graphdef)(state, setup.splits.test)


def _trained_network(network: functional.Network, state: steps.TrainState) -> functional.Network:
    """The network with a state's weights to evaluate with, as plain arrays."""
    return functional.Network(network.graphdef, *devices.local(steps.inference_arrays(state)))


def _path_scorer(
    setup: Setup, network: functional.Network
) -> Callable[[Array], NDArray[np.float64]]:
    """`architectures int32[P, L] -> float64[P]`, validation accuracy with a supernet's weights."""
    score = _population_scorer(setup, network.graphdef)
    arrays = devices.replicate(setup.mesh, (network.params, network.stats))
    return lambda architectures: score(*arrays, architectures)


@lru_cache(maxsize=1)  # training and search share one compiled program
def _population_scorer(setup: Setup, plan: supernet.Plan) -> Callable[..., NDArray[np.float64]]:
    """`(params, stats, architectures int32[P, L]) -> float64[P]`, validation accuracy.

    The validation images stay on the devices.
    """
    config, section = setup.config, setup.config.search

    def place(batch: data.Batch) -> Any:
        return devices.replicate(setup.mesh, loop.computed_part(batch))

    reading = {"batch_size": section.batch_size, "unreadable": setup.unreadable}
    validation = [
        place(batch) for batch in data.eval_batches(setup.splits.validation, config.data, **reading)
    ]
    calibration: list[data.Batch] = []
    if section.statistics == "recalibrated":
        source = data.train_batches(
            setup.splits.train, config.data, seed=config.seed, start_step=0, **reading
        )
        calibration = [next(source) for _ in range(section.calibration_batches)]
        source.close()
    score = evaluation.PopulationEvaluator(
        plan,
        config.data,
        setup.mesh,
        statistics=section.statistics,
        calibration=calibration,
        chunk=section.chunk,
        cache_bytes=section.cache_bytes,
    )
    return lambda params, stats, paths: score(params, stats, paths, lambda: validation)


def _subnet_scorer(setup: Setup, graphdef: Any) -> Callable[..., dict[str, float]]:
    """`(state, source) -> scores` of a stand-alone network."""
    score = evaluation.network_evaluator(graphdef, setup.config.data, setup.mesh)

    def on_source(state: steps.TrainState, source: data.Source) -> dict[str, float]:
        batches = data.eval_batches(
            source,
            setup.config.data,
            batch_size=setup.config.subnet.batch_size,
            process_index=jax.process_index(),
            process_count=jax.process_count(),
            unreadable=setup.unreadable,
        )
        return score(*steps.inference_arrays(state), batches)

    return on_source


def _new_supernet(setup: Setup) -> functional.Network:
    return supernet.create(
        setup.space,
        num_classes=setup.size.num_classes,
        channels=setup.size.channels,
        stabilizer=setup.config.model.stabilizer,
        dtype=setup.config.model.dtype,
        seed=setup.config.seed,
    )


def _new_subnet(setup: Setup, architecture: Array, skip: str = "identity") -> functional.Network:
    return subnet.create(
        setup.space,
        architecture,
        num_classes=setup.size.num_classes,
        channels=setup.size.channels,
        skip=skip,
        dropout=setup.config.subnet.dropout,
        dtype=setup.config.model.dtype,
        seed=setup.config.seed,
    )


def _started_from(setup: Setup, architecture: Array, initial: models.Model) -> functional.Network:
    """A network with the weights of another, and a new classifier if its classes are others."""
    models.check_architecture(initial, setup.space, architecture, "the initial model")
    channels = setup.size.channels
    if initial.preprocessing.channels != channels:
        raise InputError(
            f"the initial model takes images of {initial.preprocessing.channels} channels, "
            f"data.channels is {channels}"
        )
    names = setup.splits.class_names
    start = models.arrange_classifier(initial, names)
    if start is None:
        before, now = initial.size.num_classes, setup.size.num_classes
        say(f"a new classifier: {before} classes before, {now} others now")
        start = models.replace_classifier(initial, names, seed=setup.config.seed)
    elif initial.class_names != names:
        by = "name" if set(initial.class_names) == set(names) else "number"
        say(f"the classifier's outputs in the order of the data's classes, matched by {by}")
    network = _new_subnet(setup, architecture, start.skip)
    return network._replace(params=start.network.params, stats=start.network.stats)


def _as_model(
    setup: Setup, architecture: Array, skip: str, network: functional.Network
) -> models.Model:
    section = setup.config.data
    preprocessing = models.Preprocessing(
        image_size=section.image_size,
        channels=section.channels,
        mean=tuple(section.mean),
        std=tuple(section.std),
        center_crop=section.center_crop,
    )
    names = setup.splits.class_names
    return models.Model(setup.space, architecture, skip, network, preprocessing, names)


def _subnet_directory(setup: Setup, name: str) -> Path:
    is_plain = name.isprintable() and not set(name) & set("/\\") and name.strip(". ")
    if not is_plain or len(name.encode()) > LONGEST_NAME:
        raise InputError(
            f"subnet name {reprlib.repr(name)}; allowed: a plain folder name, printable and of at "
            f"most {LONGEST_NAME} bytes"
        )
    return setup.workdir / "subnets" / name


def _train(
    setup: Setup,
    network: functional.Network,
    task: steps.Task,
    section: str,
    label: str,
    directory: Path,
    identity: Mapping[str, Any],
    evaluate: Callable[[steps.TrainState], Mapping[str, float]],
) -> steps.TrainState:
    config, training = setup.config, setup.config[section]

    def batches(start: int) -> Generator[data.Batch, None, None]:
        _examine(setup)
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
        devices.replicate(setup.mesh, steps.init_state(network, training)),
        batches,
        training=training,
        mesh=setup.mesh,
        directory=directory,
        settings=training_settings(setup, section, identity),
        label=label,
        evaluate=evaluate,
    )


@lru_cache(maxsize=1)  # once, before the first of several networks is trained
def _examine(setup: Setup) -> None:
    """Says what images there are, and looks for those that cannot be used."""
    say(f"data: {data.describe(setup.splits)}")
    share = (jax.process_index(), jax.process_count())
    data.examine(setup.splits, setup.unreadable, *share)


def _load(
    setup: Setup,
    network: functional.Network,
    section: str,
    directory: Path,
    identity: Mapping[str, Any],
) -> steps.TrainState:
    training = setup.config[section]
    state = devices.replicate(setup.mesh, steps.init_state(network, training))
    settings = training_settings(setup, section, identity)
    saved = checkpoint.restore(directory / checkpoint.DIRECTORY, settings, state)
    if saved is None:
        raise InputError(
            f"there is no checkpoint in {directory}; train one by python -m launch.train_{section}"
        )
    if (done := int(saved.state.step)) < training.steps:
        raise InputError(
            f"{directory} has trained {done} of {training.steps} steps; "
            f"finish it with python -m launch.train_{section}"
        )
    return saved.state


def say_unreadable(setup: Setup) -> None:
    """Names the images that could not be read, if any: what a launcher ends with."""
    _share_unreadable(setup)
    if len(setup.unreadable):
        say(str(setup.unreadable))


def _share_unreadable(setup: Setup) -> None:
    """Adds what the other processes have noted in their parts of the data."""
    for reasons in processes.gather(setup.unreadable.reasons):
        setup.unreadable.reasons.update(reasons)


@_one_writer
def write_report(
    setup: Setup,
    state: search.State,
    command: str,
    seconds: Mapping[str, float],
    retrain: str = "python -m launch.train_subnet",
) -> Path:
    """Writes `report.html` of what the work directory holds. Returns its path.

    Args:
      setup: of the work directory.
      state: the search.
      command: what was run.
      seconds: what each job of it took.
      retrain: what trains a subnet in this work directory, but for `--arch` and `--name`.
    """
    path = setup.workdir / "report.html"
    _share_unreadable(setup)
    if processes.is_first():
        contents = summary.make_report(setup, state, command, seconds, retrain)
        report.write_report(contents, path)
    say(f"report: {path}")
    return path
