"""How parents become offspring: crossover and hierarchical mutation.

Pure functions of arrays and a generator, each over all parents `int32[P, L]` at once.

Table 1 of the SCARLET supplementary gives the probabilities of the mutations but not their
definitions. Ours:
  random: one layer, drawn uniformly among those that have another choice, takes one of them.
  reinforced: layers take the choices that their controllers hold best (`controller.py`).
  prior-regulated: one layer changes towards a target in the feasible band of a computed
    objective, which needs no evaluation.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from scarlet_jax.search import controller
from scarlet_jax.search.controller import Controller
from scarlet_jax.search.problem import Problem
from scarlet_jax.space import Array, own_choices

Generator = np.random.Generator
Allowed = NDArray[np.bool_]  # [L, N], which choices each layer may take


def uniform_crossover(rng: Generator, one: Array, other: Array) -> Array:
    """Each layer of a child `int32[P, L]` comes from either parent."""
    return np.where(rng.random(one.shape) < 0.5, one, other)


def one_point_crossover(rng: Generator, one: Array, other: Array) -> Array:
    """The layers before a point come from one parent, the rest, at least one, from the other.

    The point is drawn uniformly between two layers; a single layer comes from the other parent.
    """
    count, depth = one.shape
    point = rng.integers(1, max(depth, 2), size=(count, 1)) if depth > 1 else 0
    return np.where(np.arange(depth) < point, one, other)


def random_mutation(rng: Generator, parents: Array, allowed: Allowed) -> Array:
    """One layer, drawn uniformly among those that have another choice, takes one uniformly."""
    counts = allowed.sum(axis=1)
    index = np.arange(len(parents))
    layers = rng.choice(np.flatnonzero(counts > 1), size=len(parents))
    steps = rng.integers(1, counts[layers], dtype=np.int32)
    children = parents.copy()
    children[index, layers] = _step_on(allowed, layers, parents[index, layers], steps)
    return children


def reinforced_mutation(
    rng: Generator, parents: Array, learned: Controller, guides: NDArray[np.int64], whole: float
) -> Array:
    """Layers take the choices that their controllers hold best.

    In a share `whole` of the children all layers do. In the others each does with a chance that
    is drawn uniformly for each child: from a small step to a child that shares little with its
    parent. The guide, an index of an objective with a goal for each parent, counts most.
    """
    chance = np.minimum(rng.random((len(parents), 1)) / max(1 - whole, 1e-9), 1.0)
    open_layers = rng.random(parents.shape) < chance
    shares = guided_shares(rng, guides, len(learned.mean))
    return controller.decide(rng, learned, shares, parents, open_layers)


def guided_shares(rng: Generator, guides: NDArray[np.int64], count: int) -> NDArray[np.float64]:
    """What each of `count` objectives counts, `float64[P, count]`, the guide `[P]` most.

    Uniform over all shares that sum to 1, with the largest given to the guide.
    """
    shares = rng.dirichlet(np.ones(count), size=len(guides))
    rows, largest = np.arange(len(guides)), shares.argmax(axis=1)
    shares[rows, largest], shares[rows, guides] = (
        shares[rows, guides],
        shares[rows, largest],
    )
    return shares


def neighbours(parents: Array, allowed: Allowed) -> Array:
    """All architectures one change away from each parent, `int32[P, O, L]`."""
    every = np.arange(allowed.shape[1])
    layers, steps = np.nonzero((every > 0) & (every < allowed.sum(axis=1)[:, None]))  # [O]
    options = np.repeat(parents[:, None], len(layers), axis=1)  # [P, O, L]
    options[:, np.arange(len(layers)), layers] = _step_on(
        allowed, layers, parents[:, layers], steps
    )
    return options


def _step_on(
    allowed: Allowed, layers: NDArray[np.int64], choices: Array, steps: NDArray[Any]
) -> Array:
    """The choice so many steps on in the circle of a layer's own choices; all broadcast."""
    own, counts = own_choices(allowed)
    index = allowed.cumsum(axis=1) - 1  # [L, N], of a choice among its layer's own
    return own[layers, (index[layers, choices] + steps) % counts[layers]]


def prior_mutation(rng: Generator, parents: Array, problem: Problem) -> Array:
    """One layer changes such that a computed objective moves towards a target that is feasible.

    For each parent one of the computed objectives steers, drawn uniformly, towards a target
    drawn uniformly between the least and the most that are feasible. All neighbours are ranked
    by their distance to it, with what other computed objectives miss their bounds by on top,
    each as a share of its band; the one of rank r (from 1) is drawn with odds 1 / r: a
    preference without a scale to tune. Where nothing is computed, the mutation is random.
    """
    columns = [i for i, o in enumerate(problem.objectives) if not o.is_evaluated]
    if not columns or not len(parents):
        return random_mutation(rng, parents, problem.allowed)
    options = neighbours(parents, problem.allowed)  # [P, O, L]
    count, number, depth = options.shape
    costs = problem.computed_values(options.reshape(-1, depth)).reshape(count, number, -1)
    steering = rng.integers(len(columns), size=count)
    distance = np.zeros((count, number))
    for steered, column in enumerate(columns):
        low, high = problem.objectives[column].closed_band(costs[..., column])
        values, extent = costs[..., column], max(high - low, 1e-9 * abs(high), 1e-30)
        distance += np.maximum(np.maximum(low - values, values - high), 0) / extent
        target = rng.uniform(low, high, size=(count, 1))
        distance += np.where((steering == steered)[:, None], np.abs(values - target) / extent, 0)
    ranks = distance.argsort(axis=1, kind="stable").argsort(axis=1, kind="stable")
    log_odds = -np.log(ranks + 1)
    chosen = (log_odds + rng.gumbel(size=ranks.shape)).argmax(axis=1)
    return options[np.arange(count), chosen]
