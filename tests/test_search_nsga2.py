"""Sorting, crowding and picking against brute-force references, pymoo and hand arithmetic."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from scarlet_jax.search import nsga2

# Few distinct numbers, so that ties, duplicates and constant columns are common.
numbers = st.one_of(
    st.integers(0, 3).map(float), st.floats(-1e3, 1e3, width=32), st.just(float("nan"))
)
populations = hnp.arrays(
    np.float64, st.tuples(st.integers(1, 14), st.integers(1, 4)), elements=numbers
)


def dominates(a, b):
    a = [np.inf if np.isnan(x) else x for x in a]
    b = [np.inf if np.isnan(x) else x for x in b]
    return all(x <= y for x, y in zip(a, b, strict=True)) and any(
        x < y for x, y in zip(a, b, strict=True)
    )


def reference_ranks(values):
    """Peels off the non-dominated individuals again and again."""
    ranks = {}
    left = set(range(len(values)))
    while left:
        front = {i for i in left if not any(dominates(values[j], values[i]) for j in left)}
        ranks |= dict.fromkeys(front, max(ranks.values(), default=-1) + 1)
        left -= front
    return [ranks[i] for i in range(len(values))]


def reference_crowding(values, weights):
    """Deb's loops: for each objective, sort, and add every individual's neighbours' gap."""
    total = [0.0] * len(values)
    for k, weight in enumerate(weights):
        order = sorted(range(len(values)), key=lambda i: values[i][k])
        low, high = values[order[0]][k], values[order[-1]][k]
        if low == high:
            continue
        for position, i in enumerate(order):
            if position in (0, len(order) - 1):
                total[i] = float("inf")
            else:
                gap = values[order[position + 1]][k] - values[order[position - 1]][k]
                total[i] += weight * gap / (high - low)
    return total


def one_front(values, weights):
    """The crowding distance where all are of one front."""
    return nsga2.crowding_distance(values, np.zeros(len(values), np.int64), weights)


@given(populations)
def test_ranks_equal_the_brute_force(values):
    assert nsga2.non_dominated_rank(values).tolist() == reference_ranks(values)


@given(populations, st.randoms(use_true_random=False))
def test_ranks_follow_a_permutation(values, random):
    order = list(range(len(values)))
    random.shuffle(order)
    ranks = nsga2.non_dominated_rank(values)
    assert nsga2.non_dominated_rank(values[order]).tolist() == ranks[order].tolist()


def test_ranks_by_hand():
    values = np.array([[1, 4], [2, 2], [4, 1], [2, 4], [4, 4], [2, 2], [np.nan, 0], [np.nan] * 2])
    assert nsga2.non_dominated_rank(values).tolist() == [0, 0, 0, 1, 2, 0, 0, 3]


@given(populations)
def test_crowding_equals_the_loops(values):
    values = np.concatenate([np.nan_to_num(values)] * 3)[: max(3, len(values))]
    weights = np.arange(1, values.shape[1] + 1)
    expected = reference_crowding(values.tolist(), weights / weights.sum())
    np.testing.assert_allclose(one_front(values, weights), expected, rtol=1e-9)


def test_crowding_by_hand():
    values = np.array([[0, 10], [1, 6], [4, 4], [10, 0]])
    # Inner gaps are (4 + 6) and (9 + 6) tenths with equal weights, each halved.
    expected = [np.inf, 0.5, 0.75, np.inf]
    np.testing.assert_allclose(one_front(values, (1, 1)), expected)
    # Only the first objective counts: gaps of 4 and 9 tenths.
    expected = [np.inf, 0.4, 0.9, np.inf]
    np.testing.assert_allclose(one_front(values, (3, 0)), expected)
    # 3 to 1: (3 * 4 + 6) / 40 and (3 * 9 + 6) / 40.
    expected = [np.inf, 0.45, 0.825, np.inf]
    np.testing.assert_allclose(one_front(values, (0.75, 0.25)), expected)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.zeros((0, 2)), []),
        ([[1.0, 2.0]], [np.inf]),
        ([[1.0, 2.0], [2.0, 1.0]], [np.inf, np.inf]),
        ([[1.0, 2.0]] * 3, [0, 0, 0]),
        ([[5.0, 0.0], [5.0, 1.0], [5.0, 4.0]], [np.inf, 0.5, np.inf]),
        ([[np.nan, np.nan]] * 3, [0, 0, 0]),
        # The NaN is as bad as the worst: it neither stretches nor hides the range.
        ([[0.0, 3.0], [1.0, 2.0], [2.0, 1.0], [np.nan, 0.0]], [np.inf, 5 / 6, 7 / 12, np.inf]),
    ],
)
def test_crowding_edge_cases(values, expected):
    np.testing.assert_allclose(one_front(np.array(values), (1, 1)), expected)


def pymoo_cases():
    rng = np.random.default_rng(0)
    for trial in range(60):
        shape = rng.integers(1, 60), rng.integers(1, 5)
        yield rng.random(shape) if trial % 2 else rng.integers(0, 4, shape).astype(float)
    yield np.ones((1, 3))
    yield np.ones((9, 2))  # duplicates alone
    yield np.arange(20.0)[:, None] + np.zeros(3)  # each dominates the next
    yield np.stack([np.full(30, 5.0), rng.random(30)], axis=1)  # a constant objective
    yield np.where(rng.random((40, 3)) < 0.2, np.nan, rng.random((40, 3)))


@pytest.mark.parametrize("values", list(pymoo_cases()))
def test_ranks_and_crowding_equal_pymoo(values):
    """Its fast sorting is the library's that we use; its loops in Python are independent of it."""
    loops = pytest.importorskip("pymoo.util.nds.fast_non_dominated_sort")
    metrics = pytest.importorskip("pymoo.operators.survival.rank_and_crowding.metrics")
    ranks, crowding = nsga2.rank_and_crowding(values, np.ones(values.shape[1]))
    worst = np.where(np.isnan(values), np.inf, values)  # pymoo lets a NaN dominate
    fronts = loops.fast_non_dominated_sort(worst)
    assert [np.flatnonzero(ranks == rank).tolist() for rank in range(len(fronts))] == [
        sorted(front) for front in fronts
    ]
    for rank in np.unique(ranks):
        front = values[ranks == rank]
        if np.isfinite(front).all():
            expected = metrics.get_crowding_function("cd").do(front)
            np.testing.assert_allclose(crowding[ranks == rank], expected)


@given(populations)
def test_non_dominated_are_those_of_rank_0(values):
    ranks = nsga2.non_dominated_rank(values)
    assert nsga2.is_non_dominated(values).tolist() == (ranks == 0).tolist()


@given(populations)
def test_crowding_of_all_fronts_is_that_of_each(values):
    weights = np.arange(1, values.shape[1] + 1)
    ranks, crowding = nsga2.rank_and_crowding(values, weights)
    for rank in np.unique(ranks):
        np.testing.assert_allclose(
            crowding[ranks == rank], one_front(values[ranks == rank], weights)
        )


@given(populations, st.integers(1, 16))
def test_survivors_are_of_the_best_fronts(values, count):
    weights = np.ones(values.shape[1])
    best = nsga2.survive(values, weights, count)
    ranks, crowding = nsga2.rank_and_crowding(values, weights)
    assert len(set(best.tolist())) == min(count, len(values))
    rejected = np.setdiff1d(np.arange(len(values)), best)
    for winner, loser in itertools.product(best, rejected):
        assert (ranks[winner], -crowding[winner]) <= (ranks[loser], -crowding[loser])


def test_survival_keeps_the_largest_crowding_distance():
    values = np.array([[0.0, 10.0], [1.0, 9.0], [1.1, 8.9], [1.2, 8.8], [5.0, 5.0], [10.0, 0.0]])
    assert set(nsga2.survive(values, (1, 1), 3).tolist()) == {0, 4, 5}


def test_weights_move_what_survives():
    # One half is spread in the first objective, the other half in the second.
    values = np.array([[0.0, 100], [1, 70], [2, 40], [3, 3], [40, 2], [70, 1], [100, 0]])
    by_first = nsga2.survive(values, (1, 0.01), 4)
    by_second = nsga2.survive(values, (0.01, 1), 4)
    assert set(by_first.tolist()) == {0, 6, 4, 5}
    assert set(by_second.tolist()) == {0, 6, 1, 2}


def test_tournament_prefers_rank_then_crowding():
    values = np.array([[0.0, 10.0], [4.0, 4.5], [4.5, 4.0], [10.0, 0.0], [11.0, 11.0]])
    winners = nsga2.tournament(np.random.default_rng(0), values, (1, 1), 50_000)
    share = np.bincount(winners, minlength=5) / len(winners)
    # Drawn with replacement, 25 pairs. The worst wins only against itself; 1 and 2 are equals
    # that win against themselves, 4, and half of their meetings; 0 and 3 share the rest.
    np.testing.assert_allclose(share, np.array([8, 4, 4, 8, 1]) / 25, atol=0.01)


def test_picks_equal_the_brute_force():
    rng = np.random.default_rng(0)
    for _ in range(60):
        positions = rng.integers(0, 30, rng.integers(1, 9)).astype(float)
        count = int(rng.integers(1, 6))
        picks = nsga2.pick_evenly(positions, count)
        assert len(set(picks.tolist())) == min(count, len(positions))
        assert (np.diff(positions[picks]) >= 0).all()
        if len(positions) <= count:
            continue
        low, high = positions.min(), positions.max()
        targets = np.linspace(low, high, count) if count > 1 else [(low + high) / 2]
        least = min(
            np.abs(np.sort(positions[list(chosen)]) - targets).sum()
            for chosen in itertools.combinations(range(len(positions)), count)
        )
        assert np.isclose(np.abs(positions[picks] - targets).sum(), least)


def test_picks_span_the_front_and_stay_distinct_in_a_cluster():
    positions = np.array([100.0, 0.0, 1.0, 2.0, 3.0])
    assert positions[nsga2.pick_evenly(positions, 4)].tolist() == [0, 2, 3, 100]
    assert nsga2.pick_evenly(np.zeros(0), 3).tolist() == []


def test_hypervolume_by_hand():
    # The box is 4 wide and 10 high: steps of 3 x 5, 2 x 2 more, and 1 x 1 more of 40.
    values = np.array([[1.0, 5.0], [2.0, 3.0], [3.0, 2.0], [2.0, 4.0]])
    assert np.isclose(nsga2.hypervolume(values, (0, 0), (4, 10)), (3 * 5 + 2 * 2 + 1 * 1) / 40)
    beyond = np.array([[4.0, 0.0], [0.0, 10.0], [np.nan, 1.0], [-1.0, -5.0]])
    assert nsga2.hypervolume(beyond[:3], (0, 0), (4, 10)) == 0
    assert np.isclose(nsga2.hypervolume(beyond, (0, 0), (4, 10)), 1)  # better than the ideal
    assert nsga2.hypervolume(values[:0], (0, 0), (4, 10)) == 0
    # An objective whose box has no extent says nothing.
    flat = np.array([[1.0, 7.0], [3.0, 7.0]])
    assert np.isclose(nsga2.hypervolume(flat, (0, 7), (4, 7)), 3 / 4)
