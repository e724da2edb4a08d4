"""Crossover and the three mutations: laws that always hold, and frequencies."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scarlet_jax.search import variation

DEPTH, CHOICES = 5, 4


def generator(seed=0):
    return np.random.default_rng(seed)


def parents(count, seed=1):
    return generator(seed).integers(CHOICES, size=(count, DEPTH), dtype=np.int32)


def costs(architectures):
    """MACs grow with the choices' sum, parameters fall with it."""
    total = architectures.sum(axis=1)
    return np.stack([10 + total, 100 - total], axis=1)


def mutants(kind, rng, population):
    if kind == "random":
        return variation.random_mutation(rng, population, CHOICES)
    if kind == "reinforced":
        scores = rng.normal(size=(len(population), DEPTH, CHOICES))
        return variation.reinforced_mutation(rng, population, scores)
    return variation.prior_mutation(rng, population, CHOICES, costs, (12, 20), 0)


@pytest.mark.parametrize("kind", ["random", "reinforced", "prior"])
@given(seed=st.integers(0, 10_000), count=st.integers(0, 8))
def test_a_mutation_changes_exactly_one_layer(kind, seed, count):
    population = parents(count, seed)
    before = population.copy()
    children = mutants(kind, generator(seed), population)
    assert children.dtype == np.int32
    assert children.shape == population.shape
    assert ((children != population).sum(axis=1) == 1).all()
    assert ((children >= 0) & (children < CHOICES)).all()
    np.testing.assert_array_equal(population, before)
    np.testing.assert_array_equal(children, mutants(kind, generator(seed), population))


def test_crossover_takes_each_layer_from_either_parent_half_of_the_time():
    one, other = np.zeros((8000, DEPTH), np.int32), np.ones((8000, DEPTH), np.int32)
    children = variation.crossover(generator(), one, other)
    assert children.dtype == np.int32
    np.testing.assert_allclose(children.mean(axis=0), 0.5, atol=0.03)
    assert abs(np.corrcoef(children[:, 0], children[:, 1])[0, 1]) < 0.05
    same = parents(20)
    np.testing.assert_array_equal(variation.crossover(generator(), same, same), same)


def test_random_mutation_is_uniform_over_all_neighbours():
    parent = np.array([[0, 1, 2, 3, 0]], np.int32)
    children = variation.random_mutation(generator(), parent.repeat(30_000, axis=0), CHOICES)
    options, counts = np.unique(children, axis=0, return_counts=True)
    assert len(options) == DEPTH * (CHOICES - 1)
    np.testing.assert_allclose(counts / counts.sum(), 1 / len(options), rtol=0.1)


def test_neighbours_are_all_single_changes():
    population = parents(3)
    for parent, options in zip(population, variation.neighbours(population, CHOICES), strict=True):
        expected = {
            (*parent[:layer], choice, *parent[layer + 1 :])
            for layer in range(DEPTH)
            for choice in range(CHOICES)
            if choice != parent[layer]
        }
        assert {tuple(option) for option in options} == expected
        assert len(options) == len(expected)


def test_choice_scores_by_hand():
    architectures = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.int32)
    # Standardised 1, 1, -1, -1: in layer 0 choice 0 sums to 2, over the root of 2 + 1.
    scores = variation.choice_scores(architectures, [4, 4, 2, 2], 3)
    root = np.sqrt(3)
    np.testing.assert_allclose(scores, [[2 / root, -2 / root, 0], [0, 0, 0]])


def test_choice_scores_of_little_or_no_evidence_are_zero():
    zero = np.zeros((DEPTH, CHOICES))
    np.testing.assert_array_equal(variation.choice_scores(parents(0), [], CHOICES), zero)
    np.testing.assert_array_equal(variation.choice_scores(parents(3), [1, 1, 1], CHOICES), zero)
    np.testing.assert_array_equal(variation.choice_scores(parents(1), [np.nan], CHOICES), zero)


def test_choice_scores_leave_out_what_could_not_be_scored():
    population, values = parents(30), generator().random(30)
    values[::3] = np.nan
    scored = ~np.isnan(values)
    np.testing.assert_array_equal(
        variation.choice_scores(population, values, CHOICES),
        variation.choice_scores(population[scored], values[scored], CHOICES),
    )


def test_choice_scores_find_the_useful_choices():
    utility = generator(3).normal(size=(DEPTH, CHOICES))
    population = parents(2000)
    scores = variation.choice_scores(
        population, utility[np.arange(DEPTH), population].sum(axis=1), CHOICES
    )
    centred = utility - utility.mean(axis=1, keepdims=True)
    assert np.corrcoef(scores.ravel(), centred.ravel())[0, 1] > 0.98


def test_reinforced_mutation_follows_the_odds():
    parent = np.array([0, 2, 1, 3, 0], np.int32)
    scores = generator(5).normal(size=(DEPTH, CHOICES))
    count = 60_000
    children = variation.reinforced_mutation(
        generator(), parent[None].repeat(count, axis=0), scores[None].repeat(count, axis=0)
    )
    softmax = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    odds = softmax / softmax[np.arange(DEPTH), parent][:, None]
    odds[np.arange(DEPTH), parent] = 0
    seen = np.zeros((DEPTH, CHOICES))
    rows, layers = np.nonzero(children != parent)
    np.add.at(seen, (layers, children[rows, layers]), 1)
    np.testing.assert_allclose(seen / count, odds / odds.sum(), atol=0.01)


def test_reinforced_mutation_uses_each_parents_own_guide():
    scores = np.full((2, DEPTH, CHOICES), -50.0)
    scores[0, 1, 3] = scores[1, 4, 2] = 50
    children = variation.reinforced_mutation(generator(), np.zeros((2, DEPTH), np.int32), scores)
    assert children.tolist() == [[0, 3, 0, 0, 0], [0, 0, 0, 0, 2]]


def test_prior_mutation_draws_by_rank_of_nearness():
    parent = np.zeros((1, 2), np.int32)
    # Neighbours cost 11, 12, 13 in each of two layers; the target is 13.
    children = variation.prior_mutation(
        generator(), parent.repeat(40_000, axis=0), 4, costs, (13, 13), 0
    )
    share = np.bincount(children.sum(axis=1), minlength=4)[1:] / len(children)
    odds = 1 / np.arange(1, 7)
    expected = np.array([odds[4:].sum(), odds[2:4].sum(), odds[:2].sum()]) / odds.sum()
    np.testing.assert_allclose(share, expected, atol=0.01)


@pytest.mark.parametrize("start", [0, CHOICES - 1])
def test_prior_mutation_walks_into_the_band(start):
    band = (17, 19)
    population = np.full((200, DEPTH), start, np.int32)

    def distance():
        macs = costs(population)[:, 0]
        return np.maximum(band[0] - macs, macs - band[1]).clip(0).mean()

    before = distance()
    rng = generator()
    for _ in range(8):
        population = variation.prior_mutation(rng, population, CHOICES, costs, band, 0)
    assert distance() < before / 5


def test_prior_mutation_avoids_too_many_parameters():
    population = np.zeros((500, DEPTH), np.int32)
    free = variation.prior_mutation(generator(), population, CHOICES, costs, (10, 11), 0)
    bound = variation.prior_mutation(generator(), population, CHOICES, costs, (10, 11), 10)
    assert costs(bound)[:, 1].mean() < costs(free)[:, 1].mean()
