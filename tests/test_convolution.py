import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scarlet_jax.nn.convolution import depthwise, native_depthwise


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("kernel", [3, 5, 7])
@pytest.mark.parametrize("size", [(6, 9), (2, 1)])
def test_equals_the_grouped_convolution(size, kernel, stride):
    """Values and both gradients, odd and even sizes, against XLA's own convolution."""
    rng = np.random.default_rng(0)
    batch = size[0] // 2  # an odd and an even one
    x = jnp.asarray(rng.standard_normal((batch, *size, 4)), jnp.float32)
    taps = jnp.asarray(rng.standard_normal((kernel, kernel, 4)), jnp.float32)
    y, pull = jax.vjp(lambda x, w: depthwise(x, w, stride), x, taps)
    expected, expected_pull = jax.vjp(lambda x, w: native_depthwise(x, w, stride), x, taps)
    cotangent = jnp.asarray(rng.standard_normal(y.shape), jnp.float32)
    for ours, theirs in zip(
        (y, *pull(cotangent)), (expected, *expected_pull(cotangent)), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("taps", [3, 5, 7])
def test_zeros_around_the_taps_are_passed_over(taps):
    """The same values and gradients within, and none outside; one program for all sizes."""
    rng = np.random.default_rng(taps)
    x = jnp.asarray(rng.standard_normal((2, 9, 8, 4)), jnp.float32)
    own = jnp.asarray(rng.standard_normal((taps, taps, 4)), jnp.float32)
    border = (7 - taps) // 2
    padded = jnp.pad(own, ((border, border), (border, border), (0, 0)))

    @jax.jit
    def run(x, kernel, taps, cotangent):
        y, pull = jax.vjp(lambda x, w: depthwise(x, w, 2, taps), x, kernel)
        return y, *pull(cotangent)

    expected, pull = jax.vjp(lambda x, w: native_depthwise(x, w, 2), x, own)
    cotangent = jnp.asarray(rng.standard_normal(expected.shape), jnp.float32)
    y, of_x, of_taps = run(x, padded, jnp.int32(taps), cotangent)
    expected_of_x, expected_of_taps = pull(cotangent)
    np.testing.assert_allclose(y, expected, atol=1e-5)
    np.testing.assert_allclose(of_x, expected_of_x, atol=1e-5)
    inside = slice(border, border + taps)
    np.testing.assert_allclose(of_taps[inside, inside], expected_of_taps, atol=1e-4)
    assert np.abs(of_taps).sum() == pytest.approx(np.abs(of_taps[inside, inside]).sum())


def test_bfloat16_stays_near_float32():
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.standard_normal((2, 8, 8, 4)), jnp.bfloat16)
    taps = jnp.asarray(rng.standard_normal((5, 5, 4)), jnp.bfloat16)
    y = depthwise(x, taps, 1)
    assert y.dtype == jnp.bfloat16
    exact = native_depthwise(x.astype(jnp.float32), taps.astype(jnp.float32), 1)
    # 25 terms, 8 bits of mantissa.
    np.testing.assert_allclose(y.astype(jnp.float32), exact, atol=0.15)


@pytest.mark.parametrize(("platform", "convolutions"), [("cpu", 0), ("tpu", 3), ("cuda", 3)])
def test_each_platform_gets_its_own_lowering(platform, convolutions):
    """One convolution forward and two backward, or none at all."""

    def both(x, taps):
        y, pull = jax.vjp(lambda x, w: depthwise(x, w, 2), x, taps)
        return pull(y)

    traced = jax.jit(both).trace(jnp.ones((2, 8, 8, 4)), jnp.ones((3, 3, 4)))
    text = traced.lower(lowering_platforms=(platform,)).as_text()
    assert text.count("stablehlo.convolution") == convolutions
