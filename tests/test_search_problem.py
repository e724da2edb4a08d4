"""Settings, objectives and constraints are checked before any work."""

import dataclasses
import math

import numpy as np
import pytest
from searches import RESTRICTED, SIZE, SPACE, TINY, macs, make_problem, params

from scarlet_jax import cost, search
from scarlet_jax import space as spaces
from scarlet_jax.configs import base
from scarlet_jax.errors import InputError
from scarlet_jax.network_size import IMAGENET
from scarlet_jax.path_table import PathTable


def test_the_defaults_are_a_problem():
    config = base.get_config().search
    objectives = search.built_in(spaces.S2, config.objectives, IMAGENET)
    problem = search.make_problem(spaces.S2.allowed, objectives)
    assert problem.population == 70
    assert [objective.name for objective in problem.objectives] == ["accuracy", "macs"]
    assert [objective.goal for objective in problem.objectives] == ["max", "min"]
    assert problem.objectives[1].band() == (23_156_736, 500_000_000)  # supplementary table 2's
    assert problem.weights.tolist() == [0.5, 0.5]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"population": 1},
            r"search.population is 1; allowed: integers from 2 to 100,000, or 0 for one",
        ),
        ({"generations": -1}, r"generations is -1"),
        ({"picks": 0}, r"picks is 0"),
        ({"max_tries": 0}, r"max_tries is 0"),
        ({"controller_memory": 1}, r"controller_memory is 1"),
        ({"mutation_ratio": 1.2}, r"mutation_ratio is 1.2; allowed: numbers from 0 to 1"),
        ({"p_evaluated": -0.1}, r"p_evaluated is -0.1"),
        ({"reinforced_whole": 1.5}, r"reinforced_whole is 1.5"),
        ({"rare": 2.0}, r"rare is 2.0"),
        ({"p_random": 0.5}, r"p_random \+ p_reinforced \+ p_prior is 1.3 \(0.5 \+ 0.65 \+ 0.15\)"),
        ({"p_random": float("nan")}, r"p_random is nan"),
        ({"crossover": "two-point"}, r"crossover is 'two-point'; allowed: uniform, one-point"),
        ({"pick_by": "params"}, r"pick_by is 'params'; allowed .* goal: accuracy, macs"),
        ({"pick_min": 3.0, "pick_max": 2.0}, r"pick_min is 3 but pick_max 2"),
    ],
)
def test_wrong_settings_are_named(settings, message):
    with pytest.raises(InputError, match=message):
        make_problem(**settings)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"macs": {"goal": "less"}}, r"macs has goal 'less'; allowed: max, min, none"),
        ({"macs": {"weight": 0.6}}, r"sum to 1.1 \(accuracy 0.5, macs 0.6\); allowed: 1"),
        (
            {"macs": {"weight": -0.5}, "accuracy": {"weight": 1.5}},
            r"accuracy.weight is 1.5; .*macs.weight is -0.5",
        ),
        ({"macs": {"weight": float("nan")}}, r"macs.weight is nan; allowed: numbers from 0"),
        ({"params": {"weight": 0.2}}, r"params has weight 0.2 but no goal"),
        ({n: {"goal": "none", "weight": 0.0} for n in ("accuracy", "macs")}, r"has no goal"),
        ({"accuracy": {"min": 76.0}}, r"accuracy.min is 76, .*; the nearest possible value is 1"),
        ({"macs": {"min": 200.0, "max": 100.0}}, r"macs has min 200 and max 100; allowed"),
        ({"macs": {"max": float("nan")}}, r"macs has min -inf and max nan"),
        (
            {"latency": {"goal": "min"}},
            r"latency needs a table; .*latency.table, a file",
        ),
        ({"latency": {"max": 20.0}}, r"latency needs a table"),
    ],
)
def test_wrong_objectives_are_named(changes, message):
    with pytest.raises(InputError, match=message):
        make_problem(objectives=changes)


@pytest.mark.parametrize("name", ["born", "settings", "picked"])
def test_what_a_searchs_files_hold_is_no_objective(name):
    with pytest.raises(InputError, match=f"has the name {name}, which the files of a search use"):
        search.make_problem(np.ones((3, 3)), [search.Objective(name, "max", 1.0)])


def test_unknown_and_repeated_objectives_are_refused():
    config = base.get_config().search
    with config.unlocked():
        config.objectives.flops = {"goal": "min", "weight": 0.5, "min": 0.0, "max": 1.0}
    with pytest.raises(InputError, match=r"flops needs a table; allowed: accuracy, macs, par"):
        search.built_in(TINY, config.objectives, SIZE)
    twice = (search.Objective("score", "max", 0.5), search.Objective("score", "min", 0.5))
    with pytest.raises(InputError, match=r"names score, score; allowed: each once"):
        search.make_problem(np.ones((3, 2)), twice)


def test_absent_settings_have_defaults_and_a_space_without_choices_is_refused():
    objectives = [search.Objective("accuracy", "max", 1.0)]
    problem = search.make_problem(np.ones((3, 3)), objectives, {"picks": 3, "pick_by": "accuracy"})
    assert problem.population == 6  # as many as there are neighbours
    assert problem.allowed.tolist() == [[True] * 3] * 3
    for allowed in (np.ones((3, 1)), np.ones((0, 2)), np.eye(3)):
        message = rf"{len(allowed)} layers of \d choices; .* nothing to search"
        with pytest.raises(InputError, match=message):
            search.make_problem(allowed, objectives, {"pick_by": "accuracy"})


@pytest.mark.parametrize("allowed", [np.ones(3), np.array([[1, 1, 0], [0, 0, 0]])])
def test_a_layer_without_choices_is_refused(allowed):
    objectives = [search.Objective("accuracy", "max", 1.0)]
    message = r"an array \[[23, ]+\]; allowed: \[L, N\], with at least one choice in every layer"
    with pytest.raises(InputError, match=message):
        search.make_problem(allowed, objectives, {"pick_by": "accuracy"})


def test_a_table_of_other_choices_is_refused():
    objectives = make_problem(RESTRICTED).objectives
    message = (
        r"macs has a table of \[6, 7\] choices, 32 of them allowed, but the search 42 of \[6, 7\]"
    )
    with pytest.raises(InputError, match=message):
        search.make_problem(np.ones((6, 7)), objectives)
    with pytest.raises(InputError, match=r"32 of them allowed, but the search 9 of \[3, 3\]"):
        search.make_problem(np.ones((3, 3)), objectives)


def test_bounds_that_no_architecture_meets_name_the_nearest_possible_value():
    tables = cost.tables(SPACE, SIZE)
    low, high = tables.macs.extremes()
    smallest, _ = tables.params.extremes()
    for changes, message in (
        ({"macs": {"max": low - 1.0}}, f"macs.max is {low - 1:,}, .*value is {low:,}"),
        ({"macs": {"min": high + 1.0}}, f"macs.min is {high + 1:,}, .*value is {high:,}"),
        ({"params": {"max": 1.0}}, f"params.max is 1, .*value is {smallest:,}"),
    ):
        with pytest.raises(InputError, match=message):
            make_problem(objectives=changes)
    exact = {"macs": {"min": float(low), "max": float(low)}}
    assert make_problem(objectives=exact).objectives[1].band() == (low, low)


def test_values_of_architectures():
    latency = cost.tables(SPACE, SIZE).macs
    latency = dataclasses.replace(latency, stem=1.5, layers=latency.layers * 1e-6)
    changes = {"params": {"goal": "max", "weight": 0.25}, "latency": {"max": 1e6}}
    changes |= {"macs": {"weight": 0.25}}
    problem = make_problem(objectives=changes, tables={"latency": latency})
    assert [o.name for o in problem.objectives] == ["accuracy", "macs", "params", "latency"]
    drawn = spaces.sample(SPACE, np.random.default_rng(0), 5)
    values = problem.computed_values(drawn)
    assert np.isnan(values[:, 0]).all()
    np.testing.assert_array_equal(values[:, 1], macs(SPACE, drawn))
    np.testing.assert_array_equal(values[:, 2], params(SPACE, drawn))
    np.testing.assert_array_equal(values[:, 3], latency(drawn))
    values[:, 0] = [0.1, 0.2, 0.3, 0.4, np.nan]
    wanted = np.stack([-values[:, 0], values[:, 1], -values[:, 2]], axis=1)  # latency is a bound
    np.testing.assert_array_equal(problem.to_minimise(values), wanted)


def test_constraints_hold_for_any_objective_and_include_their_bounds():
    bounds = {"accuracy": {"min": 0.2, "max": 0.3}, "macs": {"min": 2e5}, "params": {"max": 5e5}}
    problem = make_problem(objectives=bounds)
    values = np.array(
        [
            [0.2, 2e5, 5e5],
            [0.3, 3e5, 1],
            [0.31, 3e5, 1],
            [0.19, 3e5, 1],
            [0.25, 2e5 - 1, 1],
            [0.25, 3e5, 5e5 + 1],
            [math.nan, 3e5, 1],
        ]
    )
    all_bounds = problem.within_bounds(values, computed_only=False)
    assert all_bounds.tolist() == [True, True, False, False, False, False, False]
    cheap = problem.within_bounds(values, computed_only=True)
    assert cheap.tolist() == [True, True, True, True, False, False, True]


@pytest.mark.parametrize(
    ("goals", "expected"),
    [
        ({"accuracy": "max", "macs": "min"}, [0.7, 0.3]),
        ({"accuracy": "max", "macs": "min", "params": "min"}, [0.7, 0.15, 0.15]),
        ({"accuracy": "max"}, [1.0]),
        ({"macs": "min", "params": "max"}, [0.5, 0.5]),
    ],
)
def test_reinforcement_is_guided_as_table_1_says(goals, expected):
    changes = {
        name: {"goal": goals.get(name, "none"), "weight": float(name in goals) / len(goals)}
        for name in ("accuracy", "macs", "params")
    }
    problem = make_problem(objectives=changes, pick_by=next(iter(goals)))
    np.testing.assert_allclose(problem.guide_probabilities, expected)


def test_an_objective_by_a_function_has_no_table():
    own = search.Objective("odd", "min", 1.0, compute=lambda a: a.sum(axis=1))
    assert own.table is None
    assert not own.is_evaluated
    assert own.extremes() == (-math.inf, math.inf)
    keeps_width, allowed = np.array([False, False, True]), np.ones((2, 3), bool)
    table = PathTable(1, np.zeros((2, 3, 3)), np.zeros(3), keeps_width, allowed)
    assert search.Objective("cost", "min", 1.0, compute=table).table is table
