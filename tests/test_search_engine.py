"""The search as a whole: what it evaluates, finds, saves, resumes and refuses."""

import dataclasses
import json
import logging
import re

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
from scarlet_jax.errors import InputError
from scarlet_jax.search.nsga2 import non_dominated_rank

CONTEXT = {"supernet": {"step": 7, "fingerprint": "abc"}}


def run(problem, evaluate, directory, seed=0, context=CONTEXT, **options):
    return search.run(problem, evaluate, seed=seed, directory=directory, context=context, **options)


def assert_same(one, other):
    for field in dataclasses.fields(search.State):
        np.testing.assert_array_equal(getattr(one, field.name), getattr(other, field.name))


@pytest.mark.parametrize("space", [SPACE, RESTRICTED], ids=lambda space: space.name)
def test_a_search_evaluates_what_algorithm_1_says(tmp_path, space):
    drawn = spaces.sample(space, np.random.default_rng(0), 100)
    bounds = {
        "macs": {"max": float(np.median(macs(space, drawn)))},
        "params": {"max": float(np.median(params(space, drawn)))},
    }
    problem, evaluate = make_problem(space, objectives=bounds), Additive(space)
    seen = []
    state = run(problem, evaluate, tmp_path, on_generation=seen.append)
    assert state.evaluations == 12 * (2 + 5)
    assert [state.generation for state in seen] == [1, 2, 3, 4, 5, 6]
    assert [len(call) for call in evaluate.calls] == [24, 12, 12, 12, 12, 12]
    np.testing.assert_array_equal(np.concatenate(evaluate.calls), state.architectures)
    assert len(np.unique(state.architectures, axis=0)) == len(state.architectures)
    np.testing.assert_array_equal(column(problem, state, "macs"), macs(space, state.architectures))
    np.testing.assert_array_equal(
        column(problem, state, "params"), params(space, state.architectures)
    )
    np.testing.assert_array_equal(
        column(problem, state, "accuracy"), Additive(space)(state.architectures)
    )
    for name, bound in bounds.items():
        assert column(problem, state, name).max() <= bound["max"]
    np.testing.assert_array_equal(np.bincount(state.born), [24, 12, 12, 12, 12, 12])
    np.testing.assert_array_equal(state.origin == 0, state.born == 0)
    assert state.proposed >= state.evaluations
    assert state.survivors.shape == (6, 12)
    assert state.survivors.min() >= 0
    for generation, survivors in enumerate(state.survivors):
        assert len(set(survivors.tolist())) == 12
        assert state.born[survivors].max() <= generation
    # The first survivors hold the non-dominated of the first two populations.
    values = problem.to_minimise(state.values)[:24]
    assert set(np.flatnonzero(non_dominated_rank(values) == 0)) <= set(state.survivors[0].tolist())


def test_offspring_come_about_in_table_1s_proportions():
    problem = make_problem(spaces.S2, population=400, generations=1)
    evaluate = Additive(spaces.S2)
    state = search.init(problem, 0)
    for _ in range(2):
        batch = search.ask(problem, state)
        state = search.tell(problem, state, batch, evaluate(batch.architectures))
    share = np.bincount(state.origin[state.born == 1], minlength=5)[1:] / 400
    # Duplicates are left out, which touches each kind a little differently.
    np.testing.assert_allclose(share, [0.2, 0.16, 0.52, 0.12], atol=0.06)


def test_what_replaces_known_children_is_next_to_the_front(tmp_path):
    """Every second round of proposals, whatever kinds of children a generation has."""
    alone = {"mutation_ratio": 1.0, "p_random": 0.0, "p_reinforced": 1.0, "p_prior": 0.0}
    problem = make_problem(generations=8, **alone)
    state = run(problem, Additive(SPACE), tmp_path)
    kinds = [search.ORIGINS[number] for number in np.unique(state.origin)]
    assert kinds == ["initial", "random", "reinforced"]
    for row in np.flatnonzero(state.origin == search.ORIGINS.index("random")):
        known = state.born < state.born[row]
        known &= problem.feasible(state.values)
        values = problem.to_minimise(state.values[known])
        front = state.architectures[known][non_dominated_rank(values) == 0]
        assert (front != state.architectures[row]).sum(axis=1).min() == 1


def test_asking_is_repeatable_and_changes_nothing():
    problem, state = make_problem(), search.init(make_problem(), 3)
    first, second = search.ask(problem, state), search.ask(problem, state)
    np.testing.assert_array_equal(first.architectures, second.architectures)
    other = search.ask(problem, search.init(problem, 4))
    assert not np.array_equal(first.architectures, other.architectures)
    with pytest.raises(dataclasses.FrozenInstanceError):
        state.generation = 1


@pytest.mark.parametrize("space", [SPACE, RESTRICTED], ids=lambda space: space.name)
@pytest.mark.parametrize("seed", range(4))
def test_search_beats_random_sampling(tmp_path, seed, space):
    problem, evaluate = make_problem(space, generations=10), Additive(space, seed=seed)
    state = run(problem, evaluate, tmp_path, seed=seed)
    drawn = spaces.sample(space, np.random.default_rng(seed), state.evaluations)
    values = problem.computed_values(drawn)
    values[:, 0] = evaluate(drawn)
    random = dataclasses.replace(state, architectures=drawn, values=values)
    assert search.hypervolume(problem, state) > search.hypervolume(problem, random)


@pytest.mark.parametrize("fail_at", [1, 2, 5])
def test_a_killed_search_goes_on_to_the_same_result(tmp_path, fail_at):
    problem = make_problem(objectives={"accuracy": {"min": 0.4}})
    evaluate = Additive()
    expected = run(problem, evaluate, tmp_path / "whole")
    killed = Additive(fail_at=fail_at)
    with pytest.raises(KeyboardInterrupt):
        run(problem, killed, tmp_path / "killed")
    resumed = Additive()
    assert_same(run(problem, resumed, tmp_path / "killed"), expected)
    # The interrupted batch is asked for again, and nothing before it.
    np.testing.assert_array_equal(resumed.calls[0], killed.calls[-1])
    assert len(resumed.calls) == len(evaluate.calls) - fail_at + 1
    # A finished search evaluates nothing more.
    finished = Additive()
    assert_same(run(problem, finished, tmp_path / "killed"), expected)
    assert finished.calls == []


def test_more_generations_extend_a_search(tmp_path):
    expected = run(make_problem(generations=5), Additive(), tmp_path / "whole")
    run(make_problem(generations=2), Additive(), tmp_path / "extended")
    extended = run(make_problem(generations=5), Additive(), tmp_path / "extended")
    assert_same(extended, expected)
    with pytest.raises(InputError, match=r"search\.generations \(now 4, was 5\)"):
        run(make_problem(generations=4), Additive(), tmp_path / "extended")


def test_resuming_another_search_is_refused_by_the_fields_that_differ(tmp_path):
    run(make_problem(generations=0), Additive(), tmp_path)
    fields = (
        r"supernet\.step \(now 8, was 7\); objectives\.accuracy\.weight \(now 0.9, was 0.5\); "
        r"objectives\.macs\.weight \(.*\); seed \(now 1, was 0\)"
    )
    weights = {"accuracy": {"weight": 0.9}, "macs": {"weight": 0.1}}
    with pytest.raises(InputError, match=fields):
        run(
            make_problem(objectives=weights, generations=0),
            Additive(),
            tmp_path,
            seed=1,
            context={"supernet": {"step": 8, "fingerprint": "abc"}},
        )
    with pytest.raises(
        InputError, match=r"objectives\.macs\.compute .*search\.depth \(now 3, was 6"
    ):
        run(make_problem(TINY, generations=0), Additive(TINY), tmp_path)
    with pytest.raises(
        InputError, match=r"search\.layer_choices \(now \[0\] as number 0 of 6, was \[\]\)"
    ):
        run(make_problem(RESTRICTED, generations=0), Additive(RESTRICTED), tmp_path)


def test_settings_of_the_picks_may_change(tmp_path):
    expected = run(make_problem(generations=1), Additive(), tmp_path)
    evaluate = Additive()
    assert_same(run(make_problem(generations=1, picks=2), evaluate, tmp_path), expected)
    assert evaluate.calls == []


def test_the_history_is_columns_of_one_file(tmp_path):
    problem = make_problem(generations=1)
    state = run(problem, Additive(), tmp_path)
    with np.load(tmp_path / "search.npz") as saved:
        columns = dict(saved)
    np.testing.assert_array_equal(columns["architectures"], state.architectures)
    np.testing.assert_array_equal(columns["accuracy"], column(problem, state, "accuracy"))
    np.testing.assert_array_equal(columns["macs"], column(problem, state, "macs"))
    np.testing.assert_array_equal(columns["born"], state.born)


def test_a_damaged_state_is_named_and_the_one_before_it_used(tmp_path, caplog):
    problem = make_problem(generations=3)
    expected = run(problem, Additive(), tmp_path)
    file = tmp_path / "search.npz"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    evaluate = Additive()
    with caplog.at_level(logging.WARNING, logger="absl"):
        state = run(problem, evaluate, tmp_path)
    assert "search.npz is damaged and passed over" in caplog.text
    assert_same(state, expected)
    assert [len(call) for call in evaluate.calls] == [12]  # the last generation again


@pytest.mark.parametrize(("space", "size"), [(TINY, 27), (TINY_RESTRICTED, 12)])
def test_a_space_that_is_used_up_ends_the_search(tmp_path, caplog, space, size):
    problem = make_problem(space, generations=50, population=4)
    with caplog.at_level(logging.INFO, logger="absl"):
        state = run(problem, Additive(space), tmp_path)
    assert sorted(state.architectures.tolist()) == every_path(space.allowed).tolist()
    assert len(state.architectures) == space.num_architectures == size
    assert state.ended
    assert "search ends in generation" in caplog.text
    # So the front is the true one.
    truth = np.flatnonzero(non_dominated_rank(problem.to_minimise(state.values)) == 0)
    assert set(search.front_indices(problem, state).tolist()) == set(truth.tolist())


def test_a_population_larger_than_the_space_is_padded(tmp_path):
    state = run(make_problem(TINY, population=20, generations=3), Additive(TINY), tmp_path)
    assert len(state.architectures) == 27
    assert state.survivors.shape == (1, 20)
    assert state.survivors.min() >= 0
    state = run(make_problem(TINY, population=40), Additive(TINY), tmp_path / "more")
    assert len(state.population) == 27
    assert (state.survivors[0, 27:] == -1).all()


def test_bounds_that_cannot_be_met_end_with_the_nearest_values(tmp_path):
    (low, high), (smallest, _) = (o.extremes() for o in make_problem_with_params().objectives[1:])
    # Each bound is possible, but not both: the dearest is never the smallest.
    problem = make_problem(
        objectives={"macs": {"min": high - 1}, "params": {"max": smallest + 1}}, max_tries=3
    )
    evaluate = Additive()
    message = (
        r"the bounds leave nothing to search: 0% of 10,000 random architectures are feasible; "
        r"the limiting bound is search.objectives.(macs.min|params.max) = .*the nearest value is "
        r".*; then "
    )
    with pytest.raises(InputError, match=message):
        run(problem, evaluate, tmp_path)
    assert evaluate.calls == []
    # A gap between two neighbouring costs.
    problem = make_problem(objectives={"macs": {"min": low + 1, "max": low + 2}}, max_tries=3)
    with pytest.raises(InputError, match=rf"macs.max = {low + 2:,.0f}: .* the nearest value is"):
        run(problem, evaluate, tmp_path)


def make_problem_with_params():
    return make_problem(objectives={"params": {"max": 1e9}})


def test_hardly_feasible_bounds_warn_with_the_acceptance_rate(tmp_path, caplog):
    def odd(architectures):  # no table: the search can only try
        return (architectures.sum(axis=1) % 97 == 29).astype(float)

    (accuracy, macs) = make_problem().objectives
    objectives = (accuracy, macs, search.Objective("odd", "none", low=1, compute=odd))
    settings = {"population": 4, "generations": 0, "max_tries": 40}
    problem = search.make_problem(SPACE.allowed, objectives, settings)
    with caplog.at_level(logging.WARNING, logger="absl"):
        state = run(problem, Additive(), tmp_path)
    assert (state.architectures.sum(axis=1) == 29).all()
    message = r"0\.\d+% of 10,000 random architectures are feasible; .*odd.min = 1: 0\.\d+% satisfy"
    assert re.search(message, caplog.text)


def test_an_accuracy_that_cannot_be_met_ends_with_the_best_and_keeps_the_history(tmp_path):
    problem = make_problem(objectives={"accuracy": {"min": 0.999}}, max_tries=3)
    evaluate = Additive()
    message = r"0% of 72 evaluated .* are feasible.*accuracy.min = 0.999.*nearest value is 0\.\d+"
    with pytest.raises(InputError, match=message):
        run(problem, evaluate, tmp_path)
    assert [len(call) for call in evaluate.calls] == [24, 24, 24]
    with np.load(tmp_path / "search.npz") as saved:
        np.testing.assert_array_equal(saved["architectures"], np.concatenate(evaluate.calls))
    again = Additive()
    with pytest.raises(InputError, match="0% of 72 evaluated"):
        run(problem, again, tmp_path)
    assert again.calls == []


def test_accuracy_below_the_bound_is_kept_in_the_history_alone(tmp_path):
    problem = make_problem(objectives={"accuracy": {"min": 0.6}})
    state = run(problem, Additive(), tmp_path)
    accuracy = column(problem, state, "accuracy")
    assert (accuracy < 0.6).any()
    assert (accuracy[state.survivors] >= 0.6).all()
    assert (accuracy[search.front_indices(problem, state)] >= 0.6).all()


def test_what_scores_nan_is_reported_and_never_survives(tmp_path, caplog):
    def evaluate(architectures):
        accuracy = Additive()(architectures)
        accuracy[architectures[:, 0] < 3] = np.nan
        return accuracy

    with caplog.at_level(logging.WARNING, logger="absl"):
        state = run(make_problem(generations=3), evaluate, tmp_path)
    accuracy = column(make_problem(), state, "accuracy")
    assert np.isnan(accuracy).any()
    assert "scored NaN" in caplog.text
    assert not np.isnan(accuracy[state.survivors]).any()
    with pytest.raises(
        InputError, match="no result: none of 480 evaluated architectures could be scored"
    ):
        run(make_problem(), lambda a: np.full(len(a), np.nan), tmp_path / "nan")


@pytest.mark.parametrize(
    ("accuracy", "message"),
    [
        (np.zeros(3), r"shape \[3\]; expected \[24, 1\]"),
        (np.full(24, 76.0), "accuracy from 76.0 to 76.0; allowed: 0 to 1"),
        (np.full(24, -np.inf), "allowed: 0 to 1"),
    ],
)
def test_scores_of_another_shape_or_range_are_refused(accuracy, message):
    problem = make_problem()
    state = search.init(problem, 0)
    with pytest.raises(InputError, match=message):
        search.tell(problem, state, search.ask(problem, state), accuracy)


def test_a_negative_seed_is_refused():
    with pytest.raises(InputError, match="seed is -1"):
        search.init(make_problem(), -1)


@pytest.mark.parametrize(
    "goals",
    [
        {"accuracy": "max"},
        {"accuracy": "max", "macs": "min", "params": "max"},  # as MoGA
        {"macs": "min", "params": "max"},  # nothing that is evaluated counts
    ],
)
def test_any_set_of_objectives_is_searched(tmp_path, goals):
    changes = {
        name: {"goal": goals.get(name, "none"), "weight": float(name in goals) / len(goals)}
        for name in ("accuracy", "macs", "params")
    }
    problem = make_problem(objectives=changes, pick_by=next(iter(goals)))
    state = run(problem, Additive(), tmp_path)
    signs = {"max": -1, "min": 1}
    values = np.stack([signs[g] * column(problem, state, name) for name, g in goals.items()], 1)
    expected = np.flatnonzero(non_dominated_rank(values) == 0)
    assert set(search.front_indices(problem, state).tolist()) == set(expected.tolist())
    random = spaces.sample(SPACE, np.random.default_rng(0), state.evaluations)
    if goals == {"macs": "min", "params": "max"}:
        # Both ends of the front are found: fewest MACs, and most parameters.
        assert column(problem, state, "macs").min() == problem.objectives[1].extremes()[0]
        assert column(problem, state, "params").max() > params(SPACE, random).max()


def test_a_score_of_ones_own_is_searched_with_several_columns():
    """ZDT1's two objectives on a grid, both from the evaluator: the front is at g = 1."""

    def evaluate(architectures):
        levels = architectures / 8
        g = 1 + 9 * levels[:, 1:].mean(axis=1)
        return np.stack([levels[:, 0], g * (1 - np.sqrt(levels[:, 0] / g))], axis=1)

    objectives = [search.Objective(name, "min", 0.5) for name in ("f1", "f2")]
    settings = {"population": 20, "generations": 15, "pick_by": "f1"}
    problem = search.make_problem(np.ones((6, 9)), objectives, settings)
    state = search.init(problem, 0)
    while not search.is_finished(problem, state):
        batch = search.ask(problem, state)
        state = search.tell(problem, state, batch, evaluate(batch.architectures))
    front = state.values[search.front_indices(problem, state)]
    np.testing.assert_allclose(front[:, 0], np.arange(9) / 8)
    np.testing.assert_allclose(front[:, 1], 1 - np.sqrt(np.arange(9) / 8))


def test_the_front_as_json_has_names_and_picks(tmp_path):
    problem = make_problem()
    state = run(problem, Additive(), tmp_path)
    record = json.loads(json.dumps(search.front(problem, state)))
    assert record["evaluations"] == 84
    assert 0 < record["hypervolume"] < 1
    assert record["objectives"]["macs"] == {"goal": "min", "weight": 0.5}
    models = record["front"]
    counts = [model["macs"] for model in models]
    accuracy = [model["accuracy"] for model in models]
    assert counts == sorted(set(counts))
    assert all(isinstance(count, int) for count in counts)
    assert accuracy == sorted(set(accuracy))
    picked = [model for model in models if model["picked"]]
    assert len(picked) == 4
    assert picked[0] == models[0]
    assert picked[-1] == models[-1]
    architectures = np.array([model["architecture"] for model in models])
    np.testing.assert_array_equal(macs(SPACE, architectures), counts)
    np.testing.assert_allclose(Additive()(architectures.astype(np.int32)), accuracy)
    for model in models:
        assert model["generation"] > 0 or model["origin"] == "initial"


def test_a_front_smaller_than_the_picks_is_picked_whole(tmp_path, caplog):
    problem = make_problem(picks=500, generations=1)
    state = run(problem, Additive(), tmp_path)
    with caplog.at_level(logging.WARNING, logger="absl"):
        search.say_picks(problem, state)
    front, picks = search.front_indices(problem, state), search.pick_indices(problem, state)
    np.testing.assert_array_equal(picks, front)
    assert all(model["picked"] for model in search.front(problem, state)["front"])
    assert f"{len(picks)} of search.picks = 500 models picked: the front has {len(picks)}" in (
        caplog.text
    )


def test_picks_lie_between_their_bounds_and_are_of_different_positions(tmp_path, caplog):
    # With accuracy of no account, several of the front share their MACs.
    goals = {"accuracy": {"goal": "none", "weight": 0.0}, "params": {"goal": "max", "weight": 0.5}}
    state = run(make_problem(objectives=goals, generations=8), Additive(), tmp_path)
    least, most = np.quantile(column(make_problem(objectives=goals), state, "macs"), (0.2, 0.8))
    bounds = {"picks": 3, "pick_min": float(least), "pick_max": float(most)}
    problem = make_problem(objectives=goals, generations=8, **bounds)
    picked = column(problem, state, "macs")[search.pick_indices(problem, state)]
    assert len(set(picked.tolist())) == 3
    assert (picked >= least).all()
    assert (picked <= most).all()
    with caplog.at_level(logging.WARNING, logger="absl"):
        search.say_picks(problem, state)
    assert caplog.text == ""
    nothing = make_problem(objectives=goals, pick_min=1.0, pick_max=2.0)
    assert len(search.pick_indices(nothing, state)) == 0
    with caplog.at_level(logging.WARNING, logger="absl"):
        search.say_picks(nothing, state)
    assert "0 of search.picks = 4 models picked" in caplog.text
    assert "0 of them with macs from 1 to 2" in caplog.text


def test_picking_by_another_objective(tmp_path):
    problem = make_problem(picks=3, pick_by="accuracy")
    state = run(problem, Additive(), tmp_path)
    front = column(problem, state, "accuracy")[search.front_indices(problem, state)]
    assert (np.diff(front) > 0).all()
    picked = column(problem, state, "accuracy")[search.pick_indices(problem, state)]
    assert picked[[0, -1]].tolist() == front[[0, -1]].tolist()
    middle = (front[0] + front[-1]) / 2
    assert abs(picked[1] - middle) == np.abs(front[1:-1] - middle).min()


def test_the_hypervolume_curve_ends_at_the_hypervolume(tmp_path):
    problem = make_problem(objectives={"accuracy": {"min": 0.3}})
    state = run(problem, Additive(), tmp_path)
    curve = search.hypervolume_curve(problem, state)
    assert curve.shape == (state.evaluations,)
    assert (np.diff(curve) >= 0).all()
    assert np.isclose(curve[-1], search.hypervolume(problem, state))
    half = dataclasses.replace(
        state,
        **{
            name: getattr(state, name)[:40]
            for name in ("architectures", "values", "born", "origin")
        },
    )
    assert np.isclose(curve[39], search.hypervolume(problem, half))


def test_weights_move_the_front_towards_even_spacing_in_what_weighs_most(tmp_path):
    """Accuracy saturates with MACs: even spacing in accuracy means many models of few MACs."""
    low, high = make_problem().objectives[1].extremes()

    def saturating(architectures):
        return 1 - np.exp(-5 * (macs(SPACE, architectures) - low) / (high - low))

    unevenness, middle = {}, {}
    for heavy, light in (("accuracy", "macs"), ("macs", "accuracy")):
        changes = {heavy: {"weight": 0.95}, light: {"weight": 0.05}}
        problem = make_problem(objectives=changes, population=40, generations=12)
        state = run(problem, saturating, tmp_path / heavy)
        for name in ("accuracy", "macs"):
            gaps = np.diff(np.sort(column(problem, state, name)[state.population]))
            unevenness[heavy, name] = gaps.std() / gaps.mean()
        middle[heavy] = np.median(column(problem, state, "macs")[state.population])
    assert unevenness["accuracy", "accuracy"] < 0.8 * unevenness["macs", "accuracy"]
    assert unevenness["macs", "macs"] < 0.5 * unevenness["accuracy", "macs"]
    assert middle["accuracy"] < 0.7 * middle["macs"]


def test_a_warm_start_is_evaluated_first(tmp_path):
    cold = run(make_problem(generations=1), Additive(), tmp_path / "cold")
    best = cold.architectures[column(make_problem(), cold, "accuracy").argsort()[-3:]]
    problem = dataclasses.replace(
        make_problem(generations=1), start=tuple(map(tuple, best.tolist()))
    )
    warm = run(problem, Additive(), tmp_path / "warm")
    np.testing.assert_array_equal(warm.architectures[:3], best)
    drawn = cold.architectures[~(cold.architectures[:, None] == best).all(-1).any(1)]
    np.testing.assert_array_equal(warm.architectures[3:12], drawn[:9])  # what is drawn follows
    with pytest.raises(InputError, match=r"is of another search: search.start"):
        run(make_problem(generations=1), Additive(), tmp_path / "warm")


def test_of_a_warm_start_what_is_out_of_bounds_is_left_out(tmp_path):
    low, high = make_problem().objectives[1].extremes()
    bounds = {"macs": {"max": (low + high) / 2}}
    start = ((5,) * 6, (6,) * 6)  # the largest, and identities alone
    problem = dataclasses.replace(make_problem(objectives=bounds, generations=0), start=start)
    state = run(problem, Additive(), tmp_path)
    assert state.architectures[0].tolist() == [6] * 6
    assert [5] * 6 not in state.architectures.tolist()


@pytest.mark.parametrize("start", [((0,) * 5,), ((0,) * 5 + (7,),), ((-1,) + (0,) * 5,)])
def test_a_start_of_another_space_is_refused(start):
    objectives = [search.Objective("accuracy", "max", 1.0)]
    with pytest.raises(InputError, match=r"starts from .*; allowed: 6 choices below 7, each one"):
        search.make_problem(SPACE.allowed, objectives, {"pick_by": "accuracy"}, start)
