"""How far an order of the networks is the published one."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from benchmarks.nas_bench_macro.table import RUNS, Table

Values = NDArray[np.float64]
CEILING = "one published run by the mean of the others"


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


def baselines(table: Table) -> dict[str, dict[str, float]]:
    """What costs nothing to know, and the best that can be: one published run by the others."""
    found = {
        name: rank(values, table.accuracy)
        for name, values in (
            ("MACs", table.macs),
            ("parameters", table.params),
            ("layers that are no identity", table.depth),
        )
    }
    runs = [
        rank(table.accuracies[:, run], np.delete(table.accuracies, run, axis=1).mean(axis=1))
        for run in range(RUNS)
    ]
    found[CEILING] = Ranking(*np.mean(runs, axis=0))
    return {name: own._asdict() for name, own in found.items()}


def interval(values: ArrayLike) -> tuple[float, float]:
    """Of the mean of several seeds, the half width of its 95% interval by Student's t as well.

    The width is NaN for one seed.
    """
    values = np.asarray(values, np.float64)
    if len(values) < 2:
        return float(values.mean()), float("nan")
    error = values.std(ddof=1) / len(values) ** 0.5
    return float(values.mean()), float(error * stats.t.ppf(0.975, len(values) - 1))


def with_width(mean: float, width: float, digits: int = 3) -> str:
    """An `interval` as text; one seed has a mean alone."""
    text = f"{mean:.{digits}f}"
    return text if np.isnan(width) else f"{text} ± {width:.{digits}f}"
