"""95% intervals of means over seeds."""

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

Interval = tuple[float, float]  # a mean, and half of its interval's width, which may be NaN


def interval(values: ArrayLike) -> Interval:
    """Of the mean, by Student's t; no width for one seed."""
    values = np.asarray(values, np.float64)
    if len(values) < 2:
        return float(values.mean()), float("nan")
    error = values.std(ddof=1) / len(values) ** 0.5
    return float(values.mean()), float(error * stats.t.ppf(0.975, len(values) - 1))


def difference(values: ArrayLike, others: ArrayLike) -> Interval:
    """Of the difference of two means whose seeds are not paired, by Welch's t; no width for one."""
    # Not scipy.stats.ttest_ind: of samples that do not spread, it warns and knows no interval.
    values, others = np.asarray(values, np.float64), np.asarray(others, np.float64)
    if min(len(values), len(others)) < 2:
        return float(values.mean() - others.mean()), float("nan")
    means, squares, counts = np.array(  # of each: the mean, its squared error, the seeds
        [
            (np.mean(sample), np.var(sample, ddof=1) / len(sample), len(sample))
            for sample in (values, others)
        ]
    ).T
    width, square = 0.0, squares.sum()
    if square:
        freedom = square**2 / (squares**2 / (counts - 1)).sum()
        width = float(square**0.5 * stats.t.ppf(0.975, freedom))
    return float(means[0] - means[1]), width


def with_width(found: Interval, digits: int = 3, sign: str = "") -> str:
    """An interval as text; one seed has a mean alone."""
    mean, width = found
    text = f"{mean:{sign}.{digits}f}"
    return text if np.isnan(width) else f"{text} ± {width:.{digits}f}"
