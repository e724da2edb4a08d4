"""Depthwise convolution that is fast on every device.

XLA's CPU backend runs grouped convolutions 8 to 40 times slower than the sum of shifted
slices times taps, which fuses with what follows. TPU and GPU keep the native convolution.
The choice is made when the program is lowered, so that a program can be compiled on one
platform for another.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax import lax


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def depthwise(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    """Convolves each channel with its own taps, padding `k // 2` zeros on every side.

    Args:
      x: `[B, H, W, C]`.
      kernel: `[k, k, C]`, k odd, of x's dtype.
      stride: 1 or 2.

    Returns:
      `[B, ceil(H / stride), ceil(W / stride), C]`.
    """
    return lax.platform_dependent(
        x, kernel, cpu=partial(shift_and_add, stride=stride), default=partial(native, stride=stride)
    )


def native(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    """`depthwise` as XLA's grouped convolution."""
    k, _, channels = kernel.shape
    return lax.conv_general_dilated(
        x,
        kernel[:, :, None, :],
        window_strides=(stride, stride),
        padding=((k // 2, k // 2),) * 2,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=channels,
    )


def shift_and_add(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    """`depthwise` as a sum of shifted slices times taps."""
    k = kernel.shape[0]
    height, width = x.shape[1:3]
    out = (-(-height // stride), -(-width // stride))
    padded = _pad(x, k // 2)
    return _sum_of_shifts(padded, kernel, stride, out)


def _sum_of_shifts(
    padded: jax.Array, kernel: jax.Array, stride: int, out: tuple[int, int]
) -> jax.Array:
    batch, _, _, channels = padded.shape
    reach = [stride * (n - 1) + 1 for n in out]
    total = jnp.zeros((batch, *out, channels), padded.dtype)
    for i in range(kernel.shape[0]):
        for j in range(kernel.shape[1]):
            shifted = lax.slice(
                padded,
                (0, i, j, 0),
                (batch, i + reach[0], j + reach[1], channels),
                (1, stride, stride, 1),
            )
            total = total + shifted * kernel[i, j]
    return total


def _pad(x: jax.Array, padding: int) -> jax.Array:
    return jnp.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))


def _native_vjp(
    x: jax.Array, kernel: jax.Array, cotangent: jax.Array, *, stride: int
) -> tuple[jax.Array, jax.Array]:
    _, pull = jax.vjp(partial(native, stride=stride), x, kernel)
    dx, dkernel = pull(cotangent)
    return dx, dkernel


def _shift_and_add_vjp(
    x: jax.Array, kernel: jax.Array, cotangent: jax.Array, *, stride: int
) -> tuple[jax.Array, jax.Array]:
    return (
        _input_gradient(kernel, cotangent, stride, x.shape[1:3]),
        _tap_gradient(x, cotangent, stride, kernel.shape[0]).astype(kernel.dtype),
    )


def _input_gradient(
    kernel: jax.Array, cotangent: jax.Array, stride: int, size: tuple[int, ...]
) -> jax.Array:
    """Correlates the dilated cotangent with the flipped taps."""
    k = kernel.shape[0]
    low = k - 1 - k // 2
    borders = [
        (low, n + k - 1 - low - (stride * (m - 1) + 1), stride - 1)
        for n, m in zip(size, cotangent.shape[1:3], strict=True)
    ]
    zero = jnp.zeros((), cotangent.dtype)
    dilated = lax.pad(cotangent, zero, ((0, 0, 0), *borders, (0, 0, 0)))
    return _sum_of_shifts(dilated, kernel[::-1, ::-1], 1, (size[0], size[1]))


def _tap_gradient(x: jax.Array, cotangent: jax.Array, stride: int, k: int) -> jax.Array:
    """One pass over the images a tap: `float32[k, k, C]`.

    A loop over taps compiles once for all of them and runs about 3 times faster than a scan
    over images that sums every tap. Adding the two halves of the batch first lets XLA's
    reduction run up to 1.6 times faster.
    """
    batch, height, width, channels = cotangent.shape
    padded = _pad(x, k // 2)
    reach = (batch, stride * (height - 1) + 1, stride * (width - 1) + 1, channels)
    halves = 2 if batch % 2 == 0 else 1

    def tap(index: jax.Array) -> jax.Array:
        shifted = lax.dynamic_slice(padded, (0, index // k, index % k, 0), reach)
        product = (shifted[:, ::stride, ::stride] * cotangent).astype(jnp.float32)
        folded = sum(jnp.split(product, halves), jnp.zeros((), jnp.float32))
        return folded.sum((0, 1, 2))  # [C]

    return lax.map(tap, jnp.arange(k * k)).reshape(k, k, channels)


def _forward(
    x: jax.Array, kernel: jax.Array, stride: int
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return depthwise(x, kernel, stride), (x, kernel)


def _backward(
    stride: int, residuals: tuple[jax.Array, jax.Array], cotangent: jax.Array
) -> tuple[jax.Array, jax.Array]:
    x, kernel = residuals
    dx, dkernel = lax.platform_dependent(
        x,
        kernel,
        cotangent,
        cpu=partial(_shift_and_add_vjp, stride=stride),
        default=partial(_native_vjp, stride=stride),
    )
    return dx, dkernel


depthwise.defvjp(_forward, _backward)
