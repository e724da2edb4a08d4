"""Look-ups, extremes and best paths against enumeration of every path."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from searches import every_path

from scarlet_jax import cost
from scarlet_jax import space as spaces
from scarlet_jax.network_size import NetworkSize
from scarlet_jax.path_table import PathTable, best_paths, possible_sources, sources

DEPTH, CHOICES = 4, 3


def random_table(seed, keeps_width, allowed):
    rng = np.random.default_rng(seed)
    layers = rng.normal(size=(DEPTH, CHOICES, DEPTH + 1))
    return PathTable(
        rng.normal(), layers, rng.normal(size=DEPTH + 1), np.array(keeps_width), allowed
    )


def walk(table, path):
    """What a path costs, layer by layer."""
    total, source = table.stem, 0
    for layer, choice in enumerate(path):
        total += table.layers[layer, choice, source]
        source = source if table.keeps_width[choice] else layer + 1
    return total + table.head[source]


EVERYTHING = np.ones((DEPTH, CHOICES), bool)
own_choices = st.sets(st.integers(0, CHOICES - 1), min_size=1)
choices = st.one_of(
    st.just(EVERYTHING),
    st.tuples(*[own_choices] * DEPTH).map(
        lambda layers: np.array([[i in own for i in range(CHOICES)] for own in layers])
    ),
)
skips = st.sampled_from([(False, False, True), (True, False, True), (False,) * 3, (True,) * 3])


@given(st.integers(0, 1000), skips, choices)
def test_look_ups_and_extremes_equal_a_walk(seed, keeps_width, allowed):
    table, paths = random_table(seed, keeps_width, allowed), every_path(allowed)
    walked = [walk(table, path) for path in paths]
    np.testing.assert_allclose(table(paths), walked)
    np.testing.assert_allclose(table.extremes(), (min(walked), max(walked)))


@given(skips, choices)
def test_possible_sources_are_those_of_all_paths(keeps_width, allowed):
    expected = np.zeros((DEPTH + 1, DEPTH + 1), bool)
    expected[0, 0] = True
    after = sources(every_path(allowed), np.array(keeps_width))
    expected[np.arange(1, DEPTH + 1), after] = True
    np.testing.assert_array_equal(possible_sources(allowed, np.array(keeps_width)), expected)


@given(st.integers(0, 1000), skips, choices, st.integers(0, 2))
def test_best_paths_equal_enumeration(seed, keeps_width, allowed, number):
    rng = np.random.default_rng(seed)
    tables = [random_table(seed + i, keeps_width, allowed) for i in range(number)]
    gains, prices = rng.normal(size=(5, DEPTH, CHOICES)), rng.normal(size=(5, number))
    gains[:, ~allowed] = -np.inf
    if allowed.all():
        gains[0, 1, 0] = gains[1, 3, [0, 2]] = -np.inf  # for one buyer alone
    paths = best_paths(gains, tables, prices)
    assert paths.dtype == np.int32
    layer = np.arange(DEPTH)

    def worth(buyer, population):
        paid = sum(
            price * table(population) for price, table in zip(prices[buyer], tables, strict=True)
        )
        return gains[buyer][layer, population].sum(axis=1) - paid

    for buyer, path in enumerate(paths):
        assert allowed[layer, path].all()
        best = worth(buyer, every_path(allowed)).max()
        np.testing.assert_allclose(worth(buyer, path[None]), best)


BLOCKS = ("E2K3", "E2K5")


@pytest.mark.parametrize(
    "own",
    [
        {"skip": "identity"},
        {"skip": "none"},
        {"layer_choices": (("E2K3",), BLOCKS, BLOCKS, ())},
        {"layer_choices": (("identity",), (), ("identity",), BLOCKS)},
    ],
)
def test_extremes_of_counts_equal_enumeration(own):
    space = spaces.make_space(
        name="all",
        widths=(8, 24, 8, 16),
        strides=(1, 2, 1, 1),
        expansions=(2,),
        kernels=(3, 5),
        **own,
    )
    size = NetworkSize(image_size=16, num_classes=4)
    counts = cost.costs(space, every_path(space.allowed), size)
    tables = cost.tables(space, size)
    for table, column in ((tables.macs, counts[:, 0]), (tables.params, counts[:, 1])):
        assert table.extremes() == (column.min(), column.max())
