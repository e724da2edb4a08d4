"""MACs and parameters of whole populations by table look-up.

Counting rule: multiply-adds of convolutions and dense layers (squeeze-and-excitation once
an image), batch norm and activations free; parameters are all trainable ones.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

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


def inverted_bottleneck(c_in: int, c_out: int, choice: Choice, pixels: int, out: int) -> Cost:
    """A block with `pixels` positions before the depthwise convolution and `out` after it."""
    hidden = c_in * choice.expansion
    cost = convolution(c_in, hidden, 1, pixels) + batch_norm(hidden)
    cost += convolution(hidden, hidden, choice.kernel, out, groups=hidden) + batch_norm(hidden)
    if choice.se:
        cost += dense(hidden, hidden // 4) + dense(hidden // 4, hidden)
    return cost + convolution(hidden, c_out, 1, out) + batch_norm(c_out)


@lru_cache(maxsize=64)
def tables(
    space: Space, image_size: int = 224, num_classes: int = 1000, channels: int = 3
) -> Tables:
    """Builds the look-up tables for square images.

    Raises:
      InputError: if the image size, class count or channel count is below 1.
    """
    for name, value in (
        ("image_size", image_size),
        ("num_classes", num_classes),
        ("channels", channels),
    ):
        if value < 1:
            raise InputError(f"{name} is {value}; allowed: 1 or more")
    stem_width, separable_width = space.stem_width, space.separable_width
    side = -(-image_size // space.stem_stride)
    stem = convolution(channels, stem_width, 3, side**2) + batch_norm(stem_width)
    stem += convolution(stem_width, stem_width, 3, side**2, groups=stem_width)
    stem += batch_norm(stem_width)
    stem += convolution(stem_width, separable_width, 1, side**2) + batch_norm(separable_width)

    depth = space.depth
    source_widths = [separable_width, *(layer.width for layer in space.layers)]
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
        cost = convolution(width, space.head_width, 1, side**2) + batch_norm(space.head_width)
        cost += dense(space.head_width, num_classes)
        head[:, source] = cost.macs, cost.params
    is_skip = np.array([choice.is_skip for choice in space.choices])
    return Tables(
        PathTable(stem.macs, layers[0], head[0], is_skip),
        PathTable(stem.params, layers[1], head[1], is_skip),
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


def macs(space: Space, architectures: Any, **network: int) -> NDArray[np.int64]:
    """MACs alone, `int64[P]`; see `costs` for the arguments."""
    return costs(space, architectures, **network)[..., 0]


def parameters(space: Space, architectures: Any, **network: int) -> NDArray[np.int64]:
    """Trainable parameters alone, `int64[P]`; see `costs` for the arguments."""
    return costs(space, architectures, **network)[..., 1]
