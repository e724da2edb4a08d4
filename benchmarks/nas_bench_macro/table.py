"""The published table: 6,561 encodings of 3,969 networks, each trained three times on CIFAR-10."""

import json
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from scarlet_jax import cost
from scarlet_jax.configs import nas_bench_macro
from scarlet_jax.errors import InputError
from scarlet_jax.network_size import NetworkSize
from scarlet_jax.run.setup import make_space
from scarlet_jax.search import nsga2
from scarlet_jax.space import Array, Space

SIZE = NetworkSize(image_size=32, num_classes=10, channels=3)
RUNS = 3  # of each network
SAMPLE = 1000  # ours: networks that recipes are compared on


@dataclass(frozen=True, eq=False)
class Table:
    """What was published of each distinct network.

    Encodings that differ only in where an identity stands inside a stage are one network; the
    one whose identities come last stands for it.
    """

    space: Space
    networks: Array  # int32[3969, 8]
    accuracies: NDArray[np.float64]  # [3969, RUNS], percent of the test images
    macs: NDArray[np.int64]  # [3969]
    params: NDArray[np.int64]  # [3969]

    @cached_property
    def accuracy(self) -> NDArray[np.float64]:
        """The mean of a network's runs, `float64[3969]`."""
        return self.accuracies.mean(axis=1)

    @cached_property
    def front(self) -> NDArray[np.bool_]:
        """Which networks are of the true Pareto front of MACs and accuracy, `bool[3969]`."""
        return nsga2.is_non_dominated(np.stack([-self.accuracy, self.macs], axis=1))

    @cached_property
    def depth(self) -> NDArray[np.int64]:
        """Layers that are no identity, `int64[3969]`."""
        return (~self.space.is_skip[self.networks]).sum(axis=1)

    def index(self, encodings: Array) -> NDArray[np.int64]:
        """Which network each of `int32[P, 8]` is, `int64[P]`."""
        return self._index_of[tuple(encodings.T)]

    @cached_property
    def _index_of(self) -> NDArray[np.int64]:
        every = canonical(self.space, all_encodings(self.space))
        _, index = np.unique(every, axis=0, return_inverse=True)
        return index.reshape((self.space.num_choices,) * self.space.depth)


def all_encodings(space: Space) -> Array:
    """`int32[6561, 8]`, in ascending order."""
    every = np.indices((space.num_choices,) * space.depth, np.int32)
    return every.reshape(space.depth, -1).T


def distinct_networks(space: Space) -> Array:
    """`int32[3969, 8]`, in ascending order: the rows of a `Table`."""
    return np.unique(canonical(space, all_encodings(space)), axis=0)


def sample(networks: int) -> NDArray[np.int64]:
    """`SAMPLE` rows of a table, the same for all that are compared on them."""
    return np.random.default_rng(0).permutation(networks)[:SAMPLE]


def canonical(space: Space, encodings: Array) -> Array:
    """The same networks `int32[P, L]`, identities at the end of their stages' equal layers."""
    found = encodings.copy()
    starts = [n for n, layer in enumerate(space.layers) if layer.stride == 2] + [space.depth]
    for start, stop in pairwise(starts):
        own = found[:, start + 1 : stop]
        order = np.argsort(space.is_skip[own], axis=1, kind="stable")
        found[:, start + 1 : stop] = np.take_along_axis(own, order, axis=1)
    return found


def macro_space() -> Space:
    """The space of the benchmark, 8 layers of 3 choices."""
    return make_space(nas_bench_macro.get_config())


def load(path: Path) -> Table:
    """Reads the published file, and checks it.

    Raises:
      InputError: where the file is missing, is of another benchmark, or does not count as we do.
    """
    space = macro_space()
    try:
        published = json.loads(path.read_text())
        names = list(published)
        encodings = np.array([[int(digit) for digit in name] for name in names], np.int32)
        rows = [published[name] for name in names]
        accuracies = np.array([row["test_acc"] for row in rows], np.float64)
        counts = np.array([[row["flops"], row["params"]] for row in rows], np.int64)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path} is no table of NAS-Bench-Macro: {error}") from None
    whole = space.num_choices**space.depth, space.depth
    if encodings.shape != whole or accuracies.shape != (len(rows), RUNS):
        raise InputError(
            f"{path} has {len(rows):,} networks; allowed: NAS-Bench-Macro's {whole[0]:,} encodings "
            f"of {space.depth} layers, each with {RUNS} test accuracies"
        )
    ours = cost.costs(space, encodings, SIZE)
    for name, own, theirs in zip(names, ours, counts, strict=True):
        if (own != theirs).any():
            raise InputError(
                f"{path} has {theirs[0]:,} FLOPs and {theirs[1]:,} parameters for {name}; allowed: "
                f"NAS-Bench-Macro's {own[0]:,} and {own[1]:,}"
            )
    networks, first = np.unique(canonical(space, encodings), axis=0, return_index=True)
    return Table(space, networks, accuracies[first], counts[first, 0], counts[first, 1])
