"""Says why hardly any, or no architecture satisfies the constraints."""

import numpy as np
from numpy.typing import NDArray

from scarlet_jax.search import sampling
from scarlet_jax.search.problem import Problem

RANDOM = 10_000  # ours: architectures that a share is told of


def of_random(problem: Problem, seed: int, proposed: NDArray[np.float64]) -> str:
    """What keeps random architectures out, by the computed objectives.

    Values `float64[P, objectives]` of what the search has proposed serve to find the nearest
    ones.
    """
    drawn = sampling.uniform(problem, np.random.default_rng(seed), RANDOM)
    values = problem.computed_values(drawn)
    return _acceptance(problem, values, "random", True, np.concatenate([values, proposed]))


def of_evaluated(problem: Problem, values: NDArray[np.float64]) -> str:
    """What keeps out those that have been evaluated, `float64[E, objectives]`."""
    return _acceptance(problem, values, "evaluated", False, values)


def _acceptance(
    problem: Problem,
    values: NDArray[np.float64],
    kind: str,
    computed_only: bool,
    seen: NDArray[np.float64],
) -> str:
    """How many of `values` satisfy the constraints, and what keeps out the rest.

    The limiting bound is the one that fewest satisfy. For each that is violated: by how many it
    is satisfied, and the nearest value to it among those of `seen` that satisfy all the others,
    or among all if there are none such.
    """
    inside = problem.within_bounds(values, computed_only)
    if not computed_only:
        if not problem.scored(values).any():
            return f"none of {len(values):,} {kind} architectures could be scored: all are NaN"
        inside = problem.feasible(values)
    bounds = []
    for column, objective in enumerate(problem.objectives):
        if computed_only and objective.is_evaluated:
            continue
        own = values[:, column]
        for name, bound, met in (
            ("min", objective.low, own >= objective.low),
            ("max", objective.high, own <= objective.high),
        ):
            known = seen[~np.isnan(seen[:, column])]
            if not np.isfinite(bound) or met.all() or not len(known):
                continue
            others = problem.within_bounds(known, computed_only, but=column)
            candidates = known[others if others.any() else slice(None), column]
            nearest = candidates[np.abs(candidates - bound).argmin()]
            texts = objective.text(bound), objective.text(nearest)
            bounds.append((met.mean(), f"{objective.name}.{name}", *texts))
    sentences = [f"{_percent(inside.mean())} of {len(values):,} {kind} architectures are feasible"]
    limits = "the limiting bound is"
    for share, name, limit, closest in sorted(bounds):
        sentences.append(
            f"{limits} search.objectives.{name} = {limit}: {_percent(share)} satisfy it, "
            f"the nearest value is {closest}"
        )
        limits = "then"
    return "; ".join(sentences)


def _percent(share: float) -> str:
    """Three digits, however small."""
    return f"{100 * share:.3g}%"
