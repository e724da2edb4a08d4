"""The result of a search: its Pareto front, and the K models picked from it."""

from typing import Any

import numpy as np
from absl import logging

from scarlet_jax import space as spaces
from scarlet_jax.search import nsga2
from scarlet_jax.search.problem import Problem
from scarlet_jax.search.state import ORIGINS, State
from scarlet_jax.space import Array


def front_indices(problem: Problem, state: State) -> Array:
    """The non-dominated feasible individuals of the whole history, by ascending MACs.

    The last population is not enough: where a front outgrows n, crowding drops members of it.

    Returns:
      Indices `int32[F]` into the history.
    """
    feasible = np.flatnonzero(state.accuracy >= problem.accuracy_min)
    values = problem.values(state.columns)[feasible]
    front = feasible[nsga2.non_dominated_rank(values) == 0]
    return front[np.lexsort((-state.accuracy[front], state.macs[front]))].astype(np.int32)


def pick_indices(problem: Problem, state: State) -> Array:
    """K models of the front, evenly spaced by MACs (the last line of Algorithm 1).

    Returns:
      Indices `int32[<= picks]` into the history, by ascending MACs; the whole front if it is
      smaller than K.
    """
    front = front_indices(problem, state)
    return front[nsga2.pick_evenly(state.macs[front], problem.picks)]


def front(problem: Problem, state: State) -> dict[str, Any]:
    """The front as JSON values, by ascending MACs, each model marked whether it is picked."""
    picked = set(pick_indices(problem, state).tolist())
    if len(picked) < problem.picks:
        logging.warning(
            "search.picks is %d, but the front has %d: all of it is picked",
            problem.picks,
            len(picked),
        )
    models = [
        {
            "architecture": state.architectures[i].tolist(),
            "blocks": spaces.to_names(problem.space, state.architectures[i]),
            "accuracy": float(state.accuracy[i]),
            "macs": int(state.macs[i]),
            "params": int(state.params[i]),
            "generation": int(state.born[i]),
            "origin": ORIGINS[state.origin[i]],
            "picked": i in picked,
        }
        for i in front_indices(problem, state).tolist()
    ]
    return {
        "space": problem.space.name,
        "image_size": problem.image_size,
        "objectives": list(problem.objectives),
        "weights": list(problem.weights),
        "evaluations": len(state.accuracy),
        "front": models,
    }
