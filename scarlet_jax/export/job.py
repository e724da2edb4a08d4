"""Exports a model: writes the file, runs it in its own runtime, and says whether it is the same."""

import dataclasses
import importlib
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import jax
import numpy as np
from flax import nnx
from numpy.typing import NDArray

from scarlet_jax import benchmark, cost, derived, subnet
from scarlet_jax import space as spaces
from scarlet_jax.blocks.base import Exportable
from scarlet_jax.errors import InputError, MismatchError, check_one_of
from scarlet_jax.export.common import Description, Runner
from scarlet_jax.files import check_writable, replacing
from scarlet_jax.models import Model

FORMATS = ("stablehlo", "onnx", "litert")
PRECISIONS = ("float32", "float16", "int8")
NARROWER = ("onnx", "litert")  # formats that have the last two
TOLERANCE = 1e-4  # of float32 logits, as a share of the largest

# Preprocessed images `float32[B, S, S, C]` with their labels `int32[B]`.
Examples = Iterable[tuple[NDArray[np.float32], NDArray[np.int32]]]


@dataclass(frozen=True)
class Agreement:
    """A file's logits against the model's in JAX, over the same images.

    Attributes:
      images: how many.
      difference: the largest of a logit, as a share of the largest logit.
      other_classes: images of which the best class differs.
      accuracy, model_accuracy: of the file and of the model.
    """

    images: int
    difference: float
    other_classes: int
    accuracy: float
    model_accuracy: float


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
      size: of the file, in bytes.
      cost: MACs of one image, and parameters before batch norm is folded.
      folds: skips of a supernet's path that were folded.
      agreement: over the examples.
    """

    size: int
    cost: cost.Cost
    folds: tuple[str, ...]
    agreement: Agreement


def check(
    format_name: str,
    path: Path,
    batch_size: int | None,
    precision: str = "float32",
    opset: int | None = None,
) -> ModuleType:
    """The module of a format, which can write such a file there.

    Raises:
      InputError: for an unknown format, a package that it needs and that is not installed, a
        batch, precision or opset that it does not have, or a file that cannot be written.
    """
    check_one_of("format is", format_name, FORMATS)
    check_one_of("precision", precision, PRECISIONS)
    if precision != "float32" and format_name not in NARROWER:
        raise InputError(
            f"format {format_name!r} has no {precision}; allowed: {', '.join(NARROWER)}"
        )
    if format_name == "litert" and batch_size is None:
        raise InputError("batch_size is any; allowed for litert: a number of images")
    if precision == "int8" and batch_size not in (1, None):
        raise InputError(f"batch_size is {batch_size}; allowed for int8: 1, which calibration runs")
    if opset is not None and format_name != "onnx":
        raise InputError(f"format {format_name!r} has no opset; allowed: onnx")
    check_writable(path)
    module = module_of(format_name)
    if opset is not None:
        module.check_opset(opset)
    return module


def module_of(format_name: str) -> ModuleType:
    """The module of a format. Raises `InputError` if a package that it needs is not installed."""
    try:
        return importlib.import_module(f"scarlet_jax.export.{format_name}")
    except ModuleNotFoundError as error:
        raise InputError(
            f"format {format_name!r} needs the package {error.name}: "
            f"pip install 'scarlet-jax[{format_name}]'"
        ) from error


def deployable(model: Model) -> tuple[Model, list[str]]:
    """The model without stabilizers, and what was folded: a path's skips, or nothing."""
    if model.skip not in derived.FOLDED:
        return model, []
    folded = subnet.fold(model.space, model.network)
    skip = derived.FOLDED[model.skip]
    folds = [str(fold) for fold in folded.folds]
    return dataclasses.replace(model, network=folded.network, skip=skip), folds


def export(
    model: Model,
    format_name: str,
    path: Path,
    examples: Examples,
    *,
    batch_size: int | None = None,
    precision: str = "float32",
    calibration: Sequence[NDArray[np.float32]] = (),
    opset: int | None = None,
) -> Exported:
    """Writes a model in a format, and compares the file with the model; see `check` before.

    Args:
      model: whose batch norm is folded into the convolutions, and whose stabilizers, if any, too.
      format_name: one of `FORMATS`.
      path: of the file. It is written whole or not at all.
      examples: to compare the file with the model on.
      batch_size: images a call; None for any number.
      precision: one of `PRECISIONS`, of weights and activations; LiteRT's float16 is of weights.
      calibration: for int8, images `float32[1, S, S, C]`.
      opset: of ONNX; None for the oldest possible.

    Raises:
      InputError: see `check`.
      MismatchError: if a float32 file disagrees with the model; nothing is written then.
    """
    module = check(format_name, path, batch_size, precision, opset)
    deployed, folds = deployable(model)
    size = model.size
    count = cost.of_network(model.space, model.architecture, deployed.skip, size)
    shape = (batch_size, size.image_size, size.image_size, size.channels)
    network = nnx.merge(*deployed.network)
    with replacing(path) as partial:
        write(module, network, shape, partial, precision, calibration, opset)
        module.describe(partial, describe(model, count))
        agreement = compare(model, module.load(partial), examples)
        exact = agreement.difference <= TOLERANCE and not agreement.other_classes
        if precision == "float32" and not exact:
            raise MismatchError(
                f"the {format_name} file is not the model: logits differ by up to "
                f"{agreement.difference:.1e} of the largest (allowed: {TOLERANCE:.0e}), "
                f"{agreement.other_classes} of {agreement.images} images get another class"
            )
        size_bytes = partial.stat().st_size
    return Exported(size_bytes, count, tuple(folds), agreement)


def write(
    format_module: ModuleType,
    module: Exportable,
    shape: tuple[int | None, ...],
    path: Path,
    precision: str = "float32",
    calibration: Sequence[NDArray[np.float32]] = (),
    opset: int | None = None,
) -> None:
    """Writes a network or a part of one, whose inputs are `float32[B, H, W, C]`; see `export`."""
    own = {} if opset is None else {"opset": opset}
    with tempfile.TemporaryDirectory() as folder:
        whole = path if precision == "float32" else Path(folder) / "float32.model"
        format_module.convert(module, shape, whole, **own)
        if precision == "int8":
            format_module.quantize(whole, calibration, path)
        elif precision == "float16":
            format_module.halve(whole, path)


def describe(model: Model, count: cost.Cost) -> Description:
    """What a file says of its model, in JSON values."""
    return {
        "model": "scarlet_jax",
        "space": model.space.name,
        "architecture": model.architecture.tolist(),
        "blocks": spaces.to_names(model.space, model.architecture),
        "macs": count.macs,
        "params": count.params,
        "class_names": list(model.class_names),
        "preprocessing": {
            **dataclasses.asdict(model.preprocessing),
            "resize": "bilinear: the shorter side to image_size / center_crop, then the middle, "
            "as torchvision's Resize and CenterCrop of Pillow's images",
            "pixels": "of [0, 1], minus mean, over std",
        },
    }


def compare(model: Model, run: Runner, examples: Examples) -> Agreement:
    """Runs both over all examples.

    Raises:
      InputError: if there are none.
    """
    original = jax.jit(model.__call__)
    counts, extremes = [], []
    for batch, labels in examples:
        expected, found = np.asarray(original(batch)), run(batch)
        extremes.append([np.abs(expected - found).max(), np.abs(expected).max()])
        best, own = expected.argmax(axis=1), found.argmax(axis=1)
        rights = (own == labels).sum(), (best == labels).sum()
        counts.append([len(labels), (best != own).sum(), *rights])
    if not counts:
        raise InputError("there is no image to compare the exported file with the model on")
    images, others, hits, model_hits = np.sum(counts, axis=0).tolist()
    apart, largest = np.max(extremes, axis=0).tolist()  # a NaN is the largest
    return Agreement(images, apart / (largest or 1), others, hits / images, model_hits / images)


def latency_ms(run: Runner, shape: tuple[int, ...], repeats: int) -> NDArray[Any]:
    """Milliseconds of calls with one random batch, `float64[repeats]`."""
    images = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    return benchmark.seconds(lambda: run(images), repeats) * 1e3
