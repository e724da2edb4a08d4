"""How far an order of networks by their scores can be trusted."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

Values = NDArray[np.float64]

# Ours.
RESAMPLES = 2000  # of the networks, for an interval
FEWEST = 8  # networks: of fewer, intervals hold the truth too seldom
LEVEL = 95.0  # percent of what resamples give lie in an interval
CLEAR = 2.0  # so many standard errors apart, the order of two networks counts as known


class Interval(NamedTuple):
    """An estimate, and what 95% of the resamples lie between; NaN where that is not defined."""

    value: float
    low: float
    high: float


class Order(NamedTuple):
    """How well something orders networks."""

    tau: Interval  # Kendall's tau-b with their accuracies
    behind: Interval  # how much greater the first order's tau is; NaN of the first


def kendall_tau(orders: Mapping[str, ArrayLike], accuracies: ArrayLike) -> dict[str, Order]:
    """Kendall's tau-b of each order of N networks with their accuracies.

    Intervals are percentiles of bootstrap resamples of the networks (Efron and Tibshirani, 1993,
    chapter 13), the same for all orders; there are none of fewer than `FEWEST` networks.

    Args:
      orders: by name, what the networks are ordered by, `[N]` each.
      accuracies: of the trained networks, `[N]`.
    """
    truth = np.asarray(accuracies, np.float64)
    every = {name: np.asarray(order, np.float64) for name, order in orders.items()}
    rows = np.random.default_rng(0).integers(len(truth), size=(RESAMPLES, len(truth)))
    if len(truth) < FEWEST:
        rows = rows[:0]
    taus = {name: tau(order, truth) for name, order in every.items()}
    resampled = {
        name: np.array([tau(order[row], truth[row]) for row in rows])
        for name, order in every.items()
    }
    first = next(iter(orders))
    found = {}
    for name in orders:
        lead, leads = taus[first] - taus[name], resampled[first] - resampled[name]
        behind = Interval(lead, *_middle(leads)) if name != first else Interval(*[np.nan] * 3)
        found[name] = Order(Interval(taus[name], *_middle(resampled[name])), behind)
    return found


def difference_errors(right: NDArray[np.bool_]) -> Values:
    """Standard errors of the differences of P accuracies on the same images, `float64[P, P]`.

    Networks agree on most images, so that a difference is known better than the accuracies.

    Args:
      right: which images each network gets right, `bool[P, images]`.
    """
    hits = right.astype(np.float64)
    both = hits @ hits.T / hits.shape[1]
    accuracy = hits.mean(axis=1)
    square = accuracy[:, None] + accuracy - 2 * both  # of the difference on an image
    variance = square - (accuracy[:, None] - accuracy) ** 2
    errors: Values = np.sqrt(variance.clip(0) / hits.shape[1])
    return errors


class Precision(NamedTuple):
    """How well P scores are known: standard errors, typical of the networks or of pairs of them."""

    by_images: float  # of a score, had other images been drawn
    by_calibration: float  # of a score, had statistics been recalibrated on other images
    of_difference: float  # of two scores on the same images, by both
    clear_pairs: float  # share of the pairs that are more than `CLEAR` errors apart


def precision(right: NDArray[np.bool_]) -> Precision:
    """What the scores' errors are.

    Args:
      right: which images each network gets right, `bool[R, P, images]`, P being 2 or more, with
        statistics from R different calibrations; the first is what scores are.
    """
    scores = right.mean(axis=2)  # [R, P]
    repeats, networks = scores.shape
    by_images = np.sqrt(scores[0] * (1 - scores[0]) / right.shape[2])
    gaps = scores[:, :, None] - scores[:, None]  # [R, P, P]
    spread = scores.var(axis=0, ddof=1) if repeats > 1 else np.zeros(networks)
    gap_spread = gaps.var(axis=0, ddof=1) if repeats > 1 else np.zeros((networks, networks))
    errors = np.sqrt(difference_errors(right[0]) ** 2 + gap_spread)
    pairs = np.triu_indices(networks, 1)
    return Precision(
        by_images=float(by_images.mean()),
        by_calibration=float(np.sqrt(spread.mean())),
        of_difference=float(errors[pairs].mean()),
        clear_pairs=float((np.abs(gaps[0]) > CLEAR * errors)[pairs].mean()),
    )


def tau(one: ArrayLike, other: ArrayLike) -> float:
    """Kendall's tau-b; NaN where one of the two is constant, or has fewer than two values."""
    return float(stats.kendalltau(one, other).statistic) if np.size(one) > 1 else float("nan")


def _middle(values: Values) -> tuple[float, float]:
    known = values[~np.isnan(values)]
    if not len(known):
        return float("nan"), float("nan")
    low, high = np.percentile(known, (50 - LEVEL / 2, 50 + LEVEL / 2))
    return float(low), float(high)
