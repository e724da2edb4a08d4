"""How far an order of the networks is the published one."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from benchmarks.nas_bench_macro.table import RUNS, Table

Values = NDArray[np.float64]
DEPTH = "layers that are no identity"
SUM = "sum of choices"
PUBLISHED = "one published run, by the mean of the others"


class Ranking(NamedTuple):
    """Rank correlations with the published accuracy, of all networks and of its better half."""

    tau: float  # Kendall's tau-b
    spearman: float
    tau_top: float
    spearman_top: float


def rank(scores: ArrayLike, accuracy: Values) -> Ranking:
    """Of `scores [P]` with `accuracy float64[P]`."""
    scores = np.asarray(scores, np.float64)
    top = accuracy >= np.median(accuracy)
    found = [
        float(test(scores[own], accuracy[own]).statistic)
        for own in (np.ones(len(scores), bool), top)
        for test in (stats.kendalltau, stats.spearmanr)
    ]
    return Ranking(*found)


def known(table: Table) -> dict[str, NDArray[np.int64]]:
    """What costs nothing to know of every network, and orders them."""
    return {
        "MACs": table.macs,
        "parameters": table.params,
        DEPTH: table.depth,
        SUM: table.networks.sum(axis=1),
    }


def baselines(table: Table, rows: NDArray[np.int64]) -> dict[str, dict[str, float]]:
    """Of what is `known`, and of one published run, held against the mean of the others.

    Of these rows of the table.
    """
    accuracy, runs = table.accuracy[rows], table.accuracies[rows]
    found = {name: rank(values[rows], accuracy) for name, values in known(table).items()}
    others = [rank(runs[:, run], np.delete(runs, run, axis=1).mean(axis=1)) for run in range(RUNS)]
    found[PUBLISHED] = Ranking(*np.mean(others, axis=0))
    return {name: own._asdict() for name, own in found.items()}
