"""NSGA-II (Deb et al., 2002) with objective weights in the crowding distance.

Every function takes objective values `float64[P, K]` that are all to be minimised. NaN is
the worst value there is: an individual that could not be scored, never an error.
"""

import moocore
import numpy as np
from numpy.typing import ArrayLike, NDArray

Values = NDArray[np.float64]
Indices = NDArray[np.int64]


def non_dominated_rank(values: Values) -> Indices:
    """The front of each individual, `int64[P]`; 0 is the Pareto front. Equals share it."""
    if not values.size:
        return np.zeros(len(values), np.int64)
    return moocore.pareto_rank(_without_nan(values)).astype(np.int64)


def is_non_dominated(values: Values) -> NDArray[np.bool_]:
    """Which individuals are of the Pareto front, `bool[P]`; faster than all ranks."""
    if not values.size:
        return np.ones(len(values), bool)
    return np.asarray(moocore.is_nondominated(_without_nan(values), keep_weakly=True), bool)


def crowding_distance(values: Values, ranks: Indices, weights: ArrayLike) -> NDArray[np.float64]:
    """Weighted crowding distance of every individual in its front, `float64[P]`.

    Each objective adds the gap between an individual's two neighbours, as a share of the
    front's range and times the objective's weight. The best and the worst of an objective are
    infinitely far, and so are all of a front of one or two. An objective that is constant on
    a front, or has weight 0, says nothing.

    Args:
      values: `float64[P, K]`.
      ranks: the front of each, `int64[P]`.
      weights: `[K]`, not negative, of any positive sum. Equal weights give the classical
        distance divided by K.
    """
    if not len(ranks):
        return np.zeros(0)
    shares = np.asarray(weights, np.float64) / np.sum(weights)
    distance = np.where(np.bincount(ranks)[ranks] <= 2, np.inf, 0.0)
    for column, share in zip(values.T, shares, strict=True):
        if share == 0:
            continue
        column = _worst_of_front(column, ranks)
        order = np.lexsort((column, ranks))
        ranged, front = column[order], ranks[order]
        ends = np.flatnonzero(np.diff(front, prepend=-1, append=front[-1] + 1))  # [fronts + 1]
        first, last = ends[:-1], ends[1:] - 1
        extent = np.repeat(ranged[last] - ranged[first], last - first + 1)
        gaps = np.zeros(len(ranged))
        gaps[1:-1] = ranged[2:] - ranged[:-2]
        gaps[first] = gaps[last] = np.inf
        varied = extent > 0
        distance[order[varied]] += share * gaps[varied] / extent[varied]
    return distance


def rank_and_crowding(values: Values, weights: ArrayLike) -> tuple[Indices, NDArray[np.float64]]:
    """The front `int64[P]` of each individual and its crowding distance there, `float64[P]`."""
    ranks = non_dominated_rank(values)
    return ranks, crowding_distance(values, ranks, weights)


def survive(values: Values, weights: ArrayLike, count: int) -> Indices:
    """The `count` best individuals, best first: by front, then the largest crowding distance.

    Returns:
      Indices `int64[min(count, P)]` into `values`; the earlier of equals comes first.
    """
    ranks, crowding = rank_and_crowding(values, weights)
    return np.lexsort((-crowding, ranks))[:count]


def tournament(rng: np.random.Generator, values: Values, weights: ArrayLike, count: int) -> Indices:
    """The winners `int64[count]` of binary tournaments: lower front, then larger crowding."""
    ranks, crowding = rank_and_crowding(values, weights)
    one, other = rng.integers(len(values), size=(2, count))
    wins = (ranks[other] < ranks[one]) | (
        (ranks[other] == ranks[one]) & (crowding[other] > crowding[one])
    )
    return np.where(wins, other, one)


def hypervolume(values: Values, ideal: ArrayLike, reference: ArrayLike) -> float:
    """Share of the box between `ideal` and `reference`, `[K]` each, that is dominated.

    Individuals beyond the reference count nothing, what is better than the ideal no more than
    it. An objective whose ideal is its reference says nothing.
    """
    ideal, reference = np.asarray(ideal, np.float64), np.asarray(reference, np.float64)
    extent = reference - ideal
    inside = (values < reference) | (extent == 0)
    inside = inside.all(axis=1)
    scaled = (values[inside][:, extent > 0] - ideal[extent > 0]) / extent[extent > 0]
    if not scaled.size:
        return 0.0
    return float(moocore.hypervolume(scaled.clip(0), ref=np.ones(scaled.shape[1])))


def pick_evenly(positions: ArrayLike, count: int) -> Indices:
    """Distinct indices whose positions come nearest to an even spacing from end to end.

    Exact: of all choices of `count` distinct positions it minimises the summed distance to
    the `count` evenly spaced targets. A single pick aims at the middle.

    Args:
      positions: `[P]`, in any order.
      count: how many to pick; all are picked when there are no more than that.

    Returns:
      `int64[min(count, P)]`, in ascending order of position.
    """
    positions = np.asarray(positions, np.float64)
    order = np.argsort(positions, kind="stable")
    if len(positions) <= count:
        return order
    ranged = positions[order]
    low, high = ranged[0], ranged[-1]
    targets = np.linspace(low, high, count) if count > 1 else np.array([(low + high) / 2])
    # best[j, i]: least distance when the first j targets are met among the first i positions.
    best = np.full((count + 1, len(ranged) + 1), np.inf)
    best[0] = 0
    for j, target in enumerate(targets):
        taken = best[j, :-1] + np.abs(ranged - target)
        best[j + 1, 1:] = np.minimum.accumulate(taken)
    picks = []
    i = len(ranged)
    for j in range(count, 0, -1):
        i = int(np.argmax(best[j, : i + 1] == best[j, i])) - 1  # the pick that first reached it
        picks.append(i)
    return order[picks[::-1]]


def _without_nan(values: Values) -> Values:
    """Finite numbers in the same order: the library takes no infinite ones."""
    return np.nan_to_num(values, nan=np.finfo(np.float64).max)


def _worst_of_front(column: NDArray[np.float64], ranks: Indices) -> NDArray[np.float64]:
    """`[P]` with what is not finite as bad as the worst finite value of its front, or 0."""
    finite = np.isfinite(column)
    if finite.all():
        return column
    worst = np.full(ranks.max() + 1, -np.inf)
    np.maximum.at(worst, ranks[finite], column[finite])
    return np.where(finite, column, np.where(np.isfinite(worst), worst, 0.0)[ranks])
