"""Look-ups, extremes and best paths against enumeration of every path."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scarlet_jax import cost
from scarlet_jax import space as spaces
from scarlet_jax.network_size import NetworkSize
from scarlet_jax.path_table import PathTable, best_paths

DEPTH, CHOICES = 4, 3
EVERYTHING = np.array(list(itertools.product(range(CHOICES), repeat=DEPTH)), np.int32)


def random_table(seed, is_skip):
    rng = np.random.default_rng(seed)
    layers = rng.normal(size=(DEPTH, CHOICES, DEPTH + 1))
    return PathTable(rng.normal(), layers, rng.normal(size=DEPTH + 1), np.array(is_skip))


def walk(table, path):
    """What a path costs, layer by layer."""
    total, source = table.stem, 0
    for layer, choice in enumerate(path):
        total += table.layers[layer, choice, source]
        source = source if table.is_skip[choice] else layer + 1
    return total + table.head[source]


skips = st.sampled_from([(False, False, True), (True, False, True), (False,) * 3, (True,) * 3])


@given(st.integers(0, 1000), skips)
def test_look_ups_and_extremes_equal_a_walk(seed, is_skip):
    table = random_table(seed, is_skip)
    walked = [walk(table, path) for path in EVERYTHING]
    np.testing.assert_allclose(table(EVERYTHING), walked)
    np.testing.assert_allclose(table.extremes(), (min(walked), max(walked)))


@given(st.integers(0, 1000), skips, st.integers(0, 2))
def test_best_paths_equal_enumeration(seed, is_skip, number):
    rng = np.random.default_rng(seed)
    tables = [random_table(seed + i, is_skip) for i in range(number)]
    gains, prices = rng.normal(size=(5, DEPTH, CHOICES)), rng.normal(size=(5, number))
    gains[0, 1, 0] = gains[1, 3, [0, 2]] = -np.inf  # forbidden
    paths = best_paths(gains, tables, prices)
    assert paths.dtype == np.int32
    layer = np.arange(DEPTH)

    def worth(buyer, population):
        paid = sum(
            price * table(population) for price, table in zip(prices[buyer], tables, strict=True)
        )
        return gains[buyer][layer, population].sum(axis=1) - paid

    for buyer, path in enumerate(paths):
        best = worth(buyer, EVERYTHING).max()
        np.testing.assert_allclose(worth(buyer, path[None]), best)


@pytest.mark.parametrize("skip", [True, False])
def test_extremes_of_counts_equal_enumeration(skip):
    space = spaces.make_space(
        name="all",
        widths=(8, 24, 8, 16),
        strides=(1, 2, 1, 1),
        expansions=(2,),
        kernels=(3, 5),
        skip=skip,
    )
    size = NetworkSize(image_size=16, num_classes=4)
    everything = np.array(list(itertools.product(range(space.num_choices), repeat=space.depth)))
    counts = cost.costs(space, everything, size)
    tables = cost.tables(space, size)
    for table, column in ((tables.macs, counts[:, 0]), (tables.params, counts[:, 1])):
        assert table.extremes() == (column.min(), column.max())
