"""Weighted, constrained NSGA-II with hierarchical mutation (SCARLET supplementary, algorithm 1)."""

from scarlet_jax.search.cache import Evaluate, remember
from scarlet_jax.search.engine import Batch, ask, init, is_finished, load, run, tell
from scarlet_jax.search.objective import Objective, built_in
from scarlet_jax.search.problem import Problem, make_problem
from scarlet_jax.search.result import (
    front,
    front_indices,
    hypervolume,
    hypervolume_curve,
    pick_indices,
    say_picks,
)
from scarlet_jax.search.state import FILE_NAME, ORIGINS, State

__all__ = [
    "FILE_NAME",
    "ORIGINS",
    "Batch",
    "Evaluate",
    "Objective",
    "Problem",
    "State",
    "ask",
    "built_in",
    "front",
    "front_indices",
    "hypervolume",
    "hypervolume_curve",
    "init",
    "is_finished",
    "load",
    "make_problem",
    "pick_indices",
    "remember",
    "run",
    "say_picks",
    "tell",
]
