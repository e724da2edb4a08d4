"""Costs that add up along a path: MACs, parameters, latency of whole populations by look-up.

An identity keeps its input channels and its layer's stride, so what a layer costs depends on
the last layer before it that is not an identity: its *source*. Source 0 is the separable
block, s is layer s - 1. Tables are indexed by that, and are no plain sums over layers.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scarlet_jax.space import Array

Numbers = NDArray[Any]


@dataclass(frozen=True, eq=False)
class PathTable:
    """One cost of every path; `table(int32[P, L])` gives it, `[P]`, in the tables' dtype."""

    stem: Any  # what every path costs, a number
    layers: Numbers  # [L, N, L + 1]: by layer, choice, source; 0 for what cannot occur
    head: Numbers  # [L + 1], by the last source
    keeps_width: NDArray[np.bool_]  # [N]
    allowed: NDArray[np.bool_]  # [L, N], which choices each layer may take
    unit: str = ""  # of all numbers; none for counts

    @property
    def depth(self) -> int:
        return len(self.layers)

    def __call__(self, architectures: Array) -> Numbers:
        layer = np.arange(self.depth)
        after = sources(architectures, self.keeps_width)  # [P, L]
        before = np.concatenate([np.zeros_like(after[:, :1]), after[:, :-1]], axis=1)
        total = self.layers[layer, architectures, before].sum(axis=1)  # [P]
        return total + self.head[after[:, -1]] + self.stem

    def extremes(self) -> tuple[Any, Any]:
        """The least and the most that any path costs. Exact.

        A dynamic programme over the layers: the cost so far need only be kept by source, as
        nothing else of it matters to what follows.
        """
        return self._extreme(1), self._extreme(-1)

    def _extreme(self, sign: int) -> Any:
        best = np.full(self.depth + 1, np.inf)  # [L + 1], by source, times the sign
        best[0] = sign * self.stem
        for layer in range(self.depth):
            costs = best + sign * self.layers[layer]  # [N, L + 1]
            own = self.allowed[layer]
            best = costs[own & self.keeps_width].min(axis=0, initial=np.inf)
            best[layer + 1] = costs[own & ~self.keeps_width].min(initial=np.inf)
        return self.layers.dtype.type(sign * (best + sign * self.head).min())


def sources(architectures: Array, keeps_width: NDArray[np.bool_]) -> Array:
    """The source after each layer of `int32[P, L]`, `int64[P, L]`: what the next one reads."""
    layer = np.arange(architectures.shape[1])
    return np.maximum.accumulate(np.where(keeps_width[architectures], 0, layer + 1), axis=1)


def possible_sources(
    allowed: NDArray[np.bool_], keeps_width: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Which sources each layer, and last the head, can have, `bool[L + 1, L + 1]`.

    Args:
      allowed: `bool[L, N]`, which choices each layer may take.
      keeps_width: `bool[N]`.
    """
    found = np.eye(len(allowed) + 1, dtype=bool)
    for layer, own in enumerate(allowed):
        found[layer + 1, : layer + 1] = found[layer, : layer + 1] & own[keeps_width].any()
        found[layer + 1, layer + 1] = own[~keeps_width].any()
    return found


def best_paths(
    gains: NDArray[np.float64], tables: Sequence[PathTable], prices: NDArray[np.float64]
) -> Array:
    """The path of the highest gain less the priced costs, for each of P buyers. Exact.

    Args:
      gains: `float64[P, L, N]`, of each choice in each layer; -inf where it may not be taken.
      tables: T costs of the same space.
      prices: `float64[P, T]`, what each buyer pays for a unit of each cost; may be negative.

    Returns:
      `int32[P, L]`, by a dynamic programme from the last layer to the first.
    """
    count, depth, _ = gains.shape
    if not tables:
        return gains.argmax(axis=2).astype(np.int32)
    keeps_width = tables[0].keeps_width[:, None]
    worth = -prices @ np.stack([table.head for table in tables])  # [P, L + 1], by source
    best = np.zeros((depth, count, depth), np.int32)
    for layer in reversed(range(depth)):
        own = slice(layer + 1)  # the sources that a layer can have
        costs = np.stack([table.layers[layer, :, own] for table in tables])  # [T, N, layer + 1]
        after = np.where(keeps_width, worth[:, None, own], worth[:, None, layer + 1, None])
        total = gains[:, layer, :, None] - np.tensordot(prices, costs, axes=1) + after
        best[layer, :, own] = total.argmax(axis=1)
        worth = total.max(axis=1)  # [P, layer + 1]
    paths, source = np.zeros((count, depth), np.int32), np.zeros(count, np.int64)
    for layer in range(depth):
        paths[:, layer] = best[layer, np.arange(count), source]
        source = np.where(tables[0].keeps_width[paths[:, layer]], source, layer + 1)
    return paths
