"""A network as the few operations that every runtime has, batch norm folded into convolutions.

`run` says once in which order; `Operations` carries them out: here on JAX arrays, elsewhere as
nodes of another format's graph.
"""

from typing import Any, Protocol, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from numpy.typing import NDArray

from scarlet_jax.nn.blocks import Head, Identity, InvertedBottleneck, Stem, ZeroPad
from scarlet_jax.nn.convolution import depthwise, native, patches_times_kernel
from scarlet_jax.nn.layers import EPSILON, BatchNorm, Dense, pointwise, subsample
from scarlet_jax.subnet import Subnet

X = TypeVar("X")
Weights = NDArray[np.float32]


class Operations(Protocol[X]):
    """What a network is made of. Feature maps have axes for images, rows, columns, channels.

    An activation is one of "none", "relu", "relu6", "hard_swish", "hard_sigmoid".
    """

    def convolution(self, x: X, kernel: Weights, bias: Weights, stride: int, activation: str) -> X:
        """`kernel` is `float32[k, k, C, D]`, k odd, padded by `k // 2`; `bias` `float32[D]`."""
        ...

    def depthwise(self, x: X, kernel: Weights, bias: Weights, stride: int, activation: str) -> X:
        """`kernel` is `float32[k, k, C]`; padded as above."""
        ...

    def subsample(self, x: X, stride: int) -> X:
        """Every `stride`-th row and column."""
        ...

    def mean(self, x: X) -> X:
        """Over rows and columns, which stay as axes of one."""
        ...

    def multiply(self, x: X, gate: X) -> X:
        """By a number for each image and channel."""
        ...

    def add(self, x: X, y: X) -> X: ...

    def classify(self, x: X, kernel: Weights, bias: Weights) -> X:
        """Logits of what `mean` gives; `kernel` is `float32[C, classes]`."""
        ...


def run(network: Subnet, ops: Operations[X], x: X) -> X:
    """The logits of images that the network has been built for.

    Args:
      network: with identities or folded skips, and running statistics.
      ops: carries the operations out.
      x: images, in its form.
    """
    x = _stem(network.stem, ops, x)
    for block in network.blocks:
        if isinstance(block, Identity):
            x = x if block.stride == 1 else ops.subsample(x, block.stride)
        else:
            x = _block(block, ops, x)
    return _head(network.head, ops, x)


def _stem(stem: Stem, ops: Operations[X], x: X) -> X:
    x = ops.convolution(
        x, *_normalised(stem.convolution, stem.bn1), stem.convolution.stride, "relu6"
    )
    x = ops.depthwise(x, *_normalised(stem.depthwise, stem.bn2), stem.depthwise.stride, "relu6")
    return ops.convolution(x, *_normalised(stem.project, stem.bn3), 1, "none")


def _block(block: InvertedBottleneck, ops: Operations[X], x: X) -> X:
    shortcut = x
    x = ops.convolution(x, *_normalised(block.expand, block.bn1), 1, "hard_swish")
    stride = block.depthwise.stride
    x = ops.depthwise(x, *_normalised(block.depthwise, block.bn2), stride, "hard_swish")
    if block.se is not None:
        gate = ops.convolution(ops.mean(x), *_dense(block.se.squeeze), 1, "relu")
        gate = ops.convolution(gate, *_dense(block.se.excite), 1, "hard_sigmoid")
        x = ops.multiply(x, gate)
    x = ops.convolution(x, *_normalised(block.project, block.bn3), 1, "none")
    if not block.residual:
        return x
    if block.shortcut is not None:
        kernel = _pixelwise(_shortcut_kernel(block))
        no_bias = np.zeros(kernel.shape[-1], np.float32)
        shortcut = ops.convolution(shortcut, kernel, no_bias, 1, "none")
    return ops.add(shortcut, x)


def _shortcut_kernel(block: InvertedBottleneck) -> Weights:
    """What folded skips multiply a shortcut with, `[C, D]`; padding is the first rows of one."""
    if isinstance(block.shortcut, ZeroPad):
        return np.eye(len(block.expand.kernel[...]), block.shortcut.c_out, dtype=np.float32)
    return np.asarray(block.shortcut.kernel[...])


def _head(head: Head, ops: Operations[X], x: X) -> X:
    x = ops.convolution(x, *_normalised(head.convolution, head.bn), 1, "relu6")
    kernel, bias = (
        np.asarray(part[...]) for part in (head.classifier.kernel, head.classifier.bias)
    )
    return ops.classify(ops.mean(x), kernel, bias)


def _normalised(convolution: Any, norm: BatchNorm) -> tuple[Weights, Weights]:
    """A convolution and the batch norm after it as one, in double precision: kernel and bias."""
    kernel, scale, bias, mean, var = (
        np.asarray(part[...], np.float64)
        for part in (convolution.kernel, norm.scale, norm.bias, norm.mean, norm.var)
    )
    slope = scale / np.sqrt(var + EPSILON)
    return _pixelwise((kernel * slope).astype(np.float32)), (bias - mean * slope).astype(np.float32)


def _dense(dense: Dense) -> tuple[Weights, Weights]:
    return _pixelwise(np.asarray(dense.kernel[...])), np.asarray(dense.bias[...])


def _pixelwise(kernel: Weights) -> Weights:
    """A matrix `[C, D]` as a 1x1 convolution's kernel; other kernels as they are."""
    return kernel[None, None] if kernel.ndim == 2 else kernel


ACTIVATIONS = {
    "none": lambda x: x,
    "relu": jax.nn.relu,
    "relu6": jax.nn.relu6,
    "hard_swish": jax.nn.hard_swish,
    "hard_sigmoid": jax.nn.hard_sigmoid,
}


class Arrays:
    """Carries the operations out on JAX arrays `float32[B, H, W, C]`.

    Each platform gets the convolutions that are fast on it.
    """

    def convolution(
        self, x: jax.Array, kernel: Weights, bias: Weights, stride: int, activation: str
    ) -> jax.Array:
        def on_cpu(x: jax.Array, kernel: jax.Array) -> jax.Array:
            if kernel.shape[0] == 1:
                return pointwise(subsample(x, stride), kernel[0, 0])
            return patches_times_kernel(x, kernel, stride)

        def elsewhere(x: jax.Array, kernel: jax.Array) -> jax.Array:
            return native(x, kernel, stride)

        x = lax.platform_dependent(x, jnp.asarray(kernel), cpu=on_cpu, default=elsewhere)
        return ACTIVATIONS[activation](x + bias)

    def depthwise(
        self, x: jax.Array, kernel: Weights, bias: Weights, stride: int, activation: str
    ) -> jax.Array:
        return ACTIVATIONS[activation](depthwise(x, jnp.asarray(kernel), stride) + bias)

    def subsample(self, x: jax.Array, stride: int) -> jax.Array:
        return subsample(x, stride)

    def mean(self, x: jax.Array) -> jax.Array:
        return x.mean((1, 2), keepdims=True)

    def multiply(self, x: jax.Array, gate: jax.Array) -> jax.Array:
        return x * gate

    def add(self, x: jax.Array, y: jax.Array) -> jax.Array:
        return x + y

    def classify(self, x: jax.Array, kernel: Weights, bias: Weights) -> jax.Array:
        return x[:, 0, 0] @ kernel + bias
