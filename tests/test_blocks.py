"""A bank's blocks against plain ones: one block, XLA's grouped convolution, autodiff."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scarlet_jax.nn import blocks, functional
from scarlet_jax.nn.convolution import native_depthwise
from scarlet_jax.nn.layers import BatchStatistics
from scarlet_jax.space import product_choices

C_IN = 4
CHOICES = product_choices(expansions=(2,), kernels=(3, 5, 7), se=(False, True), skip=False)
WITH_SE = [choice for choice in CHOICES if choice.se]


def loss(graphdef, dtype, cotangent, params, stats, x, *which):
    batch = BatchStatistics(rate=0.5)
    y, stats = functional.apply(graphdef, params, stats, x.astype(dtype), batch, *which)
    assert y.dtype == dtype
    return (y.astype(jnp.float32) * cotangent).sum(), (y, stats)


def gradient(*static):
    """`(params, stats, x, ...) -> ((loss, (y, stats)), (gradients, x's gradient))`."""
    return jax.jit(jax.value_and_grad(partial(loss, *static), argnums=(0, 2), has_aux=True))


def of_block(tree, choice):
    """A choice's arrays out of a bank's, by hand; of SE the first where it has none."""
    number = CHOICES.index(choice)
    with_se = WITH_SE.index(choice) if choice.se else 0
    return jax.tree_util.tree_map_with_path(
        lambda path, leaf: leaf[0, with_se if path[0].key == "se" else number], tree
    )


def as_plain(tree, choice):
    """The arrays of the plain block: its own taps, and SE if it has it."""
    border = (7 - choice.kernel) // 2
    inner = slice(border, border + choice.kernel)
    plain = {name: part for name, part in tree.items() if name != "se" or choice.se}
    if "depthwise" in plain:
        plain["depthwise"] = {"kernel": plain["depthwise"]["kernel"][inner, inner]}
    return plain


def error(ours, theirs):
    ours, theirs = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
    return np.linalg.norm(ours - theirs) / np.linalg.norm(theirs)


def make_bank(c_out, stride, rng):
    return functional.split(
        blocks.InvertedBottleneck(C_IN, c_out, stride, CHOICES, repeats=1, rng=rng)
    )


def make_data(size, stride, c_out, rng):
    out = -(-size // stride)
    return tuple(
        rng.standard_normal(shape).astype(np.float32)
        for shape in ((3, size, size, C_IN), (3, out, out, c_out))
    )


def plain_gradient(monkeypatch, choice, dtype, cotangent, stride, params, stats, x):
    plain = blocks.InvertedBottleneck(
        C_IN, cotangent.shape[-1], stride, [choice], rng=np.random.default_rng(0)
    )
    with monkeypatch.context() as patched:
        patched.setattr(blocks, "depthwise", native_depthwise)
        return gradient(functional.split(plain).graphdef, dtype, cotangent)(
            *(as_plain(tree, choice) for tree in (params, stats)), x
        )


def which(choice):
    return [3, 5, 7].index(choice.kernel), int(choice.se)


def errors(found, expected):
    return jax.tree.leaves(jax.tree.map(error, found, expected))


@pytest.mark.parametrize(
    ("size", "stride", "c_out"), [(7, 1, C_IN), (8, 1, 6), (7, 2, 6), (8, 2, 6)]
)
def test_values_and_gradients_of_every_choice(size, stride, c_out, monkeypatch):
    rng = np.random.default_rng(size)
    bank = make_bank(c_out, stride, rng)
    x, cotangent = make_data(size, stride, c_out, rng)
    ours = gradient(bank.graphdef, "float32", cotangent)
    for choice in CHOICES:
        params, stats = (of_block(tree, choice) for tree in (bank.params, bank.stats))
        expected = plain_gradient(
            monkeypatch, choice, "float32", cotangent, stride, params, stats, x
        )
        values, (gradients, pulled) = ours(params, stats, x, *which(choice))
        own = as_plain(gradients, choice)
        assert max(errors((values, (own, pulled)), expected)) < 1e-4
        # Zeros around the taps, and SE that the choice has not, get nothing.
        for name in ("se", "depthwise"):
            all_of_it, of_own = (
                sum(float(jnp.abs(leaf).sum()) for leaf in jax.tree.leaves(tree.get(name, ())))
                for tree in (gradients, own)
            )
            assert all_of_it == pytest.approx(of_own, rel=1e-6)


@pytest.mark.parametrize("choice", [CHOICES[0], CHOICES[-1]], ids=lambda choice: choice.name)
def test_bfloat16_is_as_near_to_float32_as_plain_bfloat16(choice, monkeypatch):
    rng = np.random.default_rng(0)
    bank = make_bank(6, 2, rng)
    x, cotangent = make_data(8, 2, 6, rng)
    params, stats = (of_block(tree, choice) for tree in (bank.params, bank.stats))
    exact, plain = (
        plain_gradient(monkeypatch, choice, dtype, cotangent, 2, params, stats, x)
        for dtype in ("float32", "bfloat16")
    )
    ours = gradient(bank.graphdef, "bfloat16", cotangent)
    values, (gradients, pulled) = ours(params, stats, x, *which(choice))
    found = values, (as_plain(gradients, choice), pulled)
    assert max(errors(found, exact)) < 1.5 * max(errors(plain, exact))
