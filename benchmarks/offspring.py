"""The offspring of a real search: what a late generation asks the evaluator for."""

import numpy as np
from numpy.typing import NDArray

from benchmarks.measure import Setup
from scarlet_jax.search import ask, init, is_finished, make_problem, tell
from scarlet_jax.space import Array

GENERATION = 10


def search(setup: Setup, seed: int = 0) -> Array:
    """Searches a synthetic accuracy against the real MACs.

    Every choice of every layer adds a utility, drawn once; the accuracy is their squashed sum.

    Returns:
      The offspring of generation 10, `int32[<= population, L]`.
    """
    space, data = setup.space, setup.config.data
    problem = make_problem(
        space,
        {**setup.config.search.to_dict(), "generations": GENERATION},
        image_size=data.image_size,
        num_classes=setup.num_classes,
        channels=setup.channels,
    )
    utilities = np.random.default_rng(seed).normal(size=(space.depth, space.num_choices))

    def accuracy(architectures: Array) -> NDArray[np.float64]:
        total = utilities[np.arange(space.depth), architectures].sum(axis=1)
        return 1 / (1 + np.exp(-total / np.sqrt(space.depth)))

    state = init(problem, seed)
    while not is_finished(problem, state):
        batch = ask(problem, state)
        state = tell(problem, state, batch, accuracy(batch.architectures))
    return state.architectures[state.born == GENERATION]
