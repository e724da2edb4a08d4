import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scarlet_jax.nn.switch import switch

BRANCHES = [
    lambda operands, fixed: (jnp.sin(operands[0] @ operands[1]) * fixed, operands[0].sum()),
    lambda operands, fixed: (operands[1] + fixed, fixed),
    lambda operands, fixed: (jnp.tanh(operands[1]) @ operands[0], jnp.float32(3)),
]


@pytest.mark.parametrize("index", range(3))
def test_value_and_gradient_are_those_of_the_taken_branch(index):
    rng = np.random.default_rng(index)
    operands = tuple(jnp.asarray(rng.standard_normal((3, 3)), jnp.float32) for _ in range(2))
    fixed = jnp.float32(1.5)
    outputs, extras = switch(BRANCHES, jnp.int32(index), operands, fixed)
    expected, expected_extras = BRANCHES[index](operands, fixed)
    np.testing.assert_allclose(outputs, expected, rtol=1e-6)
    np.testing.assert_allclose(extras, expected_extras, rtol=1e-6)

    def through_switch(operands):
        return (switch(BRANCHES, jnp.int32(index), operands, fixed)[0] ** 2).sum()

    def directly(operands):
        return (BRANCHES[index](operands, fixed)[0] ** 2).sum()

    for ours, theirs in zip(
        jax.grad(through_switch)(operands), jax.grad(directly)(operands), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5)


def test_keeps_only_operands_for_the_backward_pass():
    """The point of it: no residual of any branch is an output of the forward switch."""
    operands = (jnp.ones((3, 3)), jnp.ones((3, 3)))
    program = jax.make_jaxpr(
        lambda o: jax.vjp(lambda o: switch(BRANCHES, jnp.int32(0), o, jnp.float32(1))[0], o)
    )(operands)
    (call,) = [e for e in program.jaxpr.eqns if "custom_vjp" in e.primitive.name]
    conditionals = [e for e in call.params["call_jaxpr"].eqns if e.primitive.name == "cond"]
    assert len(conditionals) == 1
    assert len(conditionals[0].outvars) == 2  # outputs and extras


def test_extras_carry_no_gradient():
    def extras(operands):
        return switch(BRANCHES, jnp.int32(0), operands, jnp.float32(1))[1]

    gradients = jax.grad(extras)((jnp.ones((3, 3)), jnp.ones((3, 3))))
    assert not any(np.any(leaf) for leaf in gradients)
