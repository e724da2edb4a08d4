"""Crossover and the three mutations: laws that always hold, and frequencies."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scarlet_jax import search
from scarlet_jax import space as spaces
from scarlet_jax.path_table import PathTable
from scarlet_jax.search import controller, sampling, variation

DEPTH, CHOICES = 5, 4


def generator(seed=0):
    return np.random.default_rng(seed)


def parents(count, seed=1):
    return generator(seed).integers(CHOICES, size=(count, DEPTH), dtype=np.int32)


EVERYTHING = np.ones((DEPTH, CHOICES), bool)
own_choices = st.sets(st.integers(0, CHOICES - 1), min_size=1)
some_choices = (
    st.tuples(*[own_choices] * DEPTH)
    .filter(lambda layers: max(map(len, layers)) > 1)
    .map(lambda layers: np.array([[i in own for i in range(CHOICES)] for own in layers]))
)
choices = st.one_of(st.just(EVERYTHING), some_choices)


def table(sign=1.0, start=0.0, allowed=EVERYTHING):
    """A cost that grows with the choices' sum, or falls with it."""
    layers = np.zeros((DEPTH, CHOICES, DEPTH + 1))
    layers += sign * np.arange(CHOICES)[:, None]
    return PathTable(start, layers, np.zeros(DEPTH + 1), np.zeros(CHOICES, bool), allowed)


def make_problem(low=2.0, high=10.0, params_max=np.inf, allowed=EVERYTHING):
    """Scores to be evaluated, MACs from 0 to 15, parameters from 100 down to 85."""
    objectives = (
        search.Objective("accuracy", "max", 0.5),
        search.Objective("macs", "min", 0.5, low, high, compute=table(allowed=allowed)),
        search.Objective("params", "none", high=params_max, compute=table(-1.0, 100.0, allowed)),
    )
    return search.make_problem(allowed, objectives)


def learned_from(architectures, accuracy, problem=None):
    problem = problem or make_problem()
    values = problem.computed_values(architectures)
    values[:, 0] = accuracy
    return controller.learn(problem, architectures, values)


def mutants(kind, rng, population, allowed):
    if kind == "random":
        return variation.random_mutation(rng, population, allowed)
    return variation.prior_mutation(rng, population, make_problem(0.0, 15.0, allowed=allowed))


@pytest.mark.parametrize("kind", ["random", "prior"])
@given(seed=st.integers(0, 10_000), count=st.integers(0, 8), allowed=choices)
def test_a_mutation_changes_exactly_one_layer(kind, seed, count, allowed):
    population = spaces.draw(allowed, generator(seed), count)
    before = population.copy()
    children = mutants(kind, generator(seed), population, allowed)
    assert children.dtype == np.int32
    assert children.shape == population.shape
    assert ((children != population).sum(axis=1) == 1).all()
    assert allowed[np.arange(DEPTH), children].all()
    np.testing.assert_array_equal(population, before)
    np.testing.assert_array_equal(children, mutants(kind, generator(seed), population, allowed))


@given(seed=st.integers(0, 10_000), allowed=some_choices, whole=st.sampled_from([0.0, 0.5, 1.0]))
def test_nothing_proposes_what_a_layer_may_not_take(seed, allowed, whole):
    problem, rng = make_problem(0.0, 15.0, allowed=allowed), generator(seed)
    one, other = spaces.draw(allowed, rng, 20), spaces.draw(allowed, rng, 20)
    learned, guides = learned_from(one, rng.random(20), problem), rng.integers(2, size=20)
    for children in (
        variation.uniform_crossover(rng, one, other),
        variation.one_point_crossover(rng, one, other),
        variation.random_mutation(rng, one, allowed),
        variation.reinforced_mutation(rng, one, learned, guides, whole),
        variation.prior_mutation(rng, one, problem),
        variation.neighbours(one, allowed).reshape(-1, DEPTH),
        sampling.uniform(problem, rng, 50),
        sampling.sampler(problem)(rng, 50),
        search.ask(problem, search.init(problem, seed)).architectures,
    ):
        assert allowed[np.arange(DEPTH), children].all()


def test_uniform_crossover_takes_each_layer_from_either_parent_half_of_the_time():
    one, other = np.zeros((8000, DEPTH), np.int32), np.ones((8000, DEPTH), np.int32)
    children = variation.uniform_crossover(generator(), one, other)
    assert children.dtype == np.int32
    np.testing.assert_allclose(children.mean(axis=0), 0.5, atol=0.03)
    assert abs(np.corrcoef(children[:, 0], children[:, 1])[0, 1]) < 0.05


def test_one_point_crossover_cuts_between_any_two_layers_alike():
    one, other = np.zeros((8000, DEPTH), np.int32), np.ones((8000, DEPTH), np.int32)
    children = variation.one_point_crossover(generator(), one, other)
    assert children.dtype == np.int32
    assert (np.diff(children, axis=1) >= 0).all()  # one parent, then the other
    share = np.bincount(children.sum(axis=1), minlength=DEPTH + 1) / len(children)
    np.testing.assert_allclose(share, [0, 0.25, 0.25, 0.25, 0.25, 0], atol=0.02)
    single = variation.one_point_crossover(generator(), one[:, :1], other[:, :1])
    assert (single == 1).all()


@pytest.mark.parametrize("cross", [variation.uniform_crossover, variation.one_point_crossover])
@given(seed=st.integers(0, 1000))
def test_crossover_takes_every_layer_from_a_parent(cross, seed):
    one, other = parents(7, seed), parents(7, seed + 1)
    children = cross(generator(seed), one, other)
    assert ((children == one) | (children == other)).all()
    np.testing.assert_array_equal(cross(generator(seed), one, one), one)


def test_random_mutation_is_uniform_over_all_neighbours():
    parent = np.array([[0, 1, 2, 3, 0]], np.int32)
    children = variation.random_mutation(generator(), parent.repeat(30_000, axis=0), EVERYTHING)
    options, counts = np.unique(children, axis=0, return_counts=True)
    assert len(options) == DEPTH * (CHOICES - 1)
    np.testing.assert_allclose(counts / counts.sum(), 1 / len(options), rtol=0.1)


def test_random_mutation_takes_layers_that_can_change_alike():
    allowed = np.array([[1, 0, 0, 0], [1, 0, 1, 0], [1, 1, 1, 1], [0, 1, 0, 0], [0, 1, 0, 1]], bool)
    parent = np.array([[0, 2, 1, 1, 3]], np.int32)
    children = variation.random_mutation(generator(), parent.repeat(30_000, axis=0), allowed)
    options, counts = np.unique(children, axis=0, return_counts=True)
    assert options.tolist() == [
        [0, 0, 1, 1, 3],
        [0, 2, 0, 1, 3],
        [0, 2, 1, 1, 1],
        [0, 2, 2, 1, 3],
        [0, 2, 3, 1, 3],
    ]
    np.testing.assert_allclose(counts / 30_000, [1 / 3, 1 / 9, 1 / 3, 1 / 9, 1 / 9], rtol=0.1)


@given(seed=st.integers(0, 1000), allowed=choices)
def test_neighbours_are_all_single_changes(seed, allowed):
    population = spaces.draw(allowed, generator(seed), 3)
    for parent, options in zip(population, variation.neighbours(population, allowed), strict=True):
        expected = {
            (*parent[:layer], choice, *parent[layer + 1 :])
            for layer in range(DEPTH)
            for choice in np.flatnonzero(allowed[layer])
            if choice != parent[layer]
        }
        assert {tuple(option) for option in options} == expected
        assert len(options) == len(expected)


def test_values_learned_by_hand():
    """Ridge regression with an identity prior: two choices, one layer, three architectures."""
    architectures = np.array([[0], [0], [1]], np.int32)
    objectives = (search.Objective("accuracy", "max", 1.0),)
    problem = search.make_problem(np.ones((1, 3)), objectives, {"pick_by": "accuracy"})
    learned = controller.learn(problem, architectures, np.array([[4.0], [4.0], [1.0]]))
    # Standardised: 1, 1, -2 over sqrt(2). Choice 0 sums to 2 over 2 + 1, choice 1 to -2 over 2.
    root = np.sqrt(2)
    np.testing.assert_allclose(learned.mean[0, 0], [2 / 3 / root, -1 / root, 0])
    unexplained = 2 * (1 / 3 / root) ** 2 + (1 / root) ** 2
    np.testing.assert_allclose(learned.deviation, [np.sqrt((unexplained + 1) / 4)])
    np.testing.assert_allclose(learned.factor, np.diag(np.sqrt([3, 2, 1])))


def test_nothing_is_learned_from_no_or_constant_scores():
    for population, accuracy in (
        (parents(0), []),
        (parents(3), [0.5] * 3),
        (parents(2), [np.nan] * 2),
    ):
        learned = learned_from(population, accuracy)
        np.testing.assert_array_equal(learned.mean, np.zeros((2, DEPTH, CHOICES)))
        assert learned.deviation[0] > 0  # so everything is still tried


def test_what_could_not_be_scored_is_left_out():
    population, accuracy = parents(30), generator().random(30)
    accuracy[::3] = np.nan
    scored = ~np.isnan(accuracy)
    some = learned_from(population, accuracy)
    only = learned_from(population[scored], accuracy[scored])
    np.testing.assert_array_equal(some.mean, only.mean)
    np.testing.assert_array_equal(some.factor, only.factor)


def test_the_useful_choices_are_learned():
    utility = generator(3).normal(size=(DEPTH, CHOICES))
    population = parents(500)
    accuracy = utility[np.arange(DEPTH), population].sum(axis=1)
    # Within bounds that allow the fewest MACs: what is best by them alone.
    learned = learned_from(population, accuracy, make_problem(0.0, 15.0))
    centred = utility - utility.mean(axis=1, keepdims=True)
    assert np.corrcoef(learned.mean[0].ravel(), centred.ravel())[0, 1] > 0.99
    np.testing.assert_array_equal(learned.mean[1], 0)  # MACs have a table
    everywhere = np.ones((40, DEPTH), bool)
    for shares, expected in (([1, 0], utility.argmax(axis=1)), ([0, 1], np.zeros(DEPTH))):
        mix = np.tile(np.array(shares, float), (40, 1))
        children = controller.decide(generator(), learned, mix, parents(40), everywhere)
        assert (children == expected).mean() > 0.95


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
def test_reinforced_children_keep_to_bounds_that_their_values_would_leave(share):
    """Whatever they count for, accuracy, which saturates, against MACs, from 0 to 15."""
    population = parents(500)
    accuracy = np.sqrt(population * [1, 2, 3, 4, 5]).sum(axis=1)
    mix, everywhere = np.tile([share, 1 - share], (200, 1)), np.ones((200, DEPTH), bool)
    counts = []
    for low, high in ((7.0, 9.0), (0.0, 15.0)):
        problem = make_problem(low, high)
        learned = learned_from(population, accuracy, problem)
        children = controller.decide(generator(), learned, mix, parents(200, 7), everywhere)
        inside = problem.within_bounds(problem.computed_values(children), computed_only=True)
        counts.append(children.sum(axis=1))
        assert inside.mean() > 0.8
    assert ((counts[1] >= 7) & (counts[1] <= 9)).mean() < 0.2  # where nothing keeps them


def test_layers_that_are_not_open_stay_the_parents():
    learned = learned_from(parents(50), generator().random(50))
    population = parents(200, seed=5)
    open_layers = generator().random(population.shape) < 0.5
    mix = np.full((200, 2), 0.5)
    children = controller.decide(generator(), learned, mix, population, open_layers)
    np.testing.assert_array_equal(children[~open_layers], population[~open_layers])
    assert (children[open_layers] != population[open_layers]).any()


def test_choices_are_drawn_as_likely_as_they_may_be_the_best():
    """Thompson sampling: against drawing from the posterior by its mean and covariance."""
    objectives = (search.Objective("accuracy", "max", 1.0),)
    problem = search.make_problem(np.ones((1, 3)), objectives, {"pick_by": "accuracy"})
    architectures = np.array([[0], [0], [1], [2]], np.int32)
    learned = controller.learn(problem, architectures, np.array([[2.0], [3.0], [2.0], [1.0]]))
    count = 40_000
    drawn = controller.decide(
        generator(),
        learned,
        np.ones((count, 1)),
        np.zeros((count, 1), np.int32),
        np.ones((count, 1), bool),
    )
    covariance = learned.deviation[0] ** 2 * np.linalg.inv(np.diag([3.0, 2.0, 2.0]))
    expected = generator(1).multivariate_normal(learned.mean[0, 0], covariance, count)
    np.testing.assert_allclose(
        np.bincount(drawn[:, 0], minlength=3) / count,
        np.bincount(expected.argmax(axis=1), minlength=3) / count,
        atol=0.01,
    )


def test_half_of_the_reinforced_mutants_are_decided_anew(monkeypatch):
    seen = []

    def decide(rng, learned, shares, population, open_layers):
        seen.append((shares, open_layers))
        return population

    monkeypatch.setattr(controller, "decide", decide)
    learned = learned_from(parents(50), generator().random(50))
    guides = generator().integers(2, size=20_000)
    variation.reinforced_mutation(generator(), parents(20_000), learned, guides, 0.5)
    ((shares, open_layers),) = seen
    count = open_layers.sum(axis=1)
    # The others open each layer with a chance that is uniform: every number is as likely.
    share = np.bincount(count, minlength=DEPTH + 1) / len(count)
    np.testing.assert_allclose(share[:DEPTH], 0.5 / (DEPTH + 1), atol=0.01)
    np.testing.assert_allclose(share[DEPTH], 0.5 + 0.5 / (DEPTH + 1), atol=0.01)
    assert (shares.argmax(axis=1) == guides).all()


@given(seed=st.integers(0, 1000), count=st.integers(1, 4))
def test_shares_sum_to_1_and_the_guide_has_the_largest(seed, count):
    guides = generator(seed).integers(count, size=9)
    shares = variation.guided_shares(generator(seed), guides, count)
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    assert (shares.argmax(axis=1) == guides).all()


def test_prior_mutation_draws_by_rank_of_nearness():
    """With parameters steering as MACs do: the target is 3 of 3, at a distance of 2, 1 or 0."""
    problem = make_problem(3.0, 3.0)
    parent = np.zeros((1, DEPTH), np.int32)
    children = variation.prior_mutation(generator(), parent.repeat(40_000, axis=0), problem)
    share = np.bincount(children.sum(axis=1), minlength=4)[1:] / len(children)
    odds = 1 / np.arange(1, 16)
    by_macs = np.array([odds[10:].sum(), odds[5:10].sum(), odds[:5].sum()]) / odds.sum()
    assert share[2] > share[1] > share[0]
    np.testing.assert_allclose(share, by_macs, atol=0.012)  # five standard errors


@pytest.mark.parametrize("start", [0, CHOICES - 1])
def test_prior_mutation_walks_into_the_band(start):
    problem = make_problem(7.0, 9.0)
    population = np.full((200, DEPTH), start, np.int32)

    def distance():
        macs = population.sum(axis=1)
        return np.maximum(7 - macs, macs - 9).clip(0).mean()

    before = distance()
    rng = generator()
    for _ in range(8):
        population = variation.prior_mutation(rng, population, problem)
    assert distance() < before / 5


def test_prior_mutation_avoids_too_many_parameters():
    population = np.zeros((500, DEPTH), np.int32)
    free = variation.prior_mutation(generator(), population, make_problem(0.0, 15.0))
    problem = make_problem(0.0, 15.0, params_max=90.0)  # asks for a sum of 10 or more
    bounded = variation.prior_mutation(generator(), population, problem)
    assert bounded.sum() > free.sum()


def test_prior_mutation_where_nothing_is_computed_is_random():
    objectives = (search.Objective("score", "max", 1.0),)
    problem = search.make_problem(np.ones((DEPTH, CHOICES)), objectives, {"pick_by": "score"})
    children = variation.prior_mutation(generator(2), parents(9), problem)
    np.testing.assert_array_equal(
        children, variation.random_mutation(generator(2), parents(9), EVERYTHING)
    )
