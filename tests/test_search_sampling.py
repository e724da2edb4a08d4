"""Initial architectures lie within bounds that hardly any satisfies, and cover them evenly."""

import numpy as np
import pytest
from searches import (
    RESTRICTED,
    SPACE,
    TINY,
    TINY_RESTRICTED,
    Additive,
    column,
    every_path,
    macs,
    make_problem,
    params,
)

from scarlet_jax import search
from scarlet_jax import space as spaces
from scarlet_jax.configs import base
from scarlet_jax.network_size import IMAGENET
from scarlet_jax.search import sampling


def s2_problem(bounds):
    config = base.get_config().search
    config.objectives.macs.max = float("inf")
    for name, changes in bounds.items():
        config.objectives[name].update(changes)
    objectives = search.built_in(spaces.S2, config.objectives, IMAGENET)
    return search.make_problem(spaces.S2.allowed, objectives, config)


def accepted(problem, count=400):
    """Draws within the bounds, as values of the objectives, and their share."""
    drawn = sampling.sampler(problem)(np.random.default_rng(1), count)
    assert drawn.dtype == np.int32
    values = problem.computed_values(drawn)
    inside = problem.within_bounds(values, computed_only=True)
    return values[inside], inside.mean()


# Of 2 million random architectures of S2, 1 in 100,000 has at most 184 million MACs, as many have
# at least 503.4, and 2 in 1,000,000 lie between 260.0 and 260.007 million.
@pytest.mark.parametrize(
    ("least", "most"), [(0, 184e6), (503.4e6, 600e6), (260.0e6, 260.007e6), (100e6, 500e6)]
)
def test_rare_macs_are_drawn_and_covered_evenly(least, most):
    problem = s2_problem({"macs": {"min": float(least), "max": most}})
    values, share = accepted(problem)
    assert share > (0.3 if most - least > 1e6 else 0.05)
    low, high = problem.objectives[1].band()
    thirds = np.histogram(values[:, 1], bins=3, range=(low, high))[0] / len(values)
    assert (thirds > 0.15).all(), thirds


def test_bounds_on_two_costs_that_pull_apart():
    """Few parameters with many MACs: 1 in 100,000 of 4 million random architectures has both."""
    bounds = {"macs": {"min": 350e6, "max": 500e6}, "params": {"max": 3e6}}
    problem = s2_problem(bounds)
    values, share = accepted(problem)
    assert share > 0.1
    assert (values[:, 1] >= 350e6).all()
    assert (values[:, 2] <= 3e6).all()


def test_a_search_starts_with_a_full_population_however_rare():
    problem = s2_problem({"macs": {"max": 184e6}})
    batch = search.ask(problem, search.init(problem, 0))
    assert len(np.unique(batch.architectures, axis=0)) == 140
    assert batch.proposed < 1000


@pytest.mark.parametrize("space", [TINY, TINY_RESTRICTED])
def test_draws_within_a_bin_are_uniform_over_its_architectures(space):
    number = 1000 * space.num_architectures
    counts = macs(space, every_path(space.allowed))
    drawn = sampling.sampler(make_problem(space))(np.random.default_rng(0), number)
    keys, seen = np.unique(drawn, axis=0, return_counts=True)
    np.testing.assert_array_equal(keys, every_path(space.allowed))
    # Distinct costs share a bin only if they are within a thousandth of the range, or equal.
    _, group, size = np.unique(
        counts // (np.ptp(counts) // 1000), return_inverse=True, return_counts=True
    )
    expected = number / len(size) / size[group]
    assert (abs(seen - expected) < 5 * np.sqrt(expected)).all()


def test_without_a_table_every_choice_of_a_layer_is_as_likely():
    allowed = np.array([[1, 1, 1, 1, 1], [1, 0, 0, 1, 0], [0, 0, 1, 0, 0], [0, 1, 1, 0, 1]], bool)
    objectives = (search.Objective("score", "max", 1.0),)
    problem = search.make_problem(allowed, objectives, {"pick_by": "score"})
    drawn = sampling.sampler(problem)(np.random.default_rng(0), 20_000)
    for layer, own in zip(drawn.T, allowed, strict=True):
        share = np.bincount(layer, minlength=5) / 20_000
        np.testing.assert_allclose(share, own / own.sum(), atol=0.02)
        assert (share[~own] == 0).all()


@pytest.mark.parametrize("space", [SPACE, RESTRICTED], ids=lambda space: space.name)
def test_the_objective_that_is_bounded_is_spread(tmp_path, space):
    bounds = {"params": {"max": 60_000.0}}
    problem = make_problem(space, objectives=bounds, generations=0, population=40)
    state = search.run(problem, Additive(space), seed=0, directory=tmp_path, context={})
    low, high = problem.objectives[2].band()
    halves = np.histogram(column(problem, state, "params"), bins=2, range=(low, high))[0]
    assert halves.min() > 0.25 * halves.sum()
    assert (params(space, state.architectures) <= 60_000).all()
