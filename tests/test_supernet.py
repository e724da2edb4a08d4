import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scarlet_jax import space as spaces
from scarlet_jax import subnet, supernet
from scarlet_jax.errors import InputError
from scarlet_jax.nn import functional
from scarlet_jax.nn.layers import BatchStatistics
from scarlet_jax.space import S2
from scarlet_jax.supernet import network, population


def covering_paths(space):
    """Few paths in which every layer takes every choice."""
    choices = np.arange(space.num_choices)
    shifts = np.arange(space.depth) * 2
    return ((choices[:, None] + shifts) % space.num_choices).astype(np.int32)


def assert_close(ours, theirs, tolerance):
    scale = np.abs(theirs).max()
    np.testing.assert_allclose(ours, theirs, atol=tolerance * max(scale, 1e-3))


def test_every_choice_equals_its_extracted_network(tiny, tiny_supernet, forward, images):
    """The stand-alone network has no switch, no masks, no scan."""
    for path in covering_paths(tiny):
        logits = forward(tiny_supernet.params, tiny_supernet.stats, images, path)
        alone = subnet.extract(tiny, tiny_supernet, path)
        expected, _ = functional.apply(*alone, images)
        assert_close(logits, expected, 1e-5)
    assert forward._cache_size() == 1


def test_maps_of_layers_are_those_of_the_extracted_network(tiny, tiny_plan, tiny_supernet, images):
    """What one path may take over from the one before it."""
    params, stats = tiny_supernet.params, tiny_supernet.stats
    compute = jax.jit(maps_of_layers, static_argnums=0)
    for path in covering_paths(tiny):
        maps = compute(tiny_plan, params, stats, images, path)
        alone = subnet.extract(tiny, tiny_supernet, path)
        (_, expected), _ = functional.apply(*alone, images, features=True)
        assert len(maps) == tiny.depth
        for ours, theirs in zip(maps, expected, strict=True):
            assert_close(ours, theirs, 1e-5)


def maps_of_layers(plan, params, stats, images, path):
    own, own_stats = (supernet.gather(plan.stages, tree, path) for tree in (params, stats))
    x, _ = network.run_stem(plan, own, own_stats, images, None)
    nothing = [(maps, None) for maps in population._empty_maps(plan, x)]
    before = jnp.zeros(len(path), bool), nothing
    outputs = network.run_from_stem(plan, own, own_stats, x, path, None, before)[2]
    return [y for maps, _ in outputs for y in maps]


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
    path = np.array([0, 9, 9], np.int32)  # E2K3, then skips
    (_, stats), _ = path_gradient(tiny_supernet.params, tiny_supernet.stats, images, path)
    plan = tiny_supernet.graphdef
    changed = jax.tree.map(lambda a, b: a != b, stats, tiny_supernet.stats)
    for own, arrays in zip(plan.stages, changed["stages"], strict=True):
        for bundle in own.bundles:
            choices = [n for n, index in enumerate(bundle.index) if index >= 0]
            on_path = [[path[layer] == n for n in choices] for layer in own.layers]
            for leaf in jax.tree.leaves(arrays[bundle.name]):
                np.testing.assert_array_equal(leaf.any(axis=2), on_path)
    assert changed["head"]["bn"]["mean"].any()


def test_bfloat16_computes_near_float32(tiny, images):
    network = supernet.create(tiny, num_classes=5)
    half = supernet.create(tiny, num_classes=5, dtype="bfloat16")
    for ours, theirs in zip(
        jax.tree.leaves(half.params), jax.tree.leaves(network.params), strict=True
    ):
        assert ours.dtype == jnp.float32
        np.testing.assert_array_equal(ours, theirs)
    path = np.array([3, 9, 6], np.int32)
    alone, half_alone = (subnet.extract(tiny, n, path) for n in (network, half))
    (logits, maps), _ = functional.apply(*half_alone, images, features=True)
    (expected, _), _ = functional.apply(*alone, images, features=True)
    assert all(feature.dtype == jnp.bfloat16 for feature in maps)
    assert logits.dtype == jnp.float32
    assert_close(logits, expected, 0.05)


def test_equal_layers_share_a_stage():
    def layers_of_stages(widths, strides):
        space = spaces.make_space(name="n", widths=widths, strides=strides, choices=("E3K3",))
        plan = supernet.create(space, num_classes=2).graphdef
        return [len(stage.layers) for stage in plan.stages]

    strides = [layer.stride for layer in S2.layers]
    assert layers_of_stages(S2.widths[1:], strides) == [1, 1, 1, 3, 1, 3, 1, 3, 1, 3, 1]
    # Equal widths that halve the resolution each time cannot be scanned over.
    assert layers_of_stages((16, 16, 16), (2, 2, 2)) == [1, 1, 1]


def test_parameters_of_the_full_space():
    """The sum of all blocks, stem and head of S2 (45.36M), by the shapes alone.

    Stored is every block as one of expansion 6 and kernel 7: a third of what is stored pads.
    """
    network = jax.eval_shape(lambda: supernet.create(S2, num_classes=1000).params)
    stored = sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(network))
    padding = 0
    for c_in, layer in zip(S2.widths[:-1], S2.layers, strict=True):
        for choice in S2.choices[:-1]:
            own, most = c_in * choice.expansion, c_in * 6
            padding += (most - own) * (c_in + layer.width + 4) + 49 * most - choice.kernel**2 * own
            if choice.se:
                padding += 2 * (most * (most // 4) - own * (own // 4))
                padding += most + most // 4 - own - own // 4
    assert stored == 45_360_924 + padding
    assert padding / stored == pytest.approx(1 / 3, abs=0.02)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"stabilizer": "skip"}, "stabilizer 'skip'; allowed: els, none"),
        ({"selection": "best"}, "selection 'best'; allowed: auto, branch, masked"),
        ({"dtype": "float16"}, "dtype 'float16'; allowed: float32, bfloat16"),
        ({"num_classes": 0}, "num_classes is 0; allowed: 1 or more"),
        ({"channels": 0}, "channels is 0; allowed: 1 or more"),
    ],
)
def test_impossible_settings(tiny, settings, message):
    with pytest.raises(InputError, match=message):
        supernet.create(tiny, **{"num_classes": 5} | settings)


def test_a_supernet_needs_a_block():
    space = spaces.make_space(name="only-skip", widths=(8,), strides=(1,), choices=("identity",))
    with pytest.raises(InputError, match="space 'only-skip' has only a skip"):
        supernet.create(space, num_classes=5)


def test_impossible_subnets(tiny):
    with pytest.raises(InputError, match="skip 'els2'; allowed: identity, els, pad"):
        subnet.create(tiny, [0] * 3, num_classes=5, skip="els2")
    with pytest.raises(InputError, match=f"choice {tiny.num_choices} at layer 2"):
        subnet.create(tiny, [0, 0, tiny.num_choices], num_classes=5)
