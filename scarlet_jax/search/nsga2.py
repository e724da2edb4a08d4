"""NSGA-II (Deb et al., 2002) with objective weights in the crowding distance.

Every function takes objective values `float64[P, K]` that are all to be minimised. NaN is
the worst value there is: an individual that could not be scored, never an error.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Values = NDArray[np.float64]
Indices = NDArray[np.int64]


def non_dominated_rank(values: Values) -> Indices:
    """The front of each individual, `int64[P]`; 0 is the Pareto front."""
    values = np.where(np.isnan(values), np.inf, values)
    size = len(values)
    no_worse = np.ones((size, size), bool)  # [i, j]: i is no worse than j in every objective
    for column in values.T:
        no_worse &= column[:, None] <= column[None, :]
    dominates = no_worse & ~no_worse.T
    dominators = np.count_nonzero(dominates, axis=0)  # [P], of those not ranked yet
    ranks = np.full(size, -1, np.int64)
    rank = 0
    while (front := (dominators == 0) & (ranks < 0)).any():
        ranks[front] = rank
        dominators = dominators - np.count_nonzero(dominates[front], axis=0)
        rank += 1
    return ranks


def crowding_distance(values: Values, weights: ArrayLike) -> NDArray[np.float64]:
    """Weighted crowding distance of the individuals of one front, `float64[P]`.

    Each objective adds the gap between an individual's two neighbours, as a share of the
    front's range and times the objective's weight. The best and the worst of an objective are
    infinitely far, and so are all of a front of one or two. An objective that is constant on
    the front, or has weight 0, says nothing.

    Args:
      values: `float64[P, K]`, one front.
      weights: `[K]`, not negative, of any positive sum. Equal weights give the classical
        distance divided by K.
    """
    shares = np.asarray(weights, np.float64) / np.sum(weights)
    if len(values) <= 2:
        return np.full(len(values), np.inf)
    distance = np.zeros(len(values))
    for column, share in zip(values.T, shares, strict=True):
        finite = np.isfinite(column)
        if share == 0 or not finite.any():
            continue
        column = np.where(finite, column, column[finite].max())
        order = np.argsort(column, kind="stable")
        ranged = column[order]
        extent = ranged[-1] - ranged[0]
        if extent == 0:
            continue
        gaps = np.full(len(column), np.inf)
        gaps[1:-1] = (ranged[2:] - ranged[:-2]) / extent
        distance[order] += share * gaps
    return distance


def rank_and_crowding(values: Values, weights: ArrayLike) -> tuple[Indices, NDArray[np.float64]]:
    """The front `int64[P]` of each individual and its crowding distance there, `float64[P]`."""
    ranks = non_dominated_rank(values)
    crowding = np.zeros(len(values))
    for rank in np.unique(ranks):
        front = np.flatnonzero(ranks == rank)
        crowding[front] = crowding_distance(values[front], weights)
    return ranks, crowding


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
