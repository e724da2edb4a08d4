"""Against plain slices of NumPy."""

import jax
import numpy as np
import pytest
from conftest import randomised
from stacked import by_choice

from scarlet_jax import space as spaces
from scarlet_jax import stacks, subnet, supernet
from scarlet_jax.nn import functional
from scarlet_jax.space import SKIP, Choice

# No block of the space is as long as a row: none that is wide has SE.
CHOICES = (Choice(4, 3), SKIP, Choice(2, 5, se=True), Choice(2, 3))


@pytest.fixture(scope="module")
def network():
    space = spaces.Space(
        name="odd",
        layers=(spaces.Layer(8, 2), spaces.Layer(8, 1), spaces.Layer(8, 1)),
        choices=CHOICES,
        stem_width=8,
        separable_width=6,
        head_width=8,
    )
    return supernet.create(space, num_classes=2)


def test_narrow_blocks_with_se_beside_wide_ones_without(network):
    images = np.random.default_rng(0).standard_normal((2, 9, 9, 3)).astype(np.float32)
    run = jax.jit(lambda params, path: supernet.apply(plan, params, stats, images, path)[0])
    plan, params, stats = randomised(network)
    for path in ((0, 1, 2), (2, 2, 0)):
        alone = subnet.extract(plan.space, functional.Network(plan, params, stats), path)
        expected, _ = functional.apply(*alone, images)
        np.testing.assert_allclose(run(params, np.array(path, np.int32)), expected, atol=1e-5)


@pytest.mark.parametrize("path", [(0, 1, 2), (2, 0, 3), (1, 1, 0), (3, 2, 2)])
def test_a_path_is_taken_out_and_written_back(network, path):
    plan, architecture = network.graphdef, np.array(path, np.int32)
    whole = {"params": network.params, "stats": network.stats}
    part = stacks.take(plan.index, whole, architecture)
    changed = jax.tree.map(lambda leaf: leaf + 1, part)
    back = stacks.put(plan.index, whole, changed, architecture)
    for name, kinds in (("params", ("kernel", "vector")), ("stats", ("statistic",))):
        for number, stage in enumerate(plan.stages):
            for kind in kinds:
                old, new = (
                    by_choice(plan, number, tree[name]["stages"][number], kind)
                    for tree in (whole, back)
                )
                rows = np.asarray(part[name]["stages"][number][kind])
                for i, layer in enumerate(stage.layers):
                    for choice in CHOICES:
                        on_path = choice == CHOICES[path[layer]]
                        np.testing.assert_array_equal(new[choice][i], old[choice][i] + on_path)
                        if on_path:
                            own = old[choice][i]
                            np.testing.assert_array_equal(rows[i, : own.size], own)
                            assert not rows[i, own.size :].any()


def test_a_row_in_a_stack_is_in_range(network):
    """Slices are not checked when they run."""
    for number, stage in enumerate(network.graphdef.stages):
        for arrays in (network.params, network.stats):
            for kind, stack in arrays["stages"][number].items():
                (place,) = (place for place in stage.stacks if place.kind == kind)
                assert max(place.starts) + place.longest <= stack.shape[1]
                assert place.longest >= max(place.sizes)
