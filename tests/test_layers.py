import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scarlet_jax.blocks import Shape
from scarlet_jax.blocks.ends import Head
from scarlet_jax.blocks.skips import Identity, Stabilizer, ZeroPad
from scarlet_jax.nn import functional
from scarlet_jax.nn.layers import BatchNorm, BatchStatistics, Convolution, SqueezeExcite
from scarlet_jax.space import S2

RNG = np.random.default_rng(0)
X = RNG.standard_normal((4, 3, 5, 6)).astype(np.float32) * 2 + 1


def call(module, x, *args):
    return functional.apply(*functional.split(module), jnp.asarray(x), *args)


def test_batch_norm_by_hand():
    y, stats = call(BatchNorm(6), X, BatchStatistics(rate=0.25))
    mean, var = X.mean((0, 1, 2)), X.var((0, 1, 2))
    np.testing.assert_allclose(y, (X - mean) / np.sqrt(var + 1e-5), atol=1e-5)
    np.testing.assert_allclose(stats["mean"], 0.25 * mean, atol=1e-6)
    np.testing.assert_allclose(stats["var"], 0.75 + 0.25 * var, atol=1e-5)
    y, stats = call(BatchNorm(6), X, None)
    np.testing.assert_allclose(y, X / np.sqrt(1 + 1e-5), atol=1e-6)


def test_batch_norm_leaves_out_images_without_a_share():
    share = jnp.array([0.5, 0.0, 0.5, 0.0])
    y, stats = call(BatchNorm(6), X, BatchStatistics(rate=1.0, share=share))
    alone, alone_stats = call(BatchNorm(6), X[::2], BatchStatistics(rate=1.0))
    np.testing.assert_allclose(y[::2], alone, atol=1e-5)
    np.testing.assert_allclose(stats["var"], alone_stats["var"], rtol=1e-5)


def test_batch_norm_keeps_float32_statistics_of_bfloat16():
    y, stats = call(BatchNorm(6), X.astype(jnp.bfloat16), BatchStatistics(rate=1.0))
    assert y.dtype == jnp.bfloat16
    assert stats["var"].dtype == jnp.float32
    np.testing.assert_allclose(stats["var"], X.var((0, 1, 2)), rtol=0.02)


def test_squeeze_excite_by_hand():
    module = SqueezeExcite(6, 4, rng=RNG)
    squeeze, excite = module.squeeze, module.excite
    assert squeeze.kernel.shape == (6, 1)
    pooled = X.mean((1, 2))
    hidden = np.maximum(pooled @ squeeze.kernel[...] + squeeze.bias[...], 0)
    gate = np.clip((hidden @ excite.kernel[...] + excite.bias[...] + 3) / 6, 0, 1)
    np.testing.assert_allclose(call(module, X)[0], X * gate[:, None, None], atol=1e-5)


@pytest.mark.parametrize("size", [4, 5])
def test_strided_convolution_pads_both_sides(size):
    """By hand at the corner: XLA's "SAME" would pad an even size on one side only."""
    module = Convolution(1, 1, 3, 2, rng=RNG)
    x = RNG.standard_normal((1, size, size, 1)).astype(np.float32)
    y, _ = call(module, x)
    assert y.shape == (1, (size + 1) // 2, (size + 1) // 2, 1)
    corner = (module.kernel[...][1:, 1:, 0, 0] * x[0, :2, :2, 0]).sum()
    np.testing.assert_allclose(y[0, 0, 0, 0], corner, rtol=1e-5)


def test_stabilizer_is_linear_and_strided():
    module = Stabilizer(Shape(6, 9, 2))
    np.testing.assert_array_equal(call(module, X)[0][..., :6], X[:, ::2, ::2])
    module.kernel[...] = RNG.standard_normal((6, 9)).astype(np.float32)
    y, _ = call(module, X)
    np.testing.assert_allclose(y, X[:, ::2, ::2] @ module.kernel[...], atol=1e-5)


@pytest.mark.parametrize("width", [4, 9])
def test_zero_padded_skip(width):
    y, _ = call(ZeroPad(Shape(6, width, 2)), X)
    common = min(width, 6)
    np.testing.assert_array_equal(y[..., :common], X[:, ::2, ::2, :common])
    assert y.shape[-1] == width
    assert not np.any(y[..., common:])


def test_identity_keeps_channels_and_stride():
    np.testing.assert_array_equal(call(Identity(2), X)[0], X[:, ::2, ::2])
    np.testing.assert_array_equal(call(Identity(1), X)[0], X)


def test_dropout_depends_on_each_images_key_alone():
    head = Head(S2, 6, num_classes=3, dropout=0.5, rng=RNG)
    keys = jax.vmap(lambda i: jax.random.fold_in(jax.random.key(0), i))(jnp.arange(4))
    dropped, _ = call(head, X, None, keys)
    plain, _ = call(head, X, None)
    assert np.abs(dropped - plain).max() > 1e-3
    network = functional.split(head)
    part, _ = functional.apply(*network, jnp.asarray(X[2:]), None, keys[2:])
    np.testing.assert_allclose(part, dropped[2:], rtol=1e-5)
