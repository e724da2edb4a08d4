"""Convolutions that are fast on every device.

XLA's CPU backend runs grouped convolutions 8 to 40 times slower than the sum of shifted
slices times taps, which fuses with what follows, and the kernel's gradient of a convolution of
few channels 10 times slower than a matrix product. TPU and GPU keep the native convolutions.
The choice is made when the program is lowered, so that a program can be compiled on one
platform for another.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

Operation = Callable[[jax.Array, jax.Array], jax.Array]

# Of a pass of the taps' gradient, as measured. XLA makes one kernel of so many pixels, and several
# of more, which takes longer; sums of so many bytes stay in cache.
PIXELS = 7
SUMS_BYTES = 800_000


# Jitted functions are traced once for all their callers of the same shapes.
@partial(jax.jit, static_argnames="stride")
def depthwise(
    x: jax.Array, kernel: jax.Array, stride: int, taps: jax.Array | None = None
) -> jax.Array:
    """Convolves each channel with its own taps, padding `k // 2` zeros on every side.

    Args:
      x: `[B, H, W, C]`.
      kernel: `[k, k, C]`, k odd, of x's dtype.
      stride: 1 or 2.
      taps: `int32[]`, how many along a side, in the middle, are no zeros: CPUs pass over the
        others, which have no gradient then. None for all of them.

    Returns:
      `[B, ceil(H / stride), ceil(W / stride), C]`.
    """
    size = len(kernel)
    sizes = [size] if taps is None else range(min(3, size), size + 1, 2)
    on_cpu = [partial(_sum_of_own_shifts, stride, own) for own in sizes]
    index = None if taps is None else (jnp.array(sizes) < taps).sum(dtype=jnp.int32)
    return _by_platform(on_cpu, partial(native_depthwise, stride=stride))(x, kernel, index)


def convolution(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    """Convolves, padding `k // 2` zeros on every side.

    Args:
      x: `[B, H, W, C]`; CPUs copy it k * k times.
      kernel: `[k, k, C, D]`, k odd, of x's dtype.
      stride: 1 or 2.

    Returns:
      `[B, ceil(H / stride), ceil(W / stride), D]`.
    """
    on_cpu = [partial(patches_times_kernel, stride=stride)]
    return _by_platform(on_cpu, partial(native, stride=stride))(x, kernel, None)


def _by_platform(on_cpu: Sequence[Operation], elsewhere: Operation) -> Callable[..., jax.Array]:
    """One of several ways to compute the same function of two arrays, with its own gradient.

    Its third argument says which of those for CPUs is taken, `int32[]`, if there are several.
    """

    def choose(change: Callable[[Operation], Callable[..., Any]], *arrays: Any, index: Any) -> Any:
        def switch(*arrays_and_index: Any) -> Any:
            *arrays, index = arrays_and_index
            options = [change(operation) for operation in on_cpu]
            return options[0](*arrays) if index is None else lax.switch(index, options, *arrays)

        def default(*arrays_and_index: Any) -> Any:
            return change(elsewhere)(*arrays_and_index[:-1])

        return lax.platform_dependent(*arrays, index, cpu=switch, default=default)

    @jax.custom_vjp
    def operation(x: jax.Array, kernel: jax.Array, index: jax.Array | None) -> jax.Array:
        return choose(lambda operation: operation, x, kernel, index=index)

    def pull_back(operation: Operation) -> Callable[..., Any]:
        return lambda x, kernel, cotangent: jax.vjp(operation, x, kernel)[1](cotangent)

    def backward(residuals: Any, cotangent: jax.Array) -> Any:
        x, kernel, index = residuals
        return (*choose(pull_back, x, kernel, cotangent, index=index), None)

    operation.defvjp(lambda *args: (operation(*args), args), backward)
    return operation


def native(x: jax.Array, kernel: jax.Array, stride: int, groups: int = 1) -> jax.Array:
    """`convolution` as XLA's own."""
    padding = kernel.shape[0] // 2
    return lax.conv_general_dilated(
        x,
        kernel,
        window_strides=(stride, stride),
        padding=((padding, padding),) * 2,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=groups,
    )


def native_depthwise(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    """`depthwise` as XLA's grouped convolution."""
    return native(x, kernel[:, :, None, :], stride, groups=kernel.shape[-1])


def patches_times_kernel(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    """`convolution` as one matrix product: every output pixel sees k * k * C inputs."""
    k, _, _, width = kernel.shape
    padded, out = _pad(x, k // 2), _output_size(x, stride)
    patches = [_shifted(padded, i, j, stride, out) for i in range(k) for j in range(k)]
    flat = jnp.concatenate(patches, axis=-1).reshape(-1, kernel[..., 0].size)
    return (flat @ kernel.reshape(-1, width)).reshape(x.shape[0], *out, width)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def shift_and_add(stride: int, x: jax.Array, kernel: jax.Array) -> jax.Array:
    """`depthwise` as a sum of shifted slices times taps."""
    padded = _pad(x, kernel.shape[0] // 2)
    return _sum_of_shifts(padded, kernel, stride, _output_size(x, stride))


def _sum_of_own_shifts(stride: int, size: int, x: jax.Array, kernel: jax.Array) -> jax.Array:
    """`shift_and_add` with the taps in the middle."""
    border = (len(kernel) - size) // 2
    end = border + size
    return shift_and_add(stride, x, kernel[border:end, border:end])


def _output_size(x: jax.Array, stride: int) -> tuple[int, int]:
    return -(-x.shape[1] // stride), -(-x.shape[2] // stride)


@partial(jax.jit, static_argnums=(2, 3, 4))
def _sum_of_shifts(
    padded: jax.Array,
    kernel: jax.Array,
    stride: int,
    out: tuple[int, int],
    flipped: bool = False,
) -> jax.Array:
    """Summed in float32: up to 49 terms of bfloat16 would lose what its few bits hold."""
    dtype = padded.dtype
    padded, kernel = padded.astype(jnp.float32), kernel.astype(jnp.float32)
    # Primitives of lax: jnp's operators take four times as long to trace.
    total = jnp.zeros((padded.shape[0], *out, padded.shape[-1]), jnp.float32)
    taps = _vectors(kernel)
    taps = taps[::-1] if flipped else taps
    for (i, j), tap in zip(np.ndindex(kernel.shape[:2]), taps, strict=True):
        spread = lax.broadcast_in_dim(tap, total.shape, (2, 3))
        total = lax.add(total, lax.mul(_shifted(padded, i, j, stride, out), spread))
    return total.astype(dtype)


def _vectors(x: jax.Array) -> Sequence[jax.Array]:
    """The vectors `[1, C]` of `[..., C]`, in order."""
    flat = x.reshape(-1, x.shape[-1])
    return lax.split(flat, [1] * len(flat))


def _shifted(padded: jax.Array, i: int, j: int, stride: int, out: tuple[int, int]) -> jax.Array:
    """What tap `(i, j)` sees, `[B, *out, C]`."""
    batch, _, _, channels = padded.shape
    reach = [stride * (n - 1) + 1 for n in out]
    return lax.slice(
        padded,
        (0, i, j, 0),
        (batch, i + reach[0], j + reach[1], channels),
        (1, stride, stride, 1),
    )


def _pad(x: jax.Array, padding: int) -> jax.Array:
    return jnp.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))


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
    return _sum_of_shifts(dilated, kernel, 1, (size[0], size[1]), True)


@partial(jax.jit, static_argnums=(2, 3))
def _tap_gradient(x: jax.Array, cotangent: jax.Array, stride: int, k: int) -> jax.Array:
    """A loop over a few pixels of some images that sums all taps at once: `float32[k, k, C]`.

    The sums stay in cache, so x and the cotangent are read from memory once, not once a tap: 4
    to 8 times faster on large maps than a loop over taps.
    """
    x, cotangent = x.astype(jnp.float32), cotangent.astype(jnp.float32)
    batch, height, width, channels = cotangent.shape
    images = largest_divisor(batch, SUMS_BYTES // (4 * k * k * channels))
    pixels = largest_divisor(width, PIXELS)
    pixels = pixels if pixels > 1 else width
    chunks = batch // images
    padded = _pad(x, k // 2)
    padded = padded.reshape(chunks, images, *padded.shape[1:])
    pulled = cotangent.reshape(chunks, images, height, width, channels)
    # A table, as computing the corners in the loop would cost it several kernels more.
    chunk, row, group = np.indices((chunks, height, width // pixels))
    corners = np.stack([chunk, row, group * pixels], axis=-1).reshape(-1, 3)
    table = jnp.array(corners, jnp.int32)
    total = (images, k, k, channels)

    def add(step: jax.Array, sums: jax.Array) -> jax.Array:
        chunk, row, column = (_slice(table, (step, i), (1, 1)).reshape(()) for i in range(3))
        more = jnp.zeros_like(sums)
        for pixel in range(pixels):
            # Slices of their own, so that each is read where it lies and none is copied.
            left = column + pixel
            under = _slice(padded, (chunk, 0, stride * row, stride * left, 0), (1, *total))
            pull = _slice(pulled, (chunk, 0, row, left, 0), (1, images, 1, 1, channels))
            product = lax.mul(under, lax.broadcast_in_dim(pull, under.shape, range(5)))
            more = lax.add(more, lax.squeeze(product, (0,)))
        return sums + more

    return lax.fori_loop(0, len(corners), add, jnp.zeros(total, jnp.float32)).sum(0)


def _slice(x: jax.Array, start: tuple[Any, ...], size: tuple[int, ...]) -> jax.Array:
    return lax.dynamic_slice(x, start, size, allow_negative_indices=False)


def largest_divisor(count: int, most: int) -> int:
    """The largest divisor of count that is at most so much; 1 if that is under 1."""
    return max(n for n in range(1, max(1, most) + 1) if count % n == 0)


def _shift_and_add_vjp(stride: int, residuals: Any, cotangent: jax.Array) -> Any:
    x, kernel = residuals
    return (
        _input_gradient(kernel, cotangent, stride, x.shape[1:3]),
        _tap_gradient(x, cotangent, stride, kernel.shape[0]).astype(kernel.dtype),
    )


shift_and_add.defvjp(
    lambda stride, x, kernel: (shift_and_add(stride, x, kernel), (x, kernel)), _shift_and_add_vjp
)
