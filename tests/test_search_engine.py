"""The search as a whole: what it evaluates, finds, saves, resumes and refuses."""

import dataclasses
import itertools
import json
import logging

import numpy as np
import pytest

from configs import base
from scarlet_jax import search
from scarlet_jax import space as spaces
from scarlet_jax.errors import InputError
from scarlet_jax.search.nsga2 import non_dominated_rank

SPACE = spaces.make_space(name="small", widths=(8, 8, 16, 16, 24, 24), strides=(1, 2, 1, 2, 1, 1))
TINY = spaces.make_space(
    name="tiny", widths=(8, 16, 16), strides=(1, 2, 1), expansions=(2,), kernels=(3, 5)
)
CONTEXT = {"supernet": {"step": 7, "fingerprint": "abc"}}


def make_problem(space=SPACE, **settings):
    config = base.get_config().search
    config.update({"population": 12, "generations": 5, "max_tries": 20, "picks": 4} | settings)
    return search.make_problem(space, config, image_size=16, num_classes=4, channels=3)


class Additive:
    """Accuracy from one utility a layer and choice; remembers what it was asked."""

    def __init__(self, space=SPACE, seed=0, fail_at=None):
        self.utility = np.random.default_rng(seed).normal(size=(space.depth, space.num_choices))
        self.calls = []
        self.fail_at = fail_at

    def __call__(self, architectures):
        assert architectures.dtype == np.int32
        self.calls.append(architectures)
        if len(self.calls) == self.fail_at:
            raise KeyboardInterrupt
        layer = np.arange(architectures.shape[1])
        return 1 / (1 + np.exp(-self.utility[layer, architectures].sum(axis=1) / 2))


def run(problem, evaluate, directory, seed=0, context=CONTEXT, **options):
    return search.run(problem, evaluate, seed=seed, directory=directory, context=context, **options)


def assert_same(one, other):
    for field in dataclasses.fields(search.State):
        np.testing.assert_array_equal(getattr(one, field.name), getattr(other, field.name))


def hypervolume(accuracy, macs, reference):
    order = np.argsort(macs)
    steps = np.diff(np.append(macs[order], reference))
    return (np.maximum.accumulate(accuracy[order]) * steps).sum() / reference


def test_a_search_evaluates_what_algorithm_1_says(tmp_path):
    drawn = spaces.sample(SPACE, np.random.default_rng(0), 100)
    macs_max, params_max = np.median(make_problem().costs(drawn), axis=0).astype(int).tolist()
    problem, evaluate = make_problem(macs_max=macs_max, params_max=params_max), Additive()
    seen = []
    state = run(problem, evaluate, tmp_path, on_generation=seen.append)
    assert len(state.accuracy) == 12 * (2 + 5)
    assert [state.generation for state in seen] == [1, 2, 3, 4, 5, 6]
    assert [len(call) for call in evaluate.calls] == [24, 12, 12, 12, 12, 12]
    np.testing.assert_array_equal(np.concatenate(evaluate.calls), state.architectures)
    assert len(np.unique(state.architectures, axis=0)) == len(state.architectures)
    np.testing.assert_array_equal(
        problem.costs(state.architectures), np.stack([state.macs, state.params], axis=1)
    )
    assert state.macs.max() <= macs_max
    assert state.params.max() <= params_max
    np.testing.assert_array_equal(np.bincount(state.born), [24, 12, 12, 12, 12, 12])
    np.testing.assert_array_equal(state.origin == 0, state.born == 0)
    assert state.survivors.shape == (6, 12)
    assert state.survivors.min() >= 0
    for generation, survivors in enumerate(state.survivors):
        assert len(set(survivors.tolist())) == 12
        assert state.born[survivors].max() <= generation
    # The first survivors are the non-dominated of the first two populations.
    values = np.stack([-state.accuracy, state.macs], axis=1)[:24]
    assert set(np.flatnonzero(non_dominated_rank(values) == 0)) <= set(state.survivors[0].tolist())


def test_offspring_come_about_in_table_1s_proportions():
    problem = make_problem(population=400, generations=1)
    evaluate = Additive()
    state = search.init(problem, 0)
    for _ in range(2):
        batch = search.ask(problem, state)
        state = search.tell(problem, state, batch, evaluate(batch.architectures))
    share = np.bincount(state.origin[state.born == 1], minlength=5)[1:] / 400
    # Duplicates are left out, which touches each kind a little differently.
    np.testing.assert_allclose(share, [0.2, 0.16, 0.52, 0.12], atol=0.06)


def test_asking_is_repeatable_and_changes_nothing():
    problem, state = make_problem(), search.init(make_problem(), 3)
    first, second = search.ask(problem, state), search.ask(problem, state)
    np.testing.assert_array_equal(first.architectures, second.architectures)
    other = search.ask(problem, search.init(problem, 4))
    assert not np.array_equal(first.architectures, other.architectures)
    with pytest.raises(dataclasses.FrozenInstanceError):
        state.generation = 1


@pytest.mark.parametrize("seed", range(4))
def test_search_beats_random_sampling(tmp_path, seed):
    problem, evaluate = make_problem(generations=10), Additive(seed=seed)
    state = run(problem, evaluate, tmp_path, seed=seed)
    drawn = spaces.sample(SPACE, np.random.default_rng(seed), len(state.accuracy))
    reference = problem.cost_range[0][1]
    assert hypervolume(state.accuracy, state.macs, reference) > hypervolume(
        evaluate(drawn), problem.costs(drawn)[:, 0], reference
    )


@pytest.mark.parametrize("fail_at", [1, 2, 5])
def test_a_killed_search_goes_on_to_the_same_result(tmp_path, fail_at):
    problem = make_problem(accuracy_min=0.4)
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
    fields = r"supernet\.step \(now 8, was 7\); search\.weights \(.*\); seed \(now 1, was 0\)"
    with pytest.raises(InputError, match=fields):
        run(
            make_problem(generations=0, weights=(0.9, 0.1)),
            Additive(),
            tmp_path,
            seed=1,
            context={"supernet": {"step": 8, "fingerprint": "abc"}},
        )
    with pytest.raises(InputError, match=r"space\.name \(now 'tiny', was 'small'\)"):
        run(make_problem(TINY, generations=0), Additive(TINY), tmp_path)


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    state = run(make_problem(generations=0), Additive(), tmp_path)
    file = tmp_path / "search.npz"
    with np.load(file) as saved:
        np.testing.assert_array_equal(saved["architectures"], state.architectures)
    assert [path.name for path in tmp_path.iterdir()] == ["search.npz"]
    for content in (b"", b"not an archive", file.read_bytes()[:-100]):
        file.write_bytes(content)
        with pytest.raises(InputError, match=r"search\.npz cannot be read"):
            run(make_problem(generations=0), Additive(), tmp_path)


def test_a_space_that_is_used_up_ends_the_search(tmp_path, caplog):
    evaluate = Additive(TINY)
    with caplog.at_level(logging.INFO, logger="absl"):
        state = run(make_problem(TINY, generations=50, population=6), evaluate, tmp_path)
    everything = set(itertools.product(range(TINY.num_choices), repeat=TINY.depth))
    assert {tuple(row) for row in state.architectures.tolist()} == everything
    assert len(state.architectures) == len(everything) == 27
    assert state.ended
    assert "search ends in generation" in caplog.text
    # So the front is the true one.
    values = np.stack([-state.accuracy, state.macs], axis=1)
    truth = np.flatnonzero(non_dominated_rank(values) == 0)
    problem = make_problem(TINY, generations=50, population=6)
    assert set(search.front_indices(problem, state).tolist()) == set(truth.tolist())


def test_a_population_larger_than_the_space_is_padded(tmp_path):
    state = run(make_problem(TINY, population=20, generations=3), Additive(TINY), tmp_path)
    assert len(state.architectures) == 27
    assert state.survivors.shape == (1, 20)
    assert state.survivors.min() >= 0
    state = run(make_problem(TINY, population=40), Additive(TINY), tmp_path / "more")
    assert len(state.population) == 27
    assert (state.survivors[0, 27:] == -1).all()


def test_initial_architectures_walk_into_a_band_that_uniform_draws_miss(tmp_path):
    (low, high), _ = make_problem().cost_range
    for band in ((low, low + (high - low) // 200), (high - (high - low) // 200, high)):
        problem = make_problem(macs_min=band[0], macs_max=band[1], generations=1)
        drawn = spaces.sample(SPACE, np.random.default_rng(0), 24 * 20)
        hits = np.isin(problem.costs(drawn)[:, 0], range(band[0], band[1] + 1)).sum()
        assert hits < 12
        state = run(problem, Additive(), tmp_path / str(band[0]))
        assert (state.macs >= band[0]).all()
        assert (state.macs <= band[1]).all()
        assert np.count_nonzero(state.born == 0) > 2 * hits


def test_bounds_that_cannot_be_met_end_with_the_nearest_values(tmp_path):
    (low, high), (params_low, _) = make_problem().cost_range
    # Each bound is possible, but not both: the dearest is never the smallest.
    problem = make_problem(macs_min=high - 1, params_max=params_low + 1, max_tries=3)
    evaluate = Additive()
    with pytest.raises(InputError, match=r"none of 144 .*macs_min.*best value.*params_max"):
        run(problem, evaluate, tmp_path)
    assert evaluate.calls == []
    # A gap between two neighbouring costs.
    problem = make_problem(macs_min=low + 1, macs_max=low + 2, max_tries=3)
    with pytest.raises(InputError, match=rf"search.macs_max {low + 2:,} is missed by \d+% "):
        run(problem, evaluate, tmp_path)


def test_an_accuracy_that_cannot_be_met_ends_with_the_best_and_keeps_the_history(tmp_path):
    problem, evaluate = make_problem(accuracy_min=0.999, max_tries=3), Additive()
    with pytest.raises(InputError, match=r"accuracy_min is 0.999.*none of 72 .*value is 0\.\d+"):
        run(problem, evaluate, tmp_path)
    assert [len(call) for call in evaluate.calls] == [24, 24, 24]
    with np.load(tmp_path / "search.npz") as saved:
        np.testing.assert_array_equal(saved["architectures"], np.concatenate(evaluate.calls))
    again = Additive()
    with pytest.raises(InputError, match="none of 72"):
        run(problem, again, tmp_path)
    assert again.calls == []


def test_accuracy_below_the_bound_is_kept_in_the_history_alone(tmp_path):
    problem = make_problem(accuracy_min=0.6)
    state = run(problem, Additive(), tmp_path)
    assert (state.accuracy < 0.6).any()
    assert (state.accuracy[state.survivors] >= 0.6).all()
    assert (state.accuracy[search.front_indices(problem, state)] >= 0.6).all()


def test_what_scores_nan_is_reported_and_never_survives(tmp_path, caplog):
    def evaluate(architectures):
        accuracy = Additive()(architectures)
        accuracy[architectures[:, 0] == 1] = np.nan
        return accuracy

    with caplog.at_level(logging.WARNING, logger="absl"):
        state = run(make_problem(generations=3), evaluate, tmp_path)
    assert np.isnan(state.accuracy).any()
    assert "scored NaN" in caplog.text
    assert not np.isnan(state.accuracy[state.survivors]).any()
    with pytest.raises(InputError, match="all of them scored NaN"):
        run(make_problem(), lambda a: np.full(len(a), np.nan), tmp_path / "nan")


@pytest.mark.parametrize(
    ("accuracy", "message"),
    [
        (np.zeros(3), r"shape \[3\]; expected \[24\]"),
        (np.full(24, 76.0), "from 76.0 to 76.0; allowed: 0 to 1"),
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


@pytest.mark.parametrize("objectives", [("accuracy",), ("params", "accuracy", "macs")])
def test_any_set_of_objectives_is_searched(tmp_path, objectives):
    problem = make_problem(objectives=objectives, weights=(1.0,) * len(objectives))
    state = run(problem, Additive(), tmp_path)
    signed = {"accuracy": -state.accuracy, "macs": state.macs, "params": state.params}
    values = np.stack([signed[name] for name in objectives], axis=1)
    expected = np.flatnonzero(non_dominated_rank(values) == 0)
    assert set(search.front_indices(problem, state).tolist()) == set(expected.tolist())


def test_the_front_as_json_has_names_and_picks(tmp_path):
    problem = make_problem()
    state = run(problem, Additive(), tmp_path)
    record = json.loads(json.dumps(search.front(problem, state)))
    assert record["space"] == "small"
    assert record["evaluations"] == 84
    models = record["front"]
    macs = [model["macs"] for model in models]
    accuracy = [model["accuracy"] for model in models]
    assert macs == sorted(set(macs))
    assert accuracy == sorted(set(accuracy))
    picked = [model for model in models if model["picked"]]
    assert len(picked) == 4
    assert picked[0] == models[0]
    assert picked[-1] == models[-1]
    architectures = np.array([model["architecture"] for model in models])
    np.testing.assert_array_equal(problem.costs(architectures)[:, 0], macs)
    np.testing.assert_allclose(Additive()(architectures.astype(np.int32)), accuracy)
    assert models[0]["blocks"] == spaces.to_names(SPACE, architectures[0])
    for model in models:
        assert model["generation"] > 0 or model["origin"] == "initial"


def test_a_front_smaller_than_the_picks_is_picked_whole(tmp_path, caplog):
    problem = make_problem(picks=500, generations=1)
    state = run(problem, Additive(), tmp_path)
    with caplog.at_level(logging.WARNING, logger="absl"):
        models = search.front(problem, state)["front"]
    picks = search.pick_indices(problem, state)
    np.testing.assert_array_equal(picks, search.front_indices(problem, state))
    assert all(model["picked"] for model in models)
    assert f"picks is 500, but the front has {len(picks)}" in caplog.text
