"""A path with its skips folded is the same function, and a smaller network."""

import itertools
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import plausible
from test_cost import macs_of_jaxpr

from scarlet_jax import cost, derived, subnet
from scarlet_jax import space as spaces
from scarlet_jax.blocks import skips
from scarlet_jax.derived import Fold
from scarlet_jax.errors import InputError
from scarlet_jax.network_size import NetworkSize
from scarlet_jax.nn import functional, layers
from scarlet_jax.nn.convolution import native
from scarlet_jax.space import S1, S2

GOLDEN = json.loads((Path(__file__).parent / "golden" / "scarlet_models.json").read_text())


def difference(ours, theirs):
    """The largest difference in units of the largest value."""
    return np.abs(np.asarray(ours) - np.asarray(theirs)).max() / np.abs(theirs).max()


def size_of(network):
    return sum(leaf.size for leaf in jax.tree.leaves(network.params))


def skip_of(space):
    return next(number for number, choice in enumerate(space.choices) if choice.is_skip)


def with_skips(space, rng, layers):
    """A random path that skips these layers alone."""
    blocks = np.delete(np.arange(space.num_choices), skip_of(space))
    path = rng.choice(blocks, size=space.depth)
    path[list(layers)] = skip_of(space)
    return path


def test_every_pattern_of_skips_is_the_supernet(tiny, tiny_supernet, forward, images):
    """At stride 2 and widening, in runs, before a shortcut, before the head, none and all."""
    rng = np.random.default_rng(0)
    patterns = itertools.product([False, True], repeat=tiny.depth)
    for skipped in (np.flatnonzero(pattern) for pattern in patterns):
        path = with_skips(tiny, rng, skipped)
        expected = forward(tiny_supernet.params, tiny_supernet.stats, images, path)
        alone = subnet.extract(tiny, tiny_supernet, path)
        folded = subnet.fold(tiny, alone, image_size=11)
        logits, _ = functional.apply(*folded.network, images)
        assert difference(logits, expected) < 1e-5
        assert size_of(alone) == folded.before.params
        assert size_of(folded.network) == folded.after.params
        assert folded.after.macs <= folded.before.macs
        assert [layer for fold in folded.folds for layer in fold.skips] == skipped.tolist()


# At stride-2 and widening layers, in runs, before shortcuts and blocks without one, at the end.
SKIPPED = [
    range(19),
    [0, 2, 6, 10, 14, 18],
    [0, 1, 2, 3, 5, 9, 10, 13, 14, 15, 17, 18],
]


@pytest.mark.parametrize("space", [S1, S2])
@pytest.mark.parametrize("skipped", SKIPPED)
def test_paths_of_the_papers_spaces(space, skipped):
    rng = np.random.default_rng(len(skipped))
    path = with_skips(space, rng, skipped)
    alone = plausible(subnet.create(space, path, num_classes=7, skip="els"), rng)
    folded = subnet.fold(space, alone)
    images = rng.standard_normal((2, 33, 33, 3)).astype(np.float32)

    @jax.jit
    def run(one, two, images):
        before, _ = functional.apply(alone.graphdef, *one, images)
        after, _ = functional.apply(folded.network.graphdef, *two, images)
        return before, after

    expected, logits = run(alone[1:], folded.network[1:], images)
    assert np.isfinite(expected).all()
    assert difference(logits, expected) < 1e-4
    assert folded.after.macs < folded.before.macs
    assert folded.after.params < folded.before.params


def test_all_identity_folds_to_the_published_counts():
    """Every stabilizer goes into the head: what is left is the paper's all-identity network."""
    path = spaces.parse(S2, "all-identity")
    folded = subnet.fold(S2, subnet.create(S2, path, num_classes=1000, skip="els"))
    golden = GOLDEN["models"]["all-identity"]
    assert folded.folds == [Fold(tuple(range(19)), None, False)]
    assert folded.after == cost.Cost(golden["macs_224"], golden["params"])


def test_where_skips_go_by_hand():
    """S1's layers 2 (stride 2), 3 and 8 (equal), 10 (widening) and 18 (the last)."""
    path = np.zeros(19, int)
    path[[2, 3, 8, 10, 13, 18]] = 6
    folds = derived.folds(derived.layers(S1, path, "folded"))
    assert folds == [
        Fold((2, 3), 4, True),
        Fold((8,), 9, True),
        Fold((10,), 11, True),
        Fold((13,), 14, False),
        Fold((18,), None, False),
    ]
    assert str(folds[0]) == "skips 2, 3 into layer 4, and onto its shortcut"
    assert str(folds[-1]) == "skips 18 into the head"


@pytest.mark.parametrize("skip", ["els", "folded", "pad", "sliced"])
def test_counts_are_those_of_the_network(skip, monkeypatch):
    """Against its arrays, and a walk over its program."""
    for module in (layers, skips):
        monkeypatch.setattr(module, "convolution", native)
    monkeypatch.setattr(layers, "mean_of_pixels", lambda x: x.mean((1, 2)))
    path = with_skips(S2, np.random.default_rng(3), SKIPPED[-1])
    network = subnet.create(S2, path, num_classes=11, skip=skip)
    count = cost.of_network(S2, path, skip, NetworkSize(image_size=65, num_classes=11))
    assert size_of(network) == count.params
    image = jax.ShapeDtypeStruct((1, 65, 65, 3), jnp.float32)
    program = jax.make_jaxpr(lambda x: functional.apply(*network, x)[0])(image)
    assert macs_of_jaxpr(program.jaxpr) == count.macs


def test_counts_of_identities_are_those_of_the_tables():
    size = NetworkSize(image_size=96, num_classes=3)
    for path in spaces.sample(S2, np.random.default_rng(0), 20):
        count = cost.of_network(S2, path, "identity", size)
        expected = cost.costs(S2, path, size)
        assert [count.macs, count.params] == expected.tolist()


def test_what_cannot_be_folded(tiny):
    derived_network = subnet.create(tiny, [0, skip_of(tiny), 0], num_classes=2)
    with pytest.raises(InputError, match="the network's skips are 'identity'; foldable: els, pad"):
        subnet.fold(tiny, derived_network)
    path = subnet.create(S2, [0] * 18 + [skip_of(S2)], num_classes=2, skip="els")
    with pytest.raises(InputError, match="architecture of shape"):
        subnet.fold(tiny, path)
    with pytest.raises(InputError, match="skip 'none'; allowed: identity, els, pad, folded, sl"):
        subnet.create(tiny, [0, 0, 0], num_classes=2, skip="none")
