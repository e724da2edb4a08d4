"""What a search finds by a score of the networks, and what the published table has of it."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.nas_bench_macro.search import MEASURES, reached
from benchmarks.nas_bench_macro.table import SIZE, Table
from scarlet_jax import cost, search
from scarlet_jax.configs import nas_bench_macro
from scarlet_jax.search import Objective

Rows = NDArray[np.int64]  # of the table


class Searched(NamedTuple):
    picks: Rows
    front: Rows  # each once, however many of its encodings are on it
    evaluated: Rows


def searched(table: Table, scores: NDArray[np.float64], seed: int) -> Searched:
    """A search with the settings of every space.

    Args:
      table: for its space, and which encodings are one network.
      scores: of all networks, `float64[networks]`.
      seed: of the search.
    """
    space = table.space
    objectives = (
        Objective("accuracy", "max", weight=0.5),
        Objective("macs", "min", weight=0.5, compute=cost.tables(space, SIZE).macs),
    )
    section = nas_bench_macro.get_config().search
    problem = search.make_problem(space.allowed, objectives, section)
    state = search.init(problem, seed)
    while not search.is_finished(problem, state):
        batch = search.ask(problem, state)
        state = search.tell(problem, state, batch, scores[table.index(batch.architectures)])
    rows = table.index(state.architectures)
    picks, front = search.pick_indices(problem, state), search.front_indices(problem, state)
    return Searched(rows[picks], np.unique(rows[front]), np.unique(rows))


def found(table: Table, scores: NDArray[np.float64], seed: int) -> dict[str, Any]:
    """What a search picks, and what its front has by the published accuracies."""
    own = searched(table, scores, seed)
    front = own.front[np.argsort(table.macs[own.front])]
    columns = table.macs[front], scores[front].round(4), table.accuracy[front].round(3)
    return {
        "evaluated": len(own.evaluated),
        "picks": table.networks[own.picks].tolist(),
        "front": np.stack(columns, axis=1).tolist(),
        "reached": dict(zip(MEASURES, reached(table, front).round(5).tolist(), strict=True)),
    }
