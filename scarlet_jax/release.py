"""Weights under the names of the authors' PyTorch release, and as a model of ours.

The release (https://github.com/xiaomi-automl/SCARLET-NAS, models/) is networks of S2 for RGB
images. Its identity layers keep their number in `mb_module`, hold no arrays, and have no stride.
"""

import dataclasses
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scarlet_jax import models, tensors
from scarlet_jax import space as spaces
from scarlet_jax.blocks import Choice, InvertedBottleneckChoice
from scarlet_jax.copies import fetched
from scarlet_jax.errors import InputError
from scarlet_jax.files import as_path
from scarlet_jax.models import Model, Preprocessing
from scarlet_jax.nn import functional
from scarlet_jax.space import S2, SKIP, Array
from scarlet_jax.tensors import Arrays

# Our modules, and what the release calls them; a block's within `mb_module.<layer>`.
MODULES = {
    "stem.convolution": "stem.0",
    "stem.bn": "stem.1",
    "stem.separable.depthwise": "separable_conv.0",
    "stem.separable.bn2": "separable_conv.1",
    "stem.separable.project": "separable_conv.3",
    "stem.separable.bn3": "separable_conv.4",
    "head.convolution": "conv_before_pooling.0",
    "head.bn": "conv_before_pooling.1",
    "head.classifier": "classifier",
}
BLOCK_MODULES = {
    "expand": "conv1",
    "bn1": "bn1",
    "depthwise": "conv2",
    "bn2": "bn2",
    "se.squeeze": "mid_se.squeeze_conv",
    "se.excite": "mid_se.excite_conv",
    "project": "conv3",
    "bn3": "bn3",
}
LEAVES = {
    "kernel": "weight",
    "scale": "weight",
    "bias": "bias",
    "mean": "running_mean",
    "var": "running_var",
}
CLASSIFIER = "params.head.classifier.kernel"  # the only matrix that is no convolution there
COUNTER = ".num_batches_tracked"  # of every batch norm there; ours has none

CHANNELS = 3
SKIP_KIND = "identity"  # of `derived.SKIPS`


def name_of(ours: str) -> str:
    """`params.blocks.3.expand.kernel` is `mb_module.3.conv1.weight`."""
    _, part, *path, leaf = ours.split(".")
    if part == "blocks":
        module = f"mb_module.{path[0]}.{BLOCK_MODULES['.'.join(path[1:])]}"
    else:
        module = MODULES[".".join([part, *path])]
    return f"{module}.{LEAVES[leaf]}"


def arrays_of(network: functional.Network) -> dict[str, NDArray[np.float32]]:
    """All arrays of a stand-alone network with identity skips, as the release has them."""
    return {name_of(ours): _to_release(ours, a) for ours, a in tensors.flatten(network).items()}


def fill(network: functional.Network, arrays: Arrays, source: str) -> functional.Network:
    """The network with arrays of the release, as float32.

    Args:
      network: stand-alone, with identity skips.
      arrays: by the release's names; counters of batch norm are passed over.
      source: where they are from, for messages.

    Raises:
      InputError: listing what is missing, extra, or of another shape, by the release's names.
    """
    given = {name: array for name, array in arrays.items() if not name.endswith(COUNTER)}
    expected = {name: array.shape for name, array in arrays_of(network).items()}
    tensors.check(source, expected, {name: array.shape for name, array in given.items()})
    own = {
        ours: _from_release(given[name_of(ours)], array.shape)
        for ours, array in tensors.flatten(network).items()
    }
    return tensors.fill(network, own)


def to_model(
    arrays: Arrays,
    *,
    source: str = "the state",
    architecture: Array | None = None,
    class_names: Sequence[str] | None = None,
    image_size: int = 224,
) -> Model:
    """A model with weights of the release, its images normalised as ImageNet's.

    Args:
      arrays: by the release's names, see `torch_file.read`.
      source: where they are from, for messages.
      architecture: `int32[19]` of S2; inferred from the arrays without one.
      class_names: one for each output of the classifier; numbers without them.
      image_size: pixels a side.

    Raises:
      InputError: for arrays that are not such a network's, another number of names, or an image
        size under the network's stride.
    """
    num_classes = _num_classes(arrays, source)
    if class_names is None:
        class_names = models.number_names(num_classes)
    if len(class_names) != num_classes:
        raise InputError(
            f"{len(class_names)} class names, but {source} has {num_classes} classes; allowed: one "
            "for each"
        )
    if architecture is None:
        architecture = _infer(arrays, source)
    _check_skips(architecture, source)
    preprocessing = Preprocessing(image_size=image_size, channels=CHANNELS)
    model = models.create(S2, architecture, class_names, preprocessing, skip=SKIP_KIND)
    return dataclasses.replace(model, network=fill(model.network, arrays, source))


def from_model(model: Model) -> dict[str, NDArray[Any]]:
    """The arrays of a model by the release's names, a strict state dict of its classes.

    Returns:
      float32 arrays, and `int64[]` counters of batch norm that are 0.

    Raises:
      InputError: for a network that the release cannot express.
    """
    found = (model.space, model.skip, model.preprocessing.channels)
    if found != (S2, SKIP_KIND, CHANNELS):
        raise InputError(
            f"the model is of space {model.space.name!r} with skips {model.skip!r} and "
            f"{model.preprocessing.channels} channels; allowed: the paper's {S2.name!r}, "
            f"{SKIP_KIND!r} and {CHANNELS}"
        )
    _check_skips(model.architecture, "the model")
    arrays = arrays_of(model.network)
    norms = [name.rsplit(".", 1)[0] for name in arrays if name.endswith(".running_mean")]
    return arrays | {norm + COUNTER: np.zeros((), np.int64) for norm in norms}


def _infer(arrays: Arrays, source: str) -> Array:
    """The architecture `int32[19]` of S2 that arrays of the release are of.

    A layer without arrays is an identity. A block's expansion and kernel are those of its first two
    convolutions.

    Raises:
      InputError: for a block that S2 does not have.
    """
    layers = range(S2.depth)
    return np.array([S2.choices.index(_choice(arrays, i, source)) for i in layers], np.int32)


def read_names(path: str | os.PathLike[str]) -> tuple[str, ...]:
    """The class names in a UTF-8 file, one a line, with or without a byte-order mark.

    Raises:
      InputError: if it cannot be read, holds none, or one twice.
    """
    try:
        lines = fetched(as_path(path)).read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read as class names: {error}") from error
    line_of: dict[str, int] = {}
    for number, line in enumerate(lines, start=1):
        name = line.strip()
        if name in line_of:
            raise InputError(
                f"{path} has the class {name!r} twice, in lines {line_of[name]} and {number}; "
                "allowed: each once, as classes are told apart by name"
            )
        if name:
            line_of[name] = number
    if not line_of:
        raise InputError(f"{path} holds no class names; allowed: one a line")
    return tuple(line_of)


def _to_release(ours: str, array: NDArray[np.float32]) -> NDArray[np.float32]:
    """Kernels `[k, k, in, out]` as `[out, in, k, k]`; ours have no axis of one input or one tap."""
    if array.ndim == 1:
        return array
    if ours == CLASSIFIER:
        return array.T
    missing = {2: (0, 1), 3: (2,), 4: ()}[array.ndim]
    return np.expand_dims(array, missing).transpose(3, 2, 0, 1)


def _from_release(array: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    if array.ndim == 1:
        return array
    return array.transpose(*range(2, array.ndim), 1, 0).reshape(shape)


def _num_classes(arrays: Arrays, source: str) -> int:
    """Checked by the weight, which lies in the file in full: no file claims more than it holds."""
    bias, weight = "classifier.bias", "classifier.weight"
    found = {name: arrays[name].shape for name in (bias, weight) if name in arrays}
    num_classes = next((shape[0] for shape in found.values() if shape), 1)
    tensors.check(source, {bias: (num_classes,), weight: (num_classes, S2.head_width)}, found)
    return num_classes


def _choice(arrays: Arrays, layer: int, source: str) -> Choice:
    block = f"mb_module.{layer}."
    if not any(name.startswith(block) for name in arrays):
        return SKIP
    expand, depthwise = (
        arrays[name].shape if name in arrays else ()
        for name in (f"{block}conv1.weight", f"{block}conv2.weight")
    )
    se = any(name.startswith(f"{block}mid_se.") for name in arrays)
    for choice in S2.choices:
        if (
            isinstance(choice, InvertedBottleneckChoice)
            and len(expand) == len(depthwise) == 4
            and choice.se == se
            and choice.expansion * expand[1] == expand[0]
            and choice.kernel == depthwise[-1]
        ):
            return choice
    raise InputError(
        f"{source} is not of {S2.name!r} at layer {layer}: {block}conv1.weight is "
        f"{list(expand) or 'missing'} and {block}conv2.weight {list(depthwise) or 'missing'}; "
        f"allowed: {', '.join(spaces.choice_names(S2))}"
    )


def _check_skips(architecture: Array, source: str) -> None:
    """Raises `InputError` for identities where the layer has a stride, which the release's lack."""
    strided = [
        number
        for number, index in enumerate(spaces.validate(S2, architecture))
        if S2.choices[index].is_skip and S2.layers[number].stride > 1
    ]
    if strided:
        raise InputError(
            f"{source} has identities at the layers {', '.join(map(str, strided))}, which have a "
            "stride; the release's identity has none, so allowed there: blocks"
        )
