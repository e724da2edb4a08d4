"""The offspring of a real search: what a late generation asks the evaluator for."""

import numpy as np
from numpy.typing import NDArray

from benchmarks.measure import Setup
from scarlet_jax.network_size import NetworkSize
from scarlet_jax.run.setup import make_problem
from scarlet_jax.search import ask, init, is_finished, tell
from scarlet_jax.space import Array

GENERATION = 10


def search(setup: Setup, seed: int = 0) -> Array:
    """Searches a synthetic accuracy against the real MACs.

    Every choice of every layer adds a utility, drawn once; the accuracy is their squashed sum.

    Returns:
      The offspring of generation 10, `int32[<= population, L]`.
    """
    space, config = setup.space, setup.config.copy_and_resolve_references()
    config.search.generations = GENERATION
    size = NetworkSize(config.data.image_size, setup.num_classes, setup.channels)
    problem = make_problem(config, space, size)
    utilities = np.random.default_rng(seed).normal(size=(space.depth, space.num_choices))

    def accuracy(architectures: Array) -> NDArray[np.float64]:
        total = utilities[np.arange(space.depth), architectures].sum(axis=1)
        return 1 / (1 + np.exp(-total / np.sqrt(space.depth)))

    state = init(problem, seed)
    while not is_finished(problem, state):
        batch = ask(problem, state)
        state = tell(problem, state, batch, accuracy(batch.architectures))
    return state.architectures[state.born == GENERATION]
