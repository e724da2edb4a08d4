"""The layers that blocks are made of. They are built with NumPy weights."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx, struct
from jax import lax

from scarlet_jax.nn.convolution import convolution, depthwise

ACTIVATIONS = {  # all of them keep zero at zero, as a supernet's padded channels need
    "hard_swish": jax.nn.hard_swish,
    "relu": jax.nn.relu,
    "relu6": jax.nn.relu6,
    "silu": jax.nn.silu,
}
SATURATED = 1e9  # hard-sigmoid is 1 there, whatever is added, and has no gradient
EPSILON = 1e-5  # of batch norm: PyTorch's default, which the published models use


@struct.dataclass
class BatchStatistics:
    """Asks batch norm to normalise by the batch at hand; `None` in its place by running ones.

    Attributes:
      rate: `float32[]`, how far running statistics move towards the batch's: 0 leaves them,
        1 replaces them.
      share: `float32[B]` or None, of each image in the means: 0 for those that must not count
        (padding), 1 in all; None for equal ones.
      axis: mesh axis over which the batch is spread, if statistics are to be global, with equal
        shares.
    """

    rate: jax.Array | float
    share: jax.Array | None = None
    axis: str | None = struct.field(pytree_node=False, default=None)


def normal(rng: np.random.Generator, shape: tuple[int, ...], variance: float) -> np.ndarray:
    """Normal weights. Convolutions take 2 / fan-out (He et al., arXiv 1502.01852).

    Drawn by NumPy: JAX compiles a program for each shape, 110 s for S2 against 1 s.
    """
    return rng.standard_normal(shape, np.float32) * np.float32(variance**0.5)


class BatchNorm(nnx.Module):
    """Batch normalisation over N, H and W; statistics in float32 whatever the input's dtype.

    The running variance is the biased one, as in Flax; PyTorch keeps the unbiased one.

    Attributes:
      frozen: whether it normalises by its running statistics in training too, and leaves them.
    """

    def __init__(self, width: int):
        self.frozen = False
        self.scale = nnx.Param(np.ones(width, np.float32))
        self.bias = nnx.Param(np.zeros(width, np.float32))
        self.mean = nnx.BatchStat(np.zeros(width, np.float32))
        self.var = nnx.BatchStat(np.ones(width, np.float32))

    def __call__(self, x: jax.Array, norm: BatchStatistics | None) -> jax.Array:
        mean, var = self.mean[...], self.var[...]
        if norm is not None and not self.frozen:
            before = mean, var
            mean, var = mean_and_variance(moments(x, norm))
            self.mean[...], self.var[...] = (
                move(old, lax.stop_gradient(new), norm.rate)
                for old, new in zip(before, (mean, var), strict=True)
            )
        return scale_and_shift(x, slope_and_offset(self.scale[...], self.bias[...], mean, var))


# Jitted functions are traced once for all their callers of the same shapes.
@jax.jit
def move(running: jax.Array, value: jax.Array, rate: jax.Array) -> jax.Array:
    """Running statistics after a batch's; see `BatchStatistics.rate`."""
    return running + rate * (value - running)


@jax.jit
def mean_and_variance(means: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Of the means of x and of x * x, `float32[2, C]`."""
    mean, of_squares = (part.reshape(-1) for part in lax.split(means, (1, 1)))
    var = of_squares - mean * mean
    return mean, var + lax.stop_gradient(jnp.maximum(-var, 0.0))  # negative by rounding


@jax.jit
def slope_and_offset(
    scale: jax.Array, bias: jax.Array, mean: jax.Array, var: jax.Array
) -> jax.Array:
    """What batch norm multiplies x by and what it adds then, `float32[2, C]`."""
    slope = scale * lax.rsqrt(var + EPSILON)
    return jnp.stack([slope, bias - mean * slope])


@jax.jit
def scale_and_shift(x: jax.Array, affine: jax.Array) -> jax.Array:
    """`x * affine[0] + affine[1]` by channel, computed in float32."""
    slope, offset = lax.split(affine, (1, 1))
    return (x.astype(jnp.float32) * slope + offset).astype(x.dtype)


@jax.jit
def moments(x: jax.Array, norm: BatchStatistics) -> jax.Array:
    """Means of x and of x * x, `[B, H, W, C]`, over the counted images: `float32[2, C]`."""
    if norm.share is not None:
        return weighted_moments(x, norm.share)
    x = x.astype(jnp.float32)
    means = jnp.stack([x.sum((0, 1, 2)), (x * x).sum((0, 1, 2))]) / x[..., 0].size
    return means if norm.axis is None else lax.pmean(means, norm.axis)


@jax.jit
def weighted_moments(x: jax.Array, share: jax.Array) -> jax.Array:
    """What images `[B, H, W, C]` with shares `float32[B]` add to the means of their batch."""
    x = x.astype(jnp.float32)
    of_images = jnp.stack([x.mean((1, 2)), (x * x).mean((1, 2))], axis=1)  # [B, 2, C]
    return jnp.tensordot(share, of_images, 1)


class Convolution(nnx.Module):
    """A square convolution without bias, padded by `kernel // 2` on every side."""

    def __init__(
        self, c_in: int, c_out: int, kernel: int, stride: int, *, rng: np.random.Generator
    ):
        self.stride = stride
        variance = 2.0 / (kernel * kernel * c_out)
        self.kernel = nnx.Param(normal(rng, (kernel, kernel, c_in, c_out), variance))

    def __call__(self, x: jax.Array) -> jax.Array:
        return convolution(x, self.kernel[...].astype(x.dtype), self.stride)


class Pointwise(nnx.Module):
    """A 1x1 convolution without bias, as one matrix product over all pixels."""

    def __init__(self, c_in: int, c_out: int, *, rng: np.random.Generator):
        self.kernel = nnx.Param(normal(rng, (c_in, c_out), 2.0 / c_out))

    def __call__(self, x: jax.Array) -> jax.Array:
        return pointwise(x, self.kernel[...].astype(x.dtype))


def pointwise(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """`[B, H, W, C] @ [C, D]`, flattened: XLA's CPU gradient of the 4-D form is 2 to 3x slower."""
    return (x.reshape(-1, x.shape[-1]) @ kernel).reshape(*x.shape[:3], kernel.shape[-1])


def subsample(x: jax.Array, stride: int) -> jax.Array:
    """Every `stride`-th pixel of `[B, H, W, C]`: what a strided 1x1 convolution looks at."""
    return x if stride == 1 else x[:, ::stride, ::stride]


class Depthwise(nnx.Module):
    """A depthwise convolution without bias; see `scarlet_jax.nn.convolution`."""

    def __init__(self, width: int, kernel: int, stride: int, *, rng: np.random.Generator):
        self.stride = stride
        self.kernel = nnx.Param(normal(rng, (kernel, kernel, width), 2.0 / kernel**2))

    def __call__(self, x: jax.Array, taps: jax.Array | None = None) -> jax.Array:
        return depthwise(x, self.kernel[...].astype(x.dtype), self.stride, taps)


class Dense(nnx.Module):
    """A dense layer with bias on `[B, C]`."""

    def __init__(self, c_in: int, c_out: int, *, rng: np.random.Generator):
        self.kernel = nnx.Param(normal(rng, (c_in, c_out), 1.0 / c_in))
        self.bias = nnx.Param(np.zeros(c_out, np.float32))

    def __call__(self, x: jax.Array) -> jax.Array:
        return x @ self.kernel[...].astype(x.dtype) + self.bias[...].astype(x.dtype)


class SqueezeExcite(nnx.Module):
    """Squeeze-and-excitation (arXiv 1709.01507): ReLU, then hard-sigmoid; squeezes to C // ratio.

    It does nothing, exactly, with a bias of `SATURATED` in the excitation.
    """

    def __init__(self, width: int, ratio: int, *, rng: np.random.Generator):
        self.squeeze = Dense(width, width // ratio, rng=rng)
        self.excite = Dense(width // ratio, width, rng=rng)

    def __call__(self, x: jax.Array) -> jax.Array:
        pooled = mean_of_pixels(x).astype(x.dtype)  # [B, C]
        gate = jax.nn.hard_sigmoid(self.excite(jax.nn.relu(self.squeeze(pooled))))
        return x * gate[:, None, None, :]


def mean_of_pixels(x: jax.Array) -> jax.Array:
    """`float32[B, C]` of `[B, H, W, C]`; XLA's CPU backend is 4 times faster as a product."""

    def product_with_ones(x: jax.Array) -> jax.Array:
        flat = x.reshape(len(x), -1, x.shape[-1])  # [B, H * W, C]
        ones = jnp.ones((len(x), 1, flat.shape[1]), x.dtype)
        sums = (((2,), (1,)), ((0,), (0,)))
        return lax.dot_general(ones, flat, sums, preferred_element_type=jnp.float32)[:, 0]

    def reduced(x: jax.Array) -> jax.Array:
        return x.astype(jnp.float32).sum((1, 2))

    return lax.platform_dependent(x, cpu=product_with_ones, default=reduced) / x[0, ..., 0].size
