"""The result of a search: its Pareto front, the K models picked from it, how it got there."""

from typing import Any

import numpy as np
from absl import logging
from numpy.typing import NDArray

from scarlet_jax.search import nsga2
from scarlet_jax.search.problem import Problem
from scarlet_jax.search.state import ORIGINS, State
from scarlet_jax.space import Array


def front_indices(problem: Problem, state: State) -> Array:
    """The non-dominated feasible individuals of the whole history, by what is picked by.

    Of equals in that, the better in the first objective comes first, then in the second, and so on.

    The last population is not enough: where a front outgrows n, crowding drops members of it.

    Returns:
      Indices `int32[F]` into the history.
    """
    front = problem.front(state.values)
    own = problem.to_minimise(state.values[front])
    return front[np.lexsort((*own.T[::-1], _positions(problem, state)[front]))].astype(np.int32)


def pick_indices(problem: Problem, state: State) -> Array:
    """K models of the front, evenly spaced by `pick_by` (the last line of Algorithm 1).

    Of models with equal position, only the first of the front's order can be picked.

    Returns:
      Indices `int32[<= picks]` into the history, in ascending order of position; all of the
      front between the bounds where that is smaller than K.
    """
    between = _between_bounds(problem, state)
    positions = _positions(problem, state)[between]
    first = np.diff(positions, prepend=-np.inf) > 0
    return between[first][nsga2.pick_evenly(positions[first], problem.picks)]


def say_picks(problem: Problem, state: State) -> None:
    """Warns where fewer models than asked for could be picked."""
    picked = pick_indices(problem, state)
    if len(picked) == problem.picks:
        return
    between = _between_bounds(problem, state)
    logging.warning(
        "%d of search.picks = %d models picked: the front has %d architectures, %d of them with "
        "%s from %s to %s, of %d different values",
        len(picked),
        problem.picks,
        len(front_indices(problem, state)),
        len(between),
        problem.pick_by,
        f"{problem.pick_min:,.12g}",
        f"{problem.pick_max:,.12g}",
        len(np.unique(_positions(problem, state)[between])),
    )


def box(problem: Problem, state: State) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Where the hypervolume is measured: ideal and reference of each objective, to minimise.

    What bounds, tables and ranges allow, so that it is the same from the first generation to the
    last, and for searches with the same bounds. Where they leave an end open, the initial
    generation's values close it.
    """
    ends = []
    initial = state.values[(state.born == 0) & problem.feasible(state.values)]
    for column in problem.goals:
        seen = initial[:, column] if len(initial) else np.zeros(1)
        low, high = problem.objectives[column].closed_band(seen)
        ends.append((-high, -low) if problem.objectives[column].goal == "max" else (low, high))
    ideal, reference = np.array(ends).T
    return ideal, reference


def hypervolume(problem: Problem, state: State) -> float:
    """Share of `box` that the feasible history dominates, in [0, 1]."""
    values = problem.to_minimise(state.values[problem.feasible(state.values)])
    return nsga2.hypervolume(values, *box(problem, state))


def hypervolume_curve(problem: Problem, state: State) -> NDArray[np.float64]:
    """The hypervolume after each evaluation, `float64[E]`."""
    ideal, reference = box(problem, state)
    feasible = problem.feasible(state.values)
    values = problem.to_minimise(state.values)
    curve, front = np.zeros(len(values)), values[:0]
    reached = 0.0
    for i, value in enumerate(values):
        # Most evaluations change nothing: only a point that no earlier one covers counts.
        if feasible[i] and not (front <= value).all(axis=1).any():
            front = np.concatenate([front[~(value <= front).all(axis=1)], value[None]])
            reached = nsga2.hypervolume(front, ideal, reference)
        curve[i] = reached
    return curve


def front(problem: Problem, state: State) -> dict[str, Any]:
    """The front as JSON values, in its order, each model marked whether it is picked."""
    picked = set(pick_indices(problem, state).tolist())
    models = [
        {
            "architecture": state.architectures[i].tolist(),
            **dict(zip(problem.names, map(_number, state.values[i]), strict=True)),
            "generation": int(state.born[i]),
            "origin": ORIGINS[state.origin[i]],
            "picked": i in picked,
        }
        for i in front_indices(problem, state).tolist()
    ]
    return {
        "objectives": {
            objective.name: {"goal": objective.goal, "weight": objective.weight}
            | ({"unit": objective.unit} if objective.unit else {})
            for objective in problem.objectives
        },
        "evaluations": state.evaluations,
        "hypervolume": hypervolume(problem, state),
        "front": models,
    }


def _between_bounds(problem: Problem, state: State) -> Array:
    """The front between `pick_min` and `pick_max`, `int32[<= F]`, by position."""
    front = front_indices(problem, state)
    positions = _positions(problem, state)[front]
    return front[(positions >= problem.pick_min) & (positions <= problem.pick_max)]


def _positions(problem: Problem, state: State) -> NDArray[np.float64]:
    return state.values[:, problem.names.index(problem.pick_by)]


def _number(value: float) -> int | float:
    """Counts as integers: they are exact in a float64."""
    return int(value) if float(value).is_integer() and abs(value) > 1 else float(value)
