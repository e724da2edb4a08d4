"""MACs and parameters of whole populations by table look-up.

Counting rule: multiply-adds of convolutions and dense layers (squeeze-and-excitation once
an image), batch norm and activations free; parameters are all trainable ones.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scarlet_jax import derived
from scarlet_jax import space as spaces
from scarlet_jax.errors import InputError
from scarlet_jax.path_table import PathTable
from scarlet_jax.space import Choice, Space


@dataclass(frozen=True)
class Cost:
    """Exact counts: MACs of one image, and trainable parameters."""

    macs: int
    params: int

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(self.macs + other.macs, self.params + other.params)


@dataclass(frozen=True)
class Tables:
    """Exact counts of a space at one image size, int64."""

    macs: PathTable
    params: PathTable


def convolution(c_in: int, c_out: int, kernel: int, pixels: int, groups: int = 1) -> Cost:
    """A square convolution without bias, with `pixels` output positions."""
    weights = c_in // groups * c_out * kernel * kernel
    return Cost(weights * pixels, weights)


def batch_norm(channels: int) -> Cost:
    return Cost(0, 2 * channels)


def dense(c_in: int, c_out: int) -> Cost:
    """A dense layer with bias, or a 1x1 convolution with bias on one pixel."""
    return Cost(c_in * c_out, c_in * c_out + c_out)


def inverted_bottleneck(
    c_in: int, c_out: int, choice: Choice, pixels: int, out: int, folded_width: int | None = None
) -> Cost:
    """A block with `pixels` positions before the depthwise convolution and `out` after it.

    Without the 1x1 convolution that a folded block may have on its shortcut.
    """
    hidden = (folded_width or c_in) * choice.expansion
    cost = convolution(c_in, hidden, 1, pixels) + batch_norm(hidden)
    cost += convolution(hidden, hidden, choice.kernel, out, groups=hidden) + batch_norm(hidden)
    if choice.se:
        cost += dense(hidden, hidden // 4) + dense(hidden // 4, hidden)
    return cost + convolution(hidden, c_out, 1, out) + batch_norm(c_out)


def _stem(space: Space, channels: int, pixels: int) -> Cost:
    first, last = space.stem_width, space.separable_width
    cost = convolution(channels, first, 3, pixels) + batch_norm(first)
    cost += convolution(first, first, 3, pixels, groups=first) + batch_norm(first)
    return cost + convolution(first, last, 1, pixels) + batch_norm(last)


def _head(space: Space, c_in: int, pixels: int, num_classes: int) -> Cost:
    width = space.head_width
    return convolution(c_in, width, 1, pixels) + batch_norm(width) + dense(width, num_classes)


def _check_sizes(**sizes: int) -> None:
    for name, value in sizes.items():
        if value < 1:
            raise InputError(f"{name} is {value}; allowed: 1 or more")


@lru_cache(maxsize=64)
def tables(
    space: Space, image_size: int = 224, num_classes: int = 1000, channels: int = 3
) -> Tables:
    """Builds the look-up tables for square images.

    Raises:
      InputError: if the image size, class count or channel count is below 1.
    """
    _check_sizes(image_size=image_size, num_classes=num_classes, channels=channels)
    side = -(-image_size // space.stem_stride)
    stem = _stem(space, channels, side**2)

    depth = space.depth
    source_widths = [space.separable_width, *(layer.width for layer in space.layers)]
    layers = np.zeros((2, depth, space.num_choices, depth + 1), np.int64)
    for i, layer in enumerate(space.layers):
        out = -(-side // layer.stride)
        for j, choice in enumerate(space.choices):
            if choice.is_skip:
                continue
            for source in range(i + 1):
                cost = inverted_bottleneck(
                    source_widths[source], layer.width, choice, side**2, out**2
                )
                layers[:, i, j, source] = cost.macs, cost.params
        side = out

    head = np.zeros((2, depth + 1), np.int64)
    for source, width in enumerate(source_widths):
        cost = _head(space, width, side**2, num_classes)
        head[:, source] = cost.macs, cost.params
    is_skip = np.array([choice.is_skip for choice in space.choices])
    return Tables(
        PathTable(stem.macs, layers[0], head[0], is_skip, space.allowed),
        PathTable(stem.params, layers[1], head[1], is_skip, space.allowed),
    )


def costs(
    space: Space,
    architectures: Any,
    image_size: int = 224,
    num_classes: int = 1000,
    channels: int = 3,
) -> NDArray[np.int64]:
    """MACs and parameters of the stand-alone networks, exact.

    Args:
      space: the search space.
      architectures: `int32[P, L]`, or one `int32[L]`.
      image_size: side of the square input, in pixels.
      num_classes: outputs of the classifier.
      channels: channels of the input image.

    Returns:
      `int64[P, 2]` (or `int64[2]`): MACs of one image, and trainable parameters.

    Raises:
      InputError: for architectures that are not of the space.
    """
    array = spaces.validate(space, architectures)
    population = np.atleast_2d(array)
    table = tables(space, image_size, num_classes, channels)
    counts = np.stack([table.macs(population), table.params(population)], axis=1)  # [P, 2]
    return counts if array.ndim == 2 else counts[0]


def of_network(
    space: Space,
    architecture: Any,
    skip: str,
    image_size: int = 224,
    num_classes: int = 1000,
    channels: int = 3,
) -> Cost:
    """Counts of one stand-alone network, whatever its skips are; see `derived.SKIPS`.

    Raises:
      InputError: for an architecture that is not of the space, or an unknown kind of skip.
    """
    _check_sizes(image_size=image_size, num_classes=num_classes, channels=channels)
    side = -(-image_size // space.stem_stride)
    total = _stem(space, channels, side**2)
    width = space.separable_width
    for layer in derived.layers(space, architecture, skip):
        out = -(-side // layer.stride)
        if not layer.choice.is_skip:
            total += inverted_bottleneck(
                layer.c_in, layer.c_out, layer.choice, side**2, out**2, layer.folded_width
            )
            if layer.keeps_shortcut and skip == "folded":
                total += convolution(layer.c_in, layer.c_out, 1, out**2)
        elif skip == "els":
            total += convolution(layer.c_in, layer.c_out, 1, out**2)
        side, width = out, layer.c_out
    return total + _head(space, width, side**2, num_classes)


def macs(space: Space, architectures: Any, **network: int) -> NDArray[np.int64]:
    """MACs alone, `int64[P]`; see `costs` for the arguments."""
    return costs(space, architectures, **network)[..., 0]


def parameters(space: Space, architectures: Any, **network: int) -> NDArray[np.int64]:
    """Trainable parameters alone, `int64[P]`; see `costs` for the arguments."""
    return costs(space, architectures, **network)[..., 1]
