"""Rank correlations and the errors of scores, against textbook formulas and brute force."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import stats

from scarlet_jax import ranking


def test_kendall_tau_by_hand():
    # 5 pairs of (1, 2, 3, 4) against (1, 3, 2, 4) agree, and 1 does not: (5 - 1) / 6.
    found = ranking.kendall_tau({"a": [1, 2, 3, 4], "b": [4, 3, 2, 1]}, [0.1, 0.3, 0.2, 0.4])
    assert found["a"].tau.value == pytest.approx(4 / 6)
    assert found["b"].tau.value == pytest.approx(-4 / 6)
    assert found["b"].behind.value == pytest.approx(8 / 6)
    assert np.isnan(found["a"].behind).all()
    assert np.isnan(found["a"].tau[1:]).all()  # four networks are too few for an interval


def test_the_interval_is_as_wide_as_theory_has_it():
    """Of independent values, tau's variance is 2 (2n + 5) / (9 n (n - 1)) (Kendall, 1938)."""
    size, rng = 200, np.random.default_rng(1)
    one, other = rng.normal(size=(2, size))
    found = ranking.kendall_tau({"chance": one}, other)["chance"].tau
    deviation = (2 * (2 * size + 5) / (9 * size * (size - 1))) ** 0.5
    assert found.value == pytest.approx(stats.kendalltau(one, other).statistic)
    assert found.low < 0 < found.high
    assert found.high - found.low == pytest.approx(2 * 1.96 * deviation, rel=0.1)


def test_intervals_hold_the_truth_as_often_as_they_say(monkeypatch):
    """Tau of normal values that correlate by r is 2 / pi * arcsin(r) (Kendall, 1949)."""
    monkeypatch.setattr(ranking, "RESAMPLES", 200)
    rng, held = np.random.default_rng(0), 0
    for _ in range(60):
        one, noise = rng.normal(size=(2, ranking.FEWEST))
        found = ranking.kendall_tau({"score": one}, 0.6 * one + 0.8 * noise)["score"].tau
        held += found.low <= 2 / np.pi * np.arcsin(0.6) <= found.high
    assert held >= 0.85 * 60


def test_a_lead_is_of_the_same_networks():
    """Of two orders that differ in nothing, it is 0 whatever networks are drawn."""
    rng = np.random.default_rng(0)
    score, truth = rng.normal(size=(2, 20))
    found = ranking.kendall_tau({"score": score, "same": 2 * score, "other": -score}, truth)
    assert found["same"].behind == (0, 0, 0)
    assert found["other"].behind == pytest.approx([2 * value for value in found["score"].tau])


@pytest.mark.parametrize("scores", [[0.5] * 9, [0.5]])
def test_tau_is_not_defined_where_nothing_is_ordered(scores):
    found = ranking.kendall_tau({"a": scores}, np.linspace(0, 1, len(scores)))["a"]
    assert np.isnan(found.tau).all()


@given(arrays.arrays(np.bool_, st.tuples(st.integers(2, 4), st.integers(1, 20))))
def test_the_error_of_a_difference_is_that_of_a_mean_of_paired_differences(right):
    errors = ranking.difference_errors(right)
    for a, one in enumerate(right):
        for b, other in enumerate(right):
            paired = one.astype(float) - other
            assert errors[a, b] == pytest.approx(paired.std() / len(paired) ** 0.5, abs=1e-7)


def test_precision_by_hand():
    one = np.arange(100) < 50  # half right: an error of 0.5 / 10
    other = np.arange(100) < 90  # 0.3 / 10; 40 images apart, by (0.4 - 0.4^2)^0.5 / 10
    found = ranking.precision(np.array([[one, other]]))
    assert found.by_images == pytest.approx((0.05 + 0.03) / 2)
    assert found.by_calibration == 0
    assert found.of_difference == pytest.approx(0.24**0.5 / 10)
    assert found.clear_pairs == 1
    # Another calibration, by which the first gets 54 right: scores differ by 0.40 and by 0.36.
    again = ranking.precision(np.array([[one, other], [np.arange(100) < 54, other]]))
    spread = 0.04 / 2**0.5
    assert again.by_images == found.by_images
    assert again.by_calibration == pytest.approx(spread / 2**0.5)
    assert again.of_difference == pytest.approx((found.of_difference**2 + spread**2) ** 0.5)


@settings(max_examples=20)
@given(st.integers(0, 100))
def test_two_equal_networks_are_never_told_apart(seed):
    right = np.random.default_rng(seed).random((1, 1, 50)) < 0.7
    found = ranking.precision(np.repeat(right, 2, axis=1))
    assert (found.of_difference, found.clear_pairs) == (0, 0)
