"""A stand-alone network with all that is needed to use it, and the one file that holds it.

A model file is in the safetensors format: the arrays by name, and in its header, as JSON, the
space, the architecture, what its skips are, how images become its input, and the class names.
"""

import dataclasses
import json
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors import numpy as safetensors

from scarlet_jax import blocks, devices, files, subnet, tensors
from scarlet_jax import space as spaces
from scarlet_jax.blocks import Style
from scarlet_jax.copies import fetched
from scarlet_jax.data import augment
from scarlet_jax.errors import InputError
from scarlet_jax.files import as_path, replacing
from scarlet_jax.network_size import NetworkSize
from scarlet_jax.nn import functional
from scarlet_jax.space import Array, Layer, Space

FILE_NAME = "model.safetensors"  # in the folder of a trained subnet
FORMAT = "scarlet-jax model 2"
NUMBER = re.compile("[+-]?[0-9]+")


@dataclass(frozen=True)
class Preprocessing:
    """From a picture to the network's input.

    Attributes:
      image_size: pixels a side.
      channels: 1 (grey) or 3 (RGB).
      mean, std: of pixels in [0, 1], by channel.
      center_crop: share of the resized side that is kept.
    """

    image_size: int = 224
    channels: int = 3
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)  # of ImageNet
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    center_crop: float = 0.875

    def __call__(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """A picture `uint8[H, W, C]` as the network's input, `float32[S, S, C]`.

        Its shorter side is resized to `image_size / center_crop`, the middle cut out, and the
        pixels normalised: what evaluation does here.

        Raises:
          InputError: for another dtype or number of channels.
        """
        image = np.asarray(image)
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[-1] != self.channels:
            raise InputError(
                f"image of {image.dtype}{list(image.shape)}; allowed: "
                f"uint8[height, width, {self.channels}]"
            )
        pixels = augment.center(image, self.image_size, self.center_crop)
        return np.asarray(devices.normalise(jnp.asarray(pixels), self.mean, self.std))

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> "Preprocessing":
        """Of what a model file or an exported one says; whatever else that says is left out."""
        own: dict[str, Any] = {}
        for name in (field.name for field in dataclasses.fields(cls)):
            value = record[name]
            own[name] = tuple(value) if isinstance(value, list) else value
        return cls(**own)


@dataclass(frozen=True, eq=False)
class Model:
    """A stand-alone network that knows what it is.

    Attributes:
      space: the search space.
      architecture: `int32[L]`.
      skip: what its skips are, one of `derived.SKIPS`.
      network: graph, parameters and statistics.
      preprocessing: of images.
      class_names: one for each class, in the order of the logits.
    """

    space: Space
    architecture: Array
    skip: str
    network: functional.Network
    preprocessing: Preprocessing
    class_names: tuple[str, ...]

    @property
    def size(self) -> NetworkSize:
        own = self.preprocessing
        return NetworkSize(own.image_size, len(self.class_names), own.channels)

    def __call__(self, images: jax.Array) -> jax.Array:
        """Logits `float32[B, classes]` of preprocessed images `float32[B, H, W, C]`."""
        return functional.apply(*self.network, images)[0]

    def module(self) -> subnet.Subnet:
        """The network as a Flax module with its weights, to be part of another; see `Subnet`."""
        module: subnet.Subnet = nnx.merge(*self.network)
        return module


def create(
    space: Space,
    architecture: Any,
    class_names: Sequence[str],
    preprocessing: Preprocessing,
    *,
    skip: str = "identity",
    seed: int = 0,
) -> Model:
    """A model with random weights.

    Raises:
      InputError: for an architecture, size or kind of skip that is not allowed.
    """
    check_image_size(space, preprocessing.image_size)
    network = subnet.create(
        space,
        architecture,
        num_classes=len(class_names),
        channels=preprocessing.channels,
        skip=skip,
        seed=seed,
    )
    path = spaces.validate(space, architecture)
    return Model(space, path, skip, network, preprocessing, tuple(class_names))


def check_image_size(space: Space, image_size: int) -> None:
    """Raises `InputError` for images under the network's stride."""
    if image_size < space.stride:
        raise InputError(
            f"image_size is {image_size}; space {space.name!r} has a stride of {space.stride}, so "
            f"allowed: {space.stride} or more"
        )


def check_architecture(model: Model, space: Space, architecture: Array, source: str) -> None:
    """Raises `InputError` for a model of `source` that is of another network than the one asked."""
    if model.space != space or not np.array_equal(model.architecture, architecture):
        raise InputError(
            f"{source} is {spaces.to_text(model.architecture)} of space {model.space.name!r}, not "
            f"{spaces.to_text(architecture)} of space {space.name!r}"
        )


def number_names(num_classes: int) -> tuple[str, ...]:
    """Names for classes of which only the number is known: "0", "1", ..."""
    return tuple(str(number) for number in range(num_classes))


def class_outputs(model: Model, class_names: Sequence[str]) -> NDArray[np.int32] | None:
    """The model's output for each of these classes, `int32[C]`, or None if it has others.

    Classes are matched by name. Where the model knows only numbers, they are matched by position,
    or if they are numbers too, by these: folders 1 to 12 are not the classes 0 to 11.
    """
    own, count = model.class_names, len(class_names)
    output_of = {name: output for output, name in enumerate(own)}
    found: Sequence[int]
    if tuple(class_names) == own:
        found = range(count)
    elif len(output_of) == len(own) == count and set(class_names) == output_of.keys():
        found = [output_of[name] for name in class_names]
    elif own != number_names(count):
        return None
    elif all(NUMBER.fullmatch(name) for name in class_names):
        found = [int(name) for name in class_names]
        if sorted(found) != list(range(count)):
            return None
    else:
        found = range(count)
    return np.array(found, np.int32)


def arrange_classifier(model: Model, class_names: Sequence[str]) -> Model | None:
    """The model with its outputs in the order of these classes, or None if it has others."""
    outputs = class_outputs(model, class_names)
    if outputs is None:
        return None

    def arrange(leaf: jax.Array) -> jax.Array:
        return jax.device_put(np.asarray(leaf)[..., outputs])

    params = _map_classifier(arrange, model.network.params)
    network = model.network._replace(params=params)
    return dataclasses.replace(model, network=network, class_names=tuple(class_names))


def replace_classifier(model: Model, class_names: Sequence[str], seed: int = 0) -> Model:
    """The model with a new random classifier for other classes; all else stays, for transfer."""
    shell = create(
        model.space,
        model.architecture,
        class_names,
        model.preprocessing,
        skip=model.skip,
        seed=seed,
    )
    params = _map_classifier(lambda _, new: new, model.network.params, shell.network.params)
    network = shell.network._replace(params=params, stats=model.network.stats)
    return dataclasses.replace(model, network=network, class_names=tuple(class_names))


def _map_classifier(change: Callable[..., jax.Array], params: Any, *others: Any) -> Any:
    """Parameters with those of the classifier changed."""

    def choose(keypath: Any, leaf: jax.Array, *rest: jax.Array) -> jax.Array:
        is_classifier = tensors.name_of(keypath).startswith("head.classifier.")
        return change(leaf, *rest) if is_classifier else leaf

    return jax.tree_util.tree_map_with_path(choose, params, *others)


def feature_layers(space: Space) -> dict[int, int]:
    """The last layer at each stride, `{stride: layer}`, ascending: 4, 8, 16 and 32 for SCARLET."""
    stride, layers = space.stem_stride, {}
    for number, layer in enumerate(space.layers):
        stride *= layer.stride
        layers[stride] = number
    return layers


def features(model: Model, images: jax.Array) -> dict[int, jax.Array]:
    """Feature maps for detection and segmentation, by stride.

    Args:
      model: whose last map at every stride is taken.
      images: preprocessed, `float32[B, H, W, C]`, of any size and shape.

    Returns:
      By ascending stride, `float32[B, ceil(H / stride), ceil(W / stride), D]` each.
    """
    (_, maps), _ = functional.apply(*model.network, images, features=True)
    return {stride: maps[layer] for stride, layer in feature_layers(model.space).items()}


def save(model: Model, path: str | os.PathLike[str]) -> None:
    """Writes a model file, whole or not at all. Raises `OSError` if it cannot."""
    arrays = tensors.flatten(model.network)
    description = {
        "arrays": tensors.fingerprint(arrays),
        "format": FORMAT,
        "space": _space_to_json(model.space),
        "architecture": model.architecture.tolist(),
        "skip": model.skip,
        "preprocessing": dataclasses.asdict(model.preprocessing),
        "class_names": model.class_names,
    }
    with replacing(path) as partial:
        # One entry alone: the format does not order them, and equal models are equal files.
        header = {"scarlet_jax": json.dumps(files.signed(description))}
        partial.write_bytes(safetensors.save(arrays, header))


def file_of(path: Path) -> Path:
    """The model file that a path names: itself, or the one in a folder."""
    return path / FILE_NAME if path.is_dir() else path


def load(path: str | os.PathLike[str]) -> Model:
    """Reads a model file, or the one in a folder.

    Raises:
      InputError: for a file that is missing, truncated, not of this kind, or whose arrays are
        not those of the network that it describes.
    """
    path = file_of(as_path(path))
    if not path.is_file():
        raise InputError(f"there is no model file {path}")
    try:
        with safe_open(fetched(path), framework="numpy") as file:
            header = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path} cannot be read as a model file: {error}") from error
    if "scarlet_jax" not in header:
        raise InputError(f"{path} is a safetensors file, but not one of a scarlet_jax model")
    try:
        description = json.loads(header["scarlet_jax"])
    except ValueError:
        description = None
    signed = files.is_signed(description)
    if not signed or description["arrays"] != tensors.fingerprint(arrays):
        raise InputError(f"{path} is damaged: it does not hold what was written")
    if description["format"] != FORMAT:
        raise InputError(f"{path} is of format {description['format']!r}; allowed: {FORMAT!r}")
    model = _create_as(description)
    expected = {name: array.shape for name, array in tensors.flatten(model.network).items()}
    tensors.check(str(path), expected, {name: array.shape for name, array in arrays.items()})
    return dataclasses.replace(model, network=tensors.fill(model.network, arrays))


def _create_as(description: dict[str, Any]) -> Model:
    """A model as a file describes it, without the file's weights."""
    return create(
        _space_from_json(description["space"]),
        description["architecture"],
        description["class_names"],
        Preprocessing.from_json(description["preprocessing"]),
        skip=description["skip"],
    )


def _space_from_json(record: dict[str, Any]) -> Space:
    layers = tuple(
        Layer(
            layer["width"], layer["stride"], tuple(own) if (own := layer.get("choices")) else None
        )
        for layer in record.pop("layers")
    )
    skip = record.pop("skip")
    choices = tuple(blocks.read(name, skip) for name in record.pop("choices"))
    style = Style(**record.pop("style"))
    return Space(layers=layers, choices=choices, style=style, **record)


def _space_to_json(space: Space) -> dict[str, Any]:
    return dataclasses.asdict(space) | {"choices": spaces.choice_names(space), "skip": space.skip}
