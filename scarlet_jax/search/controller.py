"""The controllers of reinforced mutation: what each choice of each layer has been worth.

Table 1 of the SCARLET supplementary gives the odds of a reinforced mutation but not its
definition. Ours: a linear bandit. An objective is fitted by one value for each choice in each
layer (Bayesian linear regression on what has been evaluated), and a child takes the choices that
are best by a draw from the fit's posterior (Thompson sampling): what is known well is
exploited, what has hardly been tried is explored, without a temperature to tune. Objectives that
have a cost table need no fit: their part is exact.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from scarlet_jax.path_table import PathTable, best_paths
from scarlet_jax.search.problem import Problem
from scarlet_jax.space import Array

Values = NDArray[np.float64]

# Ours: how prices are found that bring a child within bounds.
STEPS = 10
FIRST_STEP = 0.5  # standard deviations of the evaluated objective for one of the cost


@dataclass(frozen=True)
class Controller:
    """Posteriors over the values of L layers' N choices for the K objectives with a goal.

    All are in standard deviations of what has been evaluated, more being better.
    """

    mean: NDArray[np.float64]  # [K, L, N]; 0 for an objective with a table
    deviation: NDArray[np.float64]  # [K], of what the fit leaves unexplained; 0 with a table
    factor: NDArray[np.float64]  # [L * N, L * N], upper Cholesky factor of the precision
    allowed: NDArray[np.bool_]  # [L, N], which choices each layer may take
    tables: tuple[PathTable, ...]  # T, of all objectives that have one
    prices: NDArray[np.float64]  # [K, T], of a unit of each table's cost
    bounds: NDArray[np.float64]  # [2, T], the least and the most of each cost
    spread: NDArray[np.float64]  # [T], standard deviation of each cost


def learn(problem: Problem, architectures: Array, values: Values) -> Controller:
    """Fits the controllers to `int32[E, L]` with `float64[E, objectives]`.

    The prior is a standard normal value for every choice, and one observation of deviation 1, so
    that a choice never seen and an objective that has been constant stay uncertain. What could
    not be scored is left out.
    """
    finite = np.isfinite(problem.to_minimise(values)).all(axis=1)
    architectures, history = architectures[finite], values[finite]
    values = problem.to_minimise(history)
    count, goals, num_choices = len(values), len(problem.goals), problem.num_choices
    spread = values.std(axis=0) if count else np.ones(goals)
    spread = np.where(spread > 0, spread, 1.0)
    targets = (values.mean(axis=0) - values) / spread if count else values  # [E, K]
    held = np.zeros((count, problem.depth * num_choices))  # one-hot by layer
    held[np.arange(count)[:, None], architectures + num_choices * np.arange(problem.depth)] = 1
    factor = linalg.cholesky(held.T @ held + np.eye(held.shape[1]), lower=False)
    mean = linalg.cho_solve((factor, False), held.T @ targets)  # [L * N, K]
    unexplained = ((targets - held @ mean) ** 2).sum(axis=0)
    deviation = np.sqrt((unexplained + 1) / (count + 1))

    columns = [i for i, o in enumerate(problem.objectives) if o.table is not None]
    tabled = [problem.objectives[i] for i in columns]
    tables = tuple(o.table for o in tabled if o.table is not None)
    prices = np.zeros((goals, len(tables)))
    for row, column in enumerate(problem.goals):
        objective = problem.objectives[column]
        if objective.table is not None:
            mean[:, row], deviation[row] = 0.0, 0.0
            sign = -1.0 if objective.goal == "max" else 1.0
            prices[row, columns.index(column)] = sign / spread[row]
    return Controller(
        mean=mean.T.reshape(goals, problem.depth, num_choices),
        deviation=deviation,
        factor=factor,
        allowed=problem.allowed,
        tables=tables,
        prices=prices,
        bounds=np.array([[o.low, o.high] for o in tabled]).reshape(-1, 2).T,
        spread=np.array([_spread(history[:, i]) for i in columns]),
    )


def decide(
    rng: np.random.Generator,
    controller: Controller,
    shares: NDArray[np.float64],
    parents: Array,
    open_layers: NDArray[np.bool_],
) -> Array:
    """Children `int32[P, L]` that are best by a draw of the values, each for its own mix.

    Args:
      rng: draws from the posteriors.
      controller: of K objectives.
      shares: `float64[P, K]`, what each objective counts for a child.
      parents: `int32[P, L]`.
      open_layers: `bool[P, L]`, which layers are decided; the others stay the parent's.
    """
    count, (_, depth, num_choices) = len(shares), controller.mean.shape
    noise = rng.normal(size=(len(controller.factor), count))
    noise = linalg.solve_triangular(controller.factor, noise, overwrite_b=True).T
    # Independent posteriors of one precision: their mix is drawn in one solve.
    noise *= np.linalg.norm(shares * controller.deviation, axis=1, keepdims=True)
    gains = np.tensordot(shares, controller.mean, axes=1)  # [P, L, N]
    gains += noise.reshape(count, depth, num_choices)
    own = np.arange(num_choices) == parents[..., None]
    eligible = (open_layers[..., None] & controller.allowed) | own
    gains = np.where(eligible, gains, -np.inf)
    return _within_bounds(controller, gains, shares @ controller.prices)


def _within_bounds(controller: Controller, gains: Values, prices: Values) -> Array:
    """The best paths `int32[P, L]`, at prices that bring their costs within bounds, if any do.

    A cost above its bound becomes dearer, one below it cheaper, in steps that halve whenever
    they have gone too far.
    """
    tables, (low, high) = controller.tables, controller.bounds
    paths = best_paths(gains, tables, prices)
    step = np.full(prices.shape, FIRST_STEP)
    before = np.zeros(prices.shape)
    for _ in range(STEPS):
        costs = np.stack([table(paths) for table in tables], axis=1) if tables else prices
        direction = (costs > high).astype(float) - (costs < low)  # [P, T]
        outside = np.flatnonzero(direction.any(axis=1))
        if not len(outside):
            break
        step = np.where(direction * before < 0, step / 2, step)
        before = np.where(direction != 0, direction, before)
        prices = prices + direction * step / controller.spread
        paths[outside] = best_paths(gains[outside], tables, prices[outside])
    return paths


def _spread(costs: NDArray[np.float64]) -> float:
    return float(costs.std()) or 1.0 if len(costs) else 1.0
