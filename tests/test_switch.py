import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scarlet_jax.nn.switch import keep_nothing, switch


def sine(operands, fixed, keep):
    product = keep(operands[0] @ operands[1])  # 3 x 3
    return jnp.sin(product) * fixed, operands[0].sum()


def nothing_kept(operands, fixed, keep):
    return operands[1] + fixed, fixed


def narrow(operands, fixed, keep):
    """Keeps a smaller array than the first branch, and one more."""
    first = keep(jnp.tanh(operands[1])[:, :2])  # 3 x 2
    second = keep(first @ operands[0][:2])
    return second * second, jnp.float32(3)


BRANCHES = [sine, nothing_kept, narrow]


@pytest.fixture
def operands():
    rng = np.random.default_rng(0)
    return tuple(jnp.asarray(rng.standard_normal((3, 3)), jnp.float32) for _ in range(2))


@pytest.mark.parametrize("index", range(3))
def test_value_and_gradient_are_those_of_the_taken_branch(index, operands):
    fixed = jnp.float32(1.5)
    branch = BRANCHES[index]
    outputs, extras = switch(BRANCHES, jnp.int32(index), operands, fixed)
    expected, expected_extras = branch(operands, fixed, keep_nothing)
    np.testing.assert_allclose(outputs, expected, rtol=1e-6)
    np.testing.assert_allclose(extras, expected_extras, rtol=1e-6)

    def through_switch(operands):
        return (switch(BRANCHES, jnp.int32(index), operands, fixed)[0] ** 2).sum()

    def directly(operands):
        return (branch(operands, fixed, keep_nothing)[0] ** 2).sum()

    for ours, theirs in zip(
        jax.grad(through_switch)(operands), jax.grad(directly)(operands), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


def test_keeps_what_it_is_told_to(operands):
    """Of all residuals those marked; the n-th ones of all branches share a place."""
    gradient = jax.jit(
        jax.grad(lambda o, i: switch(BRANCHES, i, o, jnp.float32(1))[0].sum())  # needs no output
    )
    text = gradient.lower(operands, jnp.int32(0)).as_text()
    forward, _ = re.findall(r"\}\) : \(tensor<i32>\) -> (.*)", text)
    assert forward == "(tensor<3x3xf32>, tensor<3x3xf32>)"


def test_does_not_compute_again_what_led_to_a_kept_value(operands):
    """Products: one forward; in its backward pass the two of its gradient, and no third."""
    gradient = jax.jit(
        jax.grad(lambda o, i: switch([sine, nothing_kept], i, o, jnp.float32(1))[0].sum())
    )
    text = gradient.lower(operands, jnp.int32(0)).compile().as_text()
    assert text.count(" dot(") == 3


def test_extras_carry_no_gradient(operands):
    def extras(operands):
        return switch(BRANCHES, jnp.int32(0), operands, jnp.float32(1))[1]

    gradients = jax.grad(extras)(operands)
    assert not any(np.any(leaf) for leaf in gradients)
