"""The tasks of the search benchmark: their fronts are true, and the engine comes near them."""

import moocore
import numpy as np
import pytest
from searches import every_path

from benchmarks import search_peers, search_tasks
from benchmarks.search import BUDGET, least_ratio
from scarlet_jax.path_table import PathTable


@pytest.mark.parametrize("keeps_width", [(False, False, True), (False, False, False)])
def test_the_exact_front_equals_enumeration(keeps_width):
    rng = np.random.default_rng(0)
    alone, joint = rng.normal(size=(4, 3)), rng.normal(size=(3, 3, 3))
    layers = rng.integers(1, 50, size=(4, 3, 5)).astype(float)
    head, allowed = rng.integers(1, 9, size=5).astype(float), np.ones((4, 3), bool)
    allowed[[0, 2, 2], [2, 0, 1]] = False
    table = PathTable(7.0, layers, head, np.array(keeps_width), allowed)
    everything = every_path(allowed)
    layer = np.arange(4)
    utility = alone[layer, everything].sum(axis=1)
    utility += joint[layer[:-1], everything[:, :-1], everything[:, 1:]].sum(axis=1)
    values = np.stack([-utility, table(everything)], axis=1)
    expected = values[moocore.is_nondominated(values)]
    found = search_tasks.exact_front(alone, joint, table)
    for one, other in ((found, expected), (expected, found)):
        for row in one:
            assert np.isclose(other, row).all(axis=1).any()


@pytest.mark.parametrize("name", list(search_tasks.TASKS))
def test_nothing_dominates_a_front_that_is_said_to_be_true(name):
    task = search_tasks.TASKS[name](0)
    assert moocore.is_nondominated(task.front).all()
    drawn = np.random.default_rng(0).integers(
        task.num_choices, size=(5000, task.depth), dtype=np.int32
    )
    values = task.values(drawn)
    assert values.shape == (5000, task.front.shape[1])
    both = np.concatenate([task.front, values])
    assert moocore.is_nondominated(both, keep_weakly=True)[: len(task.front)].all()
    assert 0 <= task.reached(drawn) < 0.7


def test_the_whole_front_is_all_of_the_hypervolume():
    task = search_tasks.zdt1(0)
    optimal = np.zeros((13, 19), np.int32)
    optimal[:, 0] = np.arange(13)
    assert task.reached(optimal) == pytest.approx(1)
    assert task.reached(optimal[::2]) < 1


@pytest.mark.parametrize("peer", list(search_peers.PEERS))
def test_peers_evaluate_distinct_architectures_within_their_budget(peer):
    if peer.startswith("pymoo"):
        pytest.importorskip("pymoo")
    task = search_tasks.dtlz2(0)
    evaluated = search_peers.PEERS[peer](task, 3, 210)
    assert evaluated.dtype == np.int32
    assert evaluated.shape == (210, task.depth)
    assert len(np.unique(evaluated, axis=0)) == 210
    assert ((evaluated >= 0) & (evaluated < task.num_choices)).all()


def test_the_engine_reaches_99_percent_of_the_true_hypervolume():
    reached = []
    for seed in range(3):
        task = search_tasks.additive(seed)
        reached.append(task.reached(search_peers.engine(task, seed, BUDGET)))
    assert np.median(reached) > 0.99


def test_the_engine_keeps_to_the_bounds_of_a_task():
    task = search_tasks.bounded_additive(0)
    evaluated = search_peers.engine(task, 0, 140)
    for table, low, high in task.bounds:
        costs = table(evaluated)
        assert (costs >= low).all()
        assert (costs <= high).all()


def test_the_least_ratio_is_of_medians_and_skips_what_nobody_has_reached():
    ours = np.array([[0.0, 0.5, 0.9], [0.0, 0.7, 0.9]])
    other = np.array([[0.0, 0.4, 1.0], [0.0, 0.4, 0.8]])
    assert least_ratio(ours, other) == pytest.approx(1.0)
    assert least_ratio(other, ours) == pytest.approx(0.4 / 0.6)
