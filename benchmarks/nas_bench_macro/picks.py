"""What a search by a supernet's scores picks, and what the published table has of it."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.nas_bench_macro.search import MEASURES, reached
from benchmarks.nas_bench_macro.table import SIZE, Table
from configs import nas_bench_macro
from scarlet_jax import cost, search
from scarlet_jax.search import Objective

EQUAL = 0.05  # ours: networks within so large a share of a pick's MACs are its equals


def searched(
    table: Table, scores: NDArray[np.float64], seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Picks and front of a search with the settings of every space, as rows of the table.

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
    problem = search.make_problem(space.depth, space.num_choices, objectives, section)
    state = search.init(problem, seed)
    while not search.is_finished(problem, state):
        batch = search.ask(problem, state)
        state = search.tell(problem, state, batch, scores[table.index(batch.architectures)])
    picks, front = search.pick_indices(problem, state), search.front_indices(problem, state)
    return table.index(state.architectures[picks]), table.index(state.architectures[front])


def beside_equals(table: Table, row: int) -> dict[str, Any]:
    """A network's published accuracy, and that of all networks of about its MACs."""
    near = table.accuracy[equals(table, row)]
    return {
        "network": "".join(map(str, table.networks[row].tolist())),
        "macs": int(table.macs[row]),
        "accuracy": float(table.accuracy[row]),
        "equals": len(near),
        "mean": float(near.mean()),  # what drawing one of them at random gives
        "best": float(near.max()),
        "beaten": float((near < table.accuracy[row]).sum() / max(len(near) - 1, 1)),
    }


def equals(table: Table, row: int) -> NDArray[np.int64]:
    """Networks of about the MACs of one, itself among them, as rows of the table."""
    return np.flatnonzero(np.abs(table.macs - table.macs[row]) <= EQUAL * table.macs[row])


def found(table: Table, scores: NDArray[np.float64], seed: int) -> dict[str, Any]:
    """Every pick of a search beside its equals, and what its front is by the published values."""
    picks, front = searched(table, scores, seed)
    return {
        "picks": [beside_equals(table, int(row)) for row in picks],
        "front": dict(zip(MEASURES, reached(table, front).tolist(), strict=True)),
    }
