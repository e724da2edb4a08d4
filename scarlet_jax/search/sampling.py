"""Uniform initialisation under constraints (SCARLET supplementary, figure 1).

Architectures are drawn such that their costs cover the feasible range evenly, however few of
all architectures lie within the bounds. One objective with a cost table is *spread*: a dynamic
programme over the layers counts the architectures in each of many narrow bins of its cost, a
bin is drawn uniformly, and then one of the bin's architectures. Bounds on other tables tilt the
draw within a bin by exp(-cost * tilt), and the tilt grows until enough draws satisfy them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial

import numpy as np
from numpy.typing import NDArray

from scarlet_jax.path_table import PathTable
from scarlet_jax.search.objective import Objective
from scarlet_jax.search.problem import Problem
from scarlet_jax.space import Array, draw

# Ours: bins over the whole range of the spread cost, and over the feasible band at least.
BINS = 1024
BINS_OF_BAND = 64
MOST_BINS = 16384  # of memory and time: 2,470 vectors of this length for S2
ENOUGH = 0.25  # share of draws within the other bounds, where tilting ends
TILTS = 20  # rounds of tilting at most
TRIAL = 500  # draws of a round
FINEST = 1e-4  # least deviation that a step reckons with, as a share of the whole range

Draw = Callable[[np.random.Generator, int], Array]


@lru_cache(maxsize=2)  # every generation may ask for it; up to 50 MB
def sampler(problem: Problem) -> Draw:
    """`(rng, count) -> int32[count, L]`, which cover the feasible range of costs evenly.

    Without a cost table, every layer's choice is drawn uniformly. Draws need not be distinct,
    nor all be within the bounds.
    """
    tabled = [objective for objective in problem.objectives if objective.table is not None]
    if not tabled:
        return partial(uniform, problem)
    # What is bounded is spread rather than what is not, and an objective of the front first.
    spread = min(tabled, key=lambda objective: (not objective.is_bounded, objective.goal == "none"))
    others = [o for o in tabled if o is not spread and o.is_bounded]
    return _tilted(problem, spread, others)


def uniform(problem: Problem, rng: np.random.Generator, count: int) -> Array:
    """`int32[count, L]`, every layer's choice drawn uniformly among its own."""
    return draw(problem.allowed, rng, count)


@dataclass(frozen=True)
class _Bins:
    """How many architectures, by what they cost from a layer on."""

    table: PathTable
    costs: NDArray[np.int64]  # [L, N, L + 1] in bins
    counts: NDArray[np.float64]  # [L + 1, L + 1, bins]: layer, source, cost still to come
    factor: NDArray[np.float64]  # [L, N, L + 1], the tilt; 0 where a choice may not be taken
    feasible: NDArray[np.int64]  # bins of the whole cost that hold an architecture in the band


def _tilted(problem: Problem, spread: Objective, others: list[Objective]) -> Draw:
    """Tilts until `ENOUGH` of the draws satisfy the other bounds, or it does not get better.

    A tilted draw is an exponential family, in which the mean of a cost falls by the cost's
    variance times the tilt: Newton's step brings the mean to the bound.
    """
    tilts = np.zeros(len(others))
    bins = _count(spread, others, tilts)
    for trial in range(TILTS if others else 0):
        drawn = _draw(problem, bins, np.random.default_rng(trial), TRIAL)
        values = problem.computed_values(drawn)
        if problem.within_bounds(values, computed_only=True).mean() >= ENOUGH:
            break
        for i, objective in enumerate(others):
            cost = values[:, problem.objectives.index(objective)]
            excess = cost.mean() - np.clip(cost.mean(), *_inner(objective))
            if excess and cost.var() > 0:
                least, most = objective.extremes()
                tilts[i] += excess / max(cost.var(), ((most - least) * FINEST) ** 2)
        bins = _count(spread, others, tilts)
    return partial(_draw, problem, bins)


def _inner(objective: Objective) -> tuple[float, float]:
    """The band without a tenth at each end, so that a mean there has some of it on both sides."""
    low, high = objective.band()
    return low + (high - low) / 10, high - (high - low) / 10


def _count(spread: Objective, others: list[Objective], tilts: NDArray[np.float64]) -> _Bins:
    assert spread.table is not None
    table = spread.table
    (least, most), (low, high) = spread.extremes(), spread.band()
    width = max(min((most - least) / BINS, (high - low) / BINS_OF_BAND), (most - least) / MOST_BINS)
    width = width or 1.0
    # The stem and the head go in exactly, so that the rounding is that of the layers alone.
    costs = np.rint(table.layers / width).astype(np.int64)
    size = int(costs.max(axis=(1, 2)).sum()) + 1
    log_factor = np.zeros(table.layers.shape)
    log_head = np.zeros(table.head.shape)
    for objective, tilt in zip(others, tilts, strict=True):
        assert objective.table is not None
        log_factor -= tilt * objective.table.layers
        log_head -= tilt * objective.table.head
    log_factor[~table.allowed] = -np.inf
    # Every path takes one choice a layer: a factor for a whole layer changes no odds.
    factor = np.exp(log_factor - log_factor.max(axis=(1, 2), keepdims=True))
    offsets = np.rint((table.head - table.head.min()) / width).astype(np.int64)
    depth = table.depth
    size += int(offsets.max())
    counts = np.zeros((depth + 1, depth + 1, size))
    counts[depth, np.arange(depth + 1), offsets] = np.exp(log_head - log_head.max())
    for layer in reversed(range(depth)):
        for source in range(layer + 1):
            total = counts[layer, source]
            for choice in np.flatnonzero(table.allowed[layer]):
                step = costs[layer, choice, source]
                after = counts[layer + 1, source if table.keeps_width[choice] else layer + 1]
                total[step:] += factor[layer, choice, source] * after[: size - step]
    base = float(table.stem) + float(table.head.min())
    slack = 2 * width  # rounding moves an architecture by about a bin
    centres = base + width * np.arange(size)
    holds = (counts[0, 0] > 0) & (centres >= low - slack) & (centres <= high + slack)
    return _Bins(table, costs, counts, factor, np.flatnonzero(holds))


def _draw(problem: Problem, bins: _Bins, rng: np.random.Generator, count: int) -> Array:
    """Architectures `int32[count, L]`: a bin uniformly, then a path by its odds in the bin.

    Any at all, where no bin holds one.
    """
    if not len(bins.feasible):
        return uniform(problem, rng, count)
    drawn = np.zeros((count, problem.depth), np.int32)
    left = rng.choice(bins.feasible, size=count)
    source = np.zeros(count, np.int64)
    keeps_width = bins.table.keeps_width
    for layer in range(problem.depth):
        after = np.where(keeps_width, source[:, None], layer + 1)  # [count, N]
        rest = left[:, None] - bins.costs[layer][:, source].T  # [count, N]
        odds = bins.factor[layer][:, source].T * bins.counts[layer + 1, after, rest.clip(0)]
        odds[rest < 0] = 0
        total = odds.cumsum(axis=1)
        point = rng.random((count, 1)) * total[:, -1:]
        point = np.minimum(point, np.nextafter(total[:, -1:], 0))  # a product rounds up
        choice = (total <= point).sum(axis=1)  # the first that takes the total beyond the point
        drawn[:, layer] = choice
        rows = np.arange(count)
        left, source = rest[rows, choice], after[rows, choice]
    return drawn
