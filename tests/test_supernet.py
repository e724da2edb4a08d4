import jax
import jax.numpy as jnp
import numpy as np
import pytest
from stacked import by_choice

from scarlet_jax import space as spaces
from scarlet_jax import subnet, supernet
from scarlet_jax.errors import InputError
from scarlet_jax.nn import functional
from scarlet_jax.nn.layers import BatchStatistics
from scarlet_jax.space import S2


def covering_paths(space):
    """Few paths in which every layer takes every choice."""
    choices = np.arange(space.num_choices)
    shifts = np.arange(space.depth) * 2
    return ((choices[:, None] + shifts) % space.num_choices).astype(np.int32)


def assert_close(ours, theirs, tolerance):
    scale = np.abs(theirs).max()
    np.testing.assert_allclose(ours, theirs, atol=tolerance * max(scale, 1e-3))


def test_every_choice_equals_its_extracted_network(tiny, tiny_supernet, forward, images):
    """The stand-alone network runs other code: no switch, no stacks, no scan."""
    for path in covering_paths(tiny):
        logits, maps = forward(tiny_supernet.params, tiny_supernet.stats, images, path)
        alone = subnet.extract(tiny, tiny_supernet, path)
        (expected, expected_maps), _ = functional.apply(*alone, images, features=True)
        assert_close(logits, expected, 1e-5)
        assert len(maps) == tiny.depth
        for ours, theirs in zip(maps, expected_maps, strict=True):
            assert_close(ours, theirs, 1e-5)
    assert forward._cache_size() == 1


def test_gradients_are_those_of_the_extracted_network(tiny, tiny_supernet, path_gradient, images):
    """Blocks on the path get its gradient; all others get none."""

    def loss(params, stats, graphdef):
        logits, stats = functional.apply(graphdef, params, stats, images, BatchStatistics(rate=0.1))
        return (logits * logits).mean(), stats

    gradient = jax.jit(jax.value_and_grad(loss, has_aux=True), static_argnums=2)

    for path in spaces.sample(tiny, np.random.default_rng(5), 2):
        (value, stats), gradients = path_gradient(
            tiny_supernet.params, tiny_supernet.stats, images, path
        )
        alone = subnet.extract(tiny, tiny_supernet, path)
        (expected_value, expected_stats), expected = gradient(
            alone.params, alone.stats, alone.graphdef
        )
        assert_close(value, expected_value, 1e-5)
        found = subnet.extract(tiny, tiny_supernet._replace(params=gradients, stats=stats), path)
        for ours, theirs in ((found.params, expected), (found.stats, expected_stats)):
            scale = max(float(np.abs(leaf).max()) for leaf in jax.tree.leaves(theirs))
            for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
                np.testing.assert_allclose(a, b, atol=1e-4 * scale)
        on_path, anywhere = (
            sum(float(np.abs(leaf).sum()) for leaf in jax.tree.leaves(tree))
            for tree in (expected, gradients)
        )
        np.testing.assert_allclose(anywhere, on_path, rtol=1e-4)


def test_statistics_change_on_the_path_alone(tiny, tiny_supernet, path_gradient, images):
    path = np.array([0, 8, 8], np.int32)  # E2K3, then skips
    (_, stats), _ = path_gradient(tiny_supernet.params, tiny_supernet.stats, images, path)
    plan = tiny_supernet.graphdef
    changed = jax.tree.map(lambda a, b: a != b, stats, tiny_supernet.stats)
    for stage, layers in enumerate(changed["stages"]):
        for choice, own in by_choice(plan, stage, layers, "statistic").items():
            on_path = [tiny.choices[path[layer]] == choice for layer in plan.stages[stage].layers]
            np.testing.assert_array_equal(own.any(1), np.array(on_path) & (not choice.is_skip))
    assert changed["head"]["bn"]["mean"].any()


def test_bfloat16_computes_near_float32(tiny, images):
    network = supernet.create(tiny, num_classes=5)
    half = supernet.create(tiny, num_classes=5, dtype="bfloat16")
    for ours, theirs in zip(
        jax.tree.leaves(half.params), jax.tree.leaves(network.params), strict=True
    ):
        assert ours.dtype == jnp.float32
        np.testing.assert_array_equal(ours, theirs)
    path = np.array([3, 8, 6], np.int32)
    alone, half_alone = (subnet.extract(tiny, n, path) for n in (network, half))
    (logits, maps), _ = functional.apply(*half_alone, images, features=True)
    (expected, _), _ = functional.apply(*alone, images, features=True)
    assert all(feature.dtype == jnp.bfloat16 for feature in maps)
    assert logits.dtype == jnp.float32
    assert_close(logits, expected, 0.05)


def test_equal_layers_share_a_stage():
    counts = [len(layers) for _, layers in supernet.stage_shapes(S2)]
    assert counts == [1, 1, 1, 3, 1, 3, 1, 3, 1, 3, 1]
    # Equal widths that halve the resolution each time cannot be scanned over.
    halving = spaces.make_space(name="h", widths=(16, 16, 16), strides=(2, 2, 2))
    assert [len(layers) for _, layers in supernet.stage_shapes(halving)] == [1, 1, 1]


def test_parameters_of_the_full_space():
    """The sum of all blocks, stem and head of S2 (45.36M), by the shapes alone.

    Stored are zeros as well: around the taps of smaller kernels, and in SE's of expansion 3 for
    as many squeezed channels as expansion 6 has.
    """
    network = jax.eval_shape(lambda: supernet.create(S2, num_classes=1000).params)
    inputs = [16, *(layer.width for layer in S2.layers[:-1])]
    borders = sum(
        width * choice.expansion * (7**2 - choice.kernel**2)
        for width in inputs
        for choice in S2.choices
    )
    room = sum(
        2 * (width * 3) * (width * 6 // 4 - width * 3 // 4)
        for width in inputs
        for choice in S2.choices
        if choice.se and choice.expansion == 3
    )
    stored = sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(network))
    assert stored == 45_360_924 + borders + room


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"stabilizer": "skip"}, "stabilizer 'skip'; allowed: els, none"),
        ({"dtype": "float16"}, "dtype 'float16'; allowed: float32, bfloat16"),
        ({"num_classes": 0}, "num_classes 0"),
    ],
)
def test_impossible_settings(tiny, settings, message):
    with pytest.raises(InputError, match=message):
        supernet.create(tiny, **{"num_classes": 5} | settings)


def test_a_supernet_needs_a_block():
    space = spaces.make_space(name="only-skip", widths=(8,), strides=(1,), expansions=())
    with pytest.raises(InputError, match="space 'only-skip' has only a skip"):
        supernet.create(space, num_classes=5)


def test_a_gradient_needs_a_batch(tiny, tiny_supernet, images):
    def loss(params):
        path = np.zeros(tiny.depth, np.int32)
        plan, stats = tiny_supernet.graphdef, tiny_supernet.stats
        return supernet.apply(plan, params, stats, images, path)[0].sum()

    with pytest.raises(ValueError, match="statistics of a batch"):
        jax.grad(loss)(tiny_supernet.params)


def test_impossible_subnets(tiny):
    with pytest.raises(InputError, match="skip 'els2'; allowed: identity, els, pad"):
        subnet.create(tiny, [0] * 3, num_classes=5, skip="els2")
    with pytest.raises(InputError, match="choice 9 at layer 2"):
        subnet.create(tiny, [0, 0, 9], num_classes=5)
