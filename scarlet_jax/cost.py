"""MACs and parameters of whole populations by table look-up; `blocks.Cost` says what counts."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scarlet_jax import derived
from scarlet_jax import space as spaces
from scarlet_jax.blocks import Cost, Shape, ends
from scarlet_jax.network_size import IMAGENET, NetworkSize
from scarlet_jax.path_table import PathTable
from scarlet_jax.space import Space


@dataclass(frozen=True)
class Tables:
    """Exact counts of a space at one image size, int64."""

    macs: PathTable
    params: PathTable


@lru_cache(maxsize=64)
def tables(space: Space, size: NetworkSize = IMAGENET) -> Tables:
    """Builds the look-up tables for square images."""
    side = -(-size.image_size // space.stem_stride)
    stem = ends.stem_cost(space, size.channels, side)

    depth = space.depth
    layers = np.zeros((2, depth, space.num_choices, depth + 1), np.int64)
    for i, layer in enumerate(space.layers):
        for j, choice in enumerate(space.choices):
            if choice.keeps_width:
                continue
            for source in range(i + 1):
                shape = Shape(space.widths[source], layer.width, layer.stride)
                cost = choice.cost(shape, space.style, side)
                layers[:, i, j, source] = cost.macs, cost.params
        side = -(-side // layer.stride)

    head = np.zeros((2, depth + 1), np.int64)
    for source, width in enumerate(space.widths):
        cost = ends.head_cost(space, width, size.num_classes, side)
        head[:, source] = cost.macs, cost.params
    return Tables(
        PathTable(stem.macs, layers[0], head[0], space.keeps_width, space.allowed),
        PathTable(stem.params, layers[1], head[1], space.keeps_width, space.allowed),
    )


def costs(space: Space, architectures: Any, size: NetworkSize = IMAGENET) -> NDArray[np.int64]:
    """MACs and parameters of the stand-alone networks, exact.

    Args:
      space: the search space.
      architectures: `int32[P, L]`, or one `int32[L]`.
      size: of the networks.

    Returns:
      `int64[P, 2]` (or `int64[2]`): MACs of one image, and trainable parameters.

    Raises:
      InputError: for architectures that are not of the space.
    """
    array = spaces.validate(space, architectures)
    population = np.atleast_2d(array)
    table = tables(space, size)
    counts = np.stack([table.macs(population), table.params(population)], axis=1)  # [P, 2]
    return counts if array.ndim == 2 else counts[0]


def of_network(space: Space, architecture: Any, skip: str, size: NetworkSize = IMAGENET) -> Cost:
    """Counts of one stand-alone network, whatever its skips are; see `derived.SKIPS`.

    Raises:
      InputError: for an architecture that is not of the space, or an unknown kind of skip.
    """
    side = -(-size.image_size // space.stem_stride)
    total = ends.stem_cost(space, size.channels, side)
    width = space.widths[0]
    for layer in derived.layers(space, architecture, skip):
        total += layer.choice.cost(layer.shape, space.style, side)
        side, width = layer.shape.side(side), layer.shape.c_out
    return total + ends.head_cost(space, width, size.num_classes, side)


def macs(space: Space, architectures: Any, size: NetworkSize = IMAGENET) -> NDArray[np.int64]:
    """MACs alone, `int64[P]`; see `costs` for the arguments."""
    return costs(space, architectures, size)[..., 0]
