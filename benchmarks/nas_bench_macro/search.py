"""Searches with the published accuracies in place of a supernet: what each finds, and how soon."""

from collections.abc import Mapping
from functools import partial

import numpy as np
from numpy.typing import NDArray

from benchmarks import search_peers as peers
from benchmarks.nas_bench_macro.table import SIZE, Table
from benchmarks.search_peers import Run
from benchmarks.search_tasks import Task
from scarlet_jax import cost
from scarlet_jax.search import nsga2
from scarlet_jax.space import Array

BUDGETS = (50, 100, 200, 400, 700, 1000)  # distinct networks
MEASURES = ("hypervolume", "above the median", "share of the front", "regret")
ENCODINGS = 1500  # that a search asks for at first, to see 1,000 distinct networks
MOST = 32 * ENCODINGS
# The peers have whichever populations are best on this table at small or at large budgets, of 10,
# 20, 40 and 70 for pymoo, and of 1 and 10 to start a local search from.
SEARCHES: Mapping[str, Run] = {
    "ours": peers.engine,
    **{
        f"ours, {name}": partial(peers.engine, **how)
        for name, how in peers.ABLATIONS.items()
        if how
    },
    "pymoo, choices, 20": partial(peers.pymoo_choices, population=20),
    "pymoo, choices, 70": peers.pymoo_choices,
    "pymoo, integers, 20": partial(peers.pymoo_integers, population=20),
    "pymoo, integers, 70": peers.pymoo_integers,
    "Pareto local search, from 10": peers.local_search,
    "aging evolution, 20, samples of 5": peers.aging_evolution,
    "random": peers.random,
}

Measured = NDArray[np.float64]  # [seeds, budgets, measures]


def make_task(table: Table) -> Task:
    """Test error in percent, which takes an evaluation, against MACs."""

    def score(encodings: Array) -> NDArray[np.float64]:
        return _error(table)[table.index(encodings)][:, None]

    front = np.stack([_error(table), table.macs], axis=1)[table.front]
    macs = cost.tables(table.space, SIZE).macs
    space = table.space
    return Task(space.name, space.depth, space.num_choices, score, (macs,), front)


def measure(table: Table, encodings: Array) -> NDArray[np.float64]:
    """What was found after each of `BUDGETS` distinct networks, `float64[budgets, measures]`.

    Encodings of a network that is known cost nothing. Hypervolumes are shares of the true front's,
    in the box from the front's best values to the worst of all networks; "above the median", to
    the median accuracy. Regret is in percent of accuracy.
    """
    networks = table.index(encodings)
    _, first = np.unique(networks, return_index=True)
    order = networks[np.sort(first)]
    return np.array([reached(table, order[:budget]) for budget in BUDGETS])


def reached(table: Table, networks: NDArray[np.int64]) -> NDArray[np.float64]:
    """The `MEASURES` of some networks, as `measure` has them."""
    error = _error(table)
    values = np.stack([error, table.macs], axis=1)
    ideal = values[table.front].min(axis=0)
    worst = values.max(axis=0)
    median = np.array([np.median(error), worst[1]])

    def of(found: NDArray[np.int64]) -> list[float]:
        own = values[found]
        return [
            nsga2.hypervolume(own, ideal, worst),
            nsga2.hypervolume(own, ideal, median),
            float(table.front[found].sum()),
            float(error[found].min() - error.min()),
        ]

    best = np.array([*of(np.flatnonzero(table.front))[:3], 1.0])
    return np.array(of(networks)) / best


def compare(table: Table, seeds: int) -> dict[str, Measured]:
    """Every search, on the same table with other seeds."""
    task = make_task(table)
    return {
        name: np.array([measure(table, asked(table, task, run, seed)) for seed in range(seeds)])
        for name, run in SEARCHES.items()
    }


def asked(table: Table, task: Task, run: Run, seed: int) -> Array:
    """The encodings that a search asks for until it has seen as many networks as it may."""
    count = ENCODINGS
    while True:
        found = run(task, seed, count)
        if len(np.unique(table.index(found))) >= BUDGETS[-1] or count >= MOST:
            return found
        count *= 2


def _error(table: Table) -> NDArray[np.float64]:
    return 100 - table.accuracy
