import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scarlet_jax.nn.switch import Way, plain, switch


def sine(operands, fixed):
    return jnp.sin(operands[0] @ operands[1]) * fixed, operands[0].sum()


def shifted(operands, fixed):
    return operands[1] + fixed, fixed


def sine_forward(operands, fixed):
    product = operands[0] @ operands[1]
    return jnp.sin(product) * fixed, operands[0].sum(), product


def sine_backward(operands, fixed, product, cotangent):
    pulled = cotangent * fixed * jnp.cos(product)
    return pulled @ operands[1].T, operands[0].T @ pulled


FUNCTIONS = [sine, shifted]
WAYS = [Way(sine_forward, sine_backward), plain(shifted)]


@pytest.fixture
def operands():
    rng = np.random.default_rng(0)
    return tuple(jnp.asarray(rng.standard_normal((3, 3)), jnp.float32) for _ in range(2))


@pytest.mark.parametrize("index", range(2))
def test_value_and_gradient_are_those_of_the_taken_way(index, operands):
    fixed = jnp.float32(1.5)
    function = FUNCTIONS[index]
    outputs, extras = switch(WAYS, jnp.int32(index), operands, fixed)
    expected, expected_extras = function(operands, fixed)
    np.testing.assert_allclose(outputs, expected, rtol=1e-6)
    np.testing.assert_allclose(extras, expected_extras, rtol=1e-6)

    def through_switch(operands):
        return (switch(WAYS, jnp.int32(index), operands, fixed)[0] ** 2).sum()

    def directly(operands):
        return (function(operands, fixed)[0] ** 2).sum()

    for ours, theirs in zip(
        jax.grad(through_switch)(operands), jax.grad(directly)(operands), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


def gradient(operands):
    pull = jax.grad(lambda o, i: switch(WAYS, i, o, jnp.float32(1))[0].sum())
    return jax.jit(pull).lower(operands, jnp.int32(0))


def test_keeps_what_it_is_told_to(operands):
    """Of all residuals the product; plain differentiation would keep those of both ways."""
    forward, _ = re.findall(r"\}\) : \(tensor<i32>\) -> (.*)", gradient(operands).as_text())
    assert forward == "tensor<3x3xf32>"


def test_does_not_compute_again_what_is_kept(operands):
    """Products: one forward; in its backward pass the two of its gradient, and no third."""
    assert gradient(operands).compile().as_text().count(" dot(") == 3


def test_extras_carry_no_gradient(operands):
    def extras(operands):
        return switch(WAYS, jnp.int32(0), operands, jnp.float32(1))[1]

    gradients = jax.grad(extras)(operands)
    assert not any(np.any(leaf) for leaf in gradients)
