"""Weighted, constrained NSGA-II with hierarchical mutation (SCARLET supplementary, algorithm 1)."""

from scarlet_jax.search.engine import Batch, ask, init, is_finished, run, tell
from scarlet_jax.search.problem import Problem, make_problem
from scarlet_jax.search.result import front, front_indices, pick_indices
from scarlet_jax.search.state import ORIGINS, State

__all__ = [
    "ORIGINS",
    "Batch",
    "Problem",
    "State",
    "ask",
    "front",
    "front_indices",
    "init",
    "is_finished",
    "make_problem",
    "pick_indices",
    "run",
    "tell",
]
