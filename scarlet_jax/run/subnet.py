"""The subnets of a work directory: train one, score it again, what each is called and has."""

import reprlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax

from scarlet_jax import cost, data, evaluation, models, processes, subnet, tensors
from scarlet_jax import space as spaces
from scarlet_jax.differences import differences
from scarlet_jax.errors import InputError
from scarlet_jax.files import read_signed, write_signed
from scarlet_jax.nn import functional
from scarlet_jax.progress import say
from scarlet_jax.run import training
from scarlet_jax.run.one_writer import one_writer
from scarlet_jax.run.setup import Setup, training_settings
from scarlet_jax.space import Array
from scarlet_jax.train import step as steps

LONGEST_NAME = 255  # bytes of a file's name, on most file systems
RESULT = "result.json"  # in a subnet's folder
BEST = "best.safetensors"  # likewise
Result = dict[str, Any]  # what `train_subnet` returns


@one_writer
def train_subnet(
    setup: Setup, architecture: Array, name: str, initial: models.Model | None = None
) -> Result:
    """Trains one architecture alone and scores it on the test images.

    Writes `result.json`, and the model with its averaged weights as `model.safetensors`; beside
    it, as `best.safetensors` with `best.json`, the first that was best by validation.

    Args:
      setup: of the work directory.
      architecture: `int32[L]`.
      name: of its folder.
      initial: whose weights it starts from, of the same architecture. If it has other classes,
        the classifier starts anew.

    Raises:
      InputError: for a name that is no folder's, an initial model of another network, or see
        `setup.prepare`.
    """
    directory = _subnet_directory(setup, name)
    identity: dict[str, Any] = {"architecture": architecture.tolist()}
    if initial is None:
        network, skip = _new_subnet(setup, architecture), "identity"
    else:
        network, skip = _started_from(setup, architecture, initial), initial.skip
        # Statistics of a supernet's path are recalibrated at each start, on any device.
        identity["weights"] = tensors.fingerprint(initial.network.params)
        network = subnet.freeze(network, setup.config.subnet.frozen)
    check_frozen(setup, initial)
    score = _subnet_scorer(setup, network.graphdef)
    settings = training_settings(setup, "subnet", identity)

    def model_of(state: steps.TrainState) -> models.Model:
        return as_model(setup, architecture, skip, training.trained_network(network, state))

    def evaluate(state: steps.TrainState) -> dict[str, float]:
        if not len(setup.splits.validation):
            return {}
        scores = score(state, setup.splits.validation)
        found = {f"validation_{key}": scores[key] for key in ("accuracy", "loss")}
        if processes.is_first():
            record = {"step": int(state.step), **found, "settings": settings}
            _keep_best(directory, record, lambda: model_of(state))
        return found

    blocks = spaces.to_names(setup.space, architecture)
    about = {"architecture": "\n".join(f"1. {block}" for block in blocks)}  # Markdown counts
    count = cost.of_network(setup.space, architecture, skip, setup.size)
    state = training.train(
        setup, network, "subnet", name, directory, identity, about, count.macs, evaluate
    )
    result = {
        "name": name,
        **identity,
        "skip": skip,
        "settings": settings,
        "blocks": blocks,
        "macs": count.macs,
        "params": count.params,
        **evaluate(state),
        **{f"test_{key}": value for key, value in score(state, setup.splits.test).items()},
    }
    if processes.is_first():
        models.save(model_of(state), directory / models.FILE_NAME)
        write_signed(directory / RESULT, result)
    say(
        f"{name}: test accuracy {result['test_accuracy']:.2%} of {result['test_images']} images, "
        f"{count.macs:,} MACs, {count.params:,} parameters, in {directory}"
    )
    return result


def _keep_best(directory: Path, record: dict[str, Any], model: Callable[[], models.Model]) -> None:
    """Writes a model and its record, if it is better by validation than what the directory has of
    the same settings."""
    path = directory / BEST
    before = read_signed(path.with_suffix(".json"))
    if before is None or differences(before["settings"], record["settings"]):
        before = {"validation_accuracy": -1.0}
    if record["validation_accuracy"] > before["validation_accuracy"]:
        models.save(model(), path)
        write_signed(path.with_suffix(".json"), record)


def evaluate_subnet(setup: Setup, name: str) -> dict[str, float]:
    """Scores a trained subnet of the work directory on the test images.

    Raises:
      InputError: if there is none of that name, its training is not finished, or its settings
        differ.
    """
    trained = results(setup.workdir)
    if name not in trained:
        raise InputError(
            f"no trained subnet {name!r} in {setup.workdir}; there are: "
            f"{', '.join(trained) or 'none'}"
        )
    result = trained[name]
    architecture = spaces.validate(setup.space, result["architecture"])
    network = _new_subnet(setup, architecture, result["skip"])
    keys = ("architecture", "weights")
    identity: dict[str, Any] = {key: result[key] for key in keys if key in result}
    state = training.load(setup, network, "subnet", _subnet_directory(setup, name), identity)
    return _subnet_scorer(setup, network.graphdef)(state, setup.splits.test)


def results(workdir: Path) -> dict[str, Result]:
    """The result of every trained subnet by its name, in the order of the names."""
    found = {p.parent.name: read_signed(p) for p in sorted(workdir.glob(f"subnets/*/{RESULT}"))}
    return {name: result for name, result in found.items() if result is not None}


def model_name(setup: Setup, number: int, architecture: Array) -> str:
    """What pick NUMBER is called: as it was trained by the main job, or `model-NUMBER`.

    With a mark of its own where the pick of another search is so called.
    """
    name, path = f"model-{number}", architecture.tolist()
    own = sorted(setup.workdir.glob("subnets/model-*"))
    done = results(setup.workdir)
    # Of a training that has not come to its first checkpoint, nothing is there.
    begun = {p.name: done.get(p.name) or training.latest_record(p).get("settings", {}) for p in own}
    taken = {n: known["architecture"] for n, known in begun.items() if "architecture" in known}
    for known in (name, *taken):
        if taken.get(known) == path:
            return known
    return f"{name}-{tensors.fingerprint(architecture)[:6]}" if name in taken else name


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
        if "head" in setup.config.subnet.frozen:
            raise InputError(
                "subnet.frozen has head, whose classifier is new, as the initial model has other "
                "classes; allowed: head.convolution, head.bn"
            )
        before, now = initial.size.num_classes, setup.size.num_classes
        say(f"a new classifier: {before} classes before, {now} others now")
        start = models.replace_classifier(initial, names, seed=setup.config.seed)
    elif initial.class_names != names:
        by = "name" if set(initial.class_names) == set(names) else "number"
        say(f"the classifier's outputs in the order of the data's classes, matched by {by}")
    network = _new_subnet(setup, architecture, start.skip)
    return network._replace(params=start.network.params, stats=start.network.stats)


def as_model(
    setup: Setup, architecture: Array, skip: str, network: functional.Network
) -> models.Model:
    """A network that was trained on a setup's images, with what it takes to use it."""
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


def check_frozen(setup: Setup, initial: models.Model | None = None) -> None:
    """Raises `InputError` for frozen modules without weights to start from."""
    if (frozen := setup.config.subnet.frozen) and initial is None:
        raise InputError(
            f"subnet.frozen is {', '.join(frozen)}, without weights to start from, as random ones "
            "are not to be frozen; allowed with scarlet train_subnet --weights"
        )


def _subnet_directory(setup: Setup, name: str) -> Path:
    is_plain = name.isprintable() and not set(name) & set("/\\") and name.strip(". ")
    if not is_plain or len(name.encode()) > LONGEST_NAME:
        raise InputError(
            f"subnet name {reprlib.repr(name)}; allowed: a plain folder name, printable and of at "
            f"most {LONGEST_NAME} bytes"
        )
    return setup.workdir / "subnets" / name
