"""How parents become offspring: crossover and hierarchical mutation.

Pure functions of arrays and a generator, each over all parents `int32[P, L]` at once.

Table 1 of the SCARLET supplementary gives the probabilities of the mutations but not their
definitions. Ours, every one a change of exactly one layer:
  random: any layer, any other choice, uniformly.
  reinforced: layer and choice drawn by what the evaluated architectures have taught, one
    categorical distribution a layer (`choice_scores`).
  prior-regulated: drawn by rank of nearness to a MACs target in the feasible band, which
    needs no evaluation, only the cost tables.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from scarlet_jax.space import Array

Generator = np.random.Generator


def crossover(rng: Generator, one: Array, other: Array) -> Array:
    """Uniform crossover: each layer of a child `int32[P, L]` comes from either parent."""
    return np.where(rng.random(one.shape) < 0.5, one, other)


def random_mutation(rng: Generator, parents: Array, num_choices: int) -> Array:
    """One layer, drawn uniformly, takes another choice, drawn uniformly."""
    count, depth = parents.shape
    rows, layers = np.arange(count), rng.integers(depth, size=count)
    children = parents.copy()
    children[rows, layers] += rng.integers(1, num_choices, size=count, dtype=np.int32)
    children[rows, layers] %= num_choices
    return children


def choice_scores(architectures: Array, values: ArrayLike, num_choices: int) -> NDArray[np.float64]:
    """What each choice in each layer has been worth so far, `float64[L, N]`, higher is better.

    The mean of the standardised values of the architectures that hold the choice, in standard
    errors: the sum over the root of the count. So a score grows with the effect and with the
    evidence for it. One more architecture of average value is taken as seen, so that a choice
    never seen scores 0. The softmax over a layer's row is that layer's distribution.

    Args:
      architectures: `int32[E, L]`, evaluated.
      values: `[E]`, higher is better; architectures whose value is not finite are left out.
      num_choices: N.
    """
    scored = np.asarray(values, np.float64)
    finite = np.isfinite(scored)
    architectures, scored = architectures[finite], scored[finite]
    depth = architectures.shape[1]
    if not len(scored) or scored.max() == scored.min():
        return np.zeros((depth, num_choices))
    standard = (scored - scored.mean()) / scored.std()
    cells = (architectures + num_choices * np.arange(depth)).ravel()  # [E * L]
    size = depth * num_choices
    counts = np.bincount(cells, minlength=size)
    sums = np.bincount(cells, np.repeat(standard, depth), minlength=size)
    return (sums / np.sqrt(counts + 1)).reshape(depth, num_choices)


def reinforced_mutation(rng: Generator, parents: Array, scores: NDArray[np.float64]) -> Array:
    """One layer takes another choice, drawn by the layers' learned distributions.

    The odds of a change are the probability of the new choice in its layer over that of the
    parent's own: a layer whose choice has fared badly is the likeliest to change, and takes
    what has fared well.

    Args:
      rng: draws the change.
      parents: `int32[P, L]`.
      scores: `float64[P, L, N]`, for each parent the scores of its guide (`choice_scores`).
    """
    current = np.take_along_axis(scores, parents[..., None], axis=2)  # [P, L, 1]
    log_odds = scores - current  # [P, L, N]
    np.put_along_axis(log_odds, parents[..., None].astype(np.int64), -np.inf, axis=2)
    count, depth, num_choices = scores.shape
    log_odds = log_odds.reshape(count, depth * num_choices)
    drawn = (log_odds + rng.gumbel(size=log_odds.shape)).argmax(axis=1)  # a categorical draw
    layers, choices = np.divmod(drawn, num_choices)
    children = parents.copy()
    children[np.arange(count), layers] = choices
    return children


def neighbours(parents: Array, num_choices: int) -> Array:
    """All architectures one change away from each parent, `int32[P, L * (N - 1), L]`."""
    depth = parents.shape[1]
    shifts = np.zeros((depth, num_choices - 1, depth), np.int32)
    layer = np.arange(depth)
    shifts[layer, :, layer] = np.arange(1, num_choices)
    return (parents[:, None] + shifts.reshape(-1, depth)) % num_choices


def prior_mutation(
    rng: Generator,
    parents: Array,
    num_choices: int,
    costs: Callable[[Array], NDArray[np.int64]],
    band: tuple[int, int],
    params_max: int,
) -> Array:
    """One layer changes such that MACs move towards a target drawn in the feasible band.

    All neighbours of a parent are ranked by distance to its target, and the one of rank r
    (from 1) is drawn with odds 1 / r: a preference without a scale to tune.

    Args:
      rng: draws targets and neighbours.
      parents: `int32[P, L]`.
      num_choices: N.
      costs: MACs and parameters `int64[M, 2]` of `int32[M, L]`.
      band: lowest and highest MACs that are feasible; targets are uniform between them.
      params_max: above it, the excess counts as distance too; 0 sets no bound.
    """
    count, depth = parents.shape
    options = neighbours(parents, num_choices)  # [P, O, L]
    counts = costs(options.reshape(-1, depth)).reshape(*options.shape[:2], 2)
    macs, params = counts[..., 0], counts[..., 1]  # [P, O]
    target = rng.uniform(*band, size=(count, 1))
    distance = np.abs(macs - target) / target  # [P, O]
    if params_max:
        distance += np.maximum(params - params_max, 0) / params_max
    ranks = distance.argsort(axis=1, kind="stable").argsort(axis=1, kind="stable")
    log_odds = -np.log(ranks + 1)
    chosen = (log_odds + rng.gumbel(size=ranks.shape)).argmax(axis=1)
    return options[np.arange(count), chosen]
