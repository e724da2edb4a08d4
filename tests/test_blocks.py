"""A bank's blocks against plain ones: one block, XLA's grouped convolution, autodiff."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scarlet_jax import space as spaces
from scarlet_jax import stacks, subnet, supernet
from scarlet_jax.nn import bank, blocks, functional
from scarlet_jax.nn.convolution import native_depthwise
from scarlet_jax.nn.layers import BatchStatistics
from scarlet_jax.nn.switch import switch

C_IN = 4
BATCH = BatchStatistics(rate=0.5)
KERNELS = (3, 5, 7)
EXPANSIONS = (2, 4)  # one part, two parts


def make_supernet(c_out, stride):
    """Of one layer: its bank, with weights."""
    space = spaces.make_space(
        name="one layer",
        widths=(c_out,),
        strides=(stride,),
        expansions=EXPANSIONS,
        kernels=KERNELS,
        se=(False, True),
        separable_width=C_IN,
    )
    return space, supernet.create(space, num_classes=2)


def weighted(y, cotangent):
    return (y.astype(jnp.float32) * cotangent).sum()


def bank_gradient(network, dtype, cotangent):
    """`(params, stats, x, path, indices) -> ((loss, (y, stats)), (gradients, x's gradient))`."""
    plan = network.graphdef

    def loss(params, x, stats, path, indices):
        part, own = stacks.take(plan.index, (params, stats), path)
        rows, own_rows = (jax.tree.map(lambda leaf: leaf[0], p["stages"][0]) for p in (part, own))
        chosen = bank.Chosen(own_rows, BATCH, *indices)
        ways = [bank.way(plan.stages[0].bank)]
        y, own_rows = switch(ways, 0, (rows, x.astype(dtype)), chosen)
        own["stages"][0] = jax.tree.map(lambda row: row[None], own_rows)
        assert y.dtype == dtype
        return weighted(y, cotangent), (y, stacks.put(plan.index, stats, own, path))

    gradient = jax.value_and_grad(loss, argnums=(0, 1), has_aux=True)
    return jax.jit(lambda params, stats, x, *which: gradient(params, x, stats, *which))


def plain_gradient(monkeypatch, choice, dtype, cotangent, stride, params, stats, x):
    plain = blocks.InvertedBottleneck(
        C_IN, cotangent.shape[-1], stride, [choice], rng=np.random.default_rng(0)
    )
    graphdef = functional.split(plain).graphdef

    def loss(params, x):
        y, new = functional.apply(graphdef, params, stats, x.astype(dtype), BATCH)
        return weighted(y, cotangent), (y, new)

    with monkeypatch.context() as patched:
        patched.setattr("scarlet_jax.nn.layers.depthwise", native_depthwise)
        return jax.jit(jax.value_and_grad(loss, argnums=(0, 1), has_aux=True))(params, x)


def error(ours, theirs):
    ours, theirs = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
    return np.linalg.norm(ours - theirs) / np.linalg.norm(theirs)


def errors(found, expected):
    return jax.tree.leaves(jax.tree.map(error, found, expected))


def make_data(size, stride, c_out, rng):
    out = -(-size // stride)
    return tuple(
        rng.standard_normal(shape).astype(np.float32)
        for shape in ((3, size, size, C_IN), (3, out, out, c_out))
    )


def block_of(space, network, path):
    """The arrays of the path's block alone."""
    alone = subnet.extract(space, network, path)
    return tuple(tree["blocks"][0] for tree in (alone.params, alone.stats))


def indices(choice):
    numbers = choice.expansion // 2, KERNELS.index(choice.kernel), choice.se
    return tuple(jnp.int32(number) for number in numbers)


@pytest.mark.parametrize(
    ("size", "stride", "c_out"), [(7, 1, C_IN), (8, 1, 6), (7, 2, 6), (8, 2, 6)]
)
def test_values_and_gradients_of_every_choice(size, stride, c_out, monkeypatch):
    space, network = make_supernet(c_out, stride)
    x, cotangent = make_data(size, stride, c_out, np.random.default_rng(size))
    ours = bank_gradient(network, "float32", cotangent)
    for number, choice in enumerate(space.choices[:-1]):
        path = np.array([number], np.int32)
        (loss, (y, stats)), (gradients, pulled) = ours(
            network.params, network.stats, x, path, indices(choice)
        )
        found = network._replace(params=gradients, stats=stats)
        gradient, stats = block_of(space, found, path)
        expected = plain_gradient(
            monkeypatch,
            choice,
            "float32",
            cotangent,
            stride,
            *block_of(space, network, path),
            x,
        )
        assert max(errors(((loss, (y, stats)), (gradient, pulled)), expected)) < 1e-4
        # Other blocks get nothing, nor does room that the block does not use.
        everywhere, own = (
            sum(float(jnp.abs(leaf).sum()) for leaf in jax.tree.leaves(tree))
            for tree in (gradients["stages"], gradient)
        )
        assert everywhere == pytest.approx(own, rel=1e-5)


@pytest.mark.parametrize("number", [0, -2])
def test_bfloat16_is_as_near_to_float32_as_plain_bfloat16(number, monkeypatch):
    space, network = make_supernet(6, 2)
    choice = space.choices[number]
    path = np.array([space.choices.index(choice)], np.int32)
    x, cotangent = make_data(8, 2, 6, np.random.default_rng(0))
    exact, plain = (
        plain_gradient(monkeypatch, choice, dtype, cotangent, 2, *block_of(space, network, path), x)
        for dtype in ("float32", "bfloat16")
    )
    (loss, (y, stats)), (gradients, pulled) = bank_gradient(network, "bfloat16", cotangent)(
        network.params, network.stats, x, path, indices(choice)
    )
    gradient, stats = block_of(space, network._replace(params=gradients, stats=stats), path)
    found = (loss, (y, stats)), (gradient, pulled)
    assert max(errors(found, exact)) < 1.5 * max(errors(plain, exact))


def test_a_part_is_a_slice_of_the_expanded_channels():
    """By hand, and back; SE of the narrower block has room for the squeezed channels of three."""
    choices = spaces.product_choices(expansions=(2,), kernels=(3,), se=(True,), skip=False)
    block = blocks.InvertedBottleneck(8, 6, 1, choices, repeats=1, rng=np.random.default_rng(0))
    params = functional.split(block).params
    parted = bank.to_parts(params, parts=2, most=3, kernel=5)
    for part in range(2):
        channels, units = slice(8 * part, 8 * part + 8), slice(2 * part, 2 * part + 2)
        own = jax.tree.map(lambda leaf, part=part: leaf[0, 0, part], {**parted["part"]})
        np.testing.assert_array_equal(
            own["expand"]["kernel"], params["expand"]["kernel"][0, 0, :, channels]
        )
        np.testing.assert_array_equal(
            own["project"]["kernel"], params["project"]["kernel"][0, 0, channels]
        )
        np.testing.assert_array_equal(
            own["depthwise"]["kernel"][1:4, 1:4],
            params["depthwise"]["kernel"][0, 0, ..., channels],
        )
        se = jax.tree.map(lambda leaf, part=part: leaf[0, 0, part], parted["se"]["se"])
        assert se["squeeze"]["kernel"].shape == (8, 6)
        assert not np.any(se["excite"]["kernel"][4:])
        np.testing.assert_array_equal(
            se["excite"]["kernel"][:4], params["se"]["excite"]["kernel"][0, 0, :, channels]
        )
        np.testing.assert_array_equal(
            se["squeeze"]["bias"], params["se"]["squeeze"]["bias"][0, 0, units]
        )
