"""Weights of modules as exported networks have them: batch norm folded into what is before it."""

import numpy as np

from scarlet_jax.blocks.base import Weights
from scarlet_jax.nn.layers import EPSILON, BatchNorm, Convolution, Dense, Depthwise, Pointwise


def normalised(
    convolution: Convolution | Depthwise | Pointwise, norm: BatchNorm
) -> tuple[Weights, Weights]:
    """A convolution and the batch norm after it as one, in double precision: kernel and bias."""
    kernel, scale, bias, mean, var = (
        np.asarray(array[...], np.float64)
        for array in (convolution.kernel, norm.scale, norm.bias, norm.mean, norm.var)
    )
    slope = scale / np.sqrt(var + EPSILON)
    return pixelwise((kernel * slope).astype(np.float32)), (bias - mean * slope).astype(np.float32)


def dense(layer: Dense) -> tuple[Weights, Weights]:
    """A dense layer as a 1x1 convolution: kernel and bias."""
    return pixelwise(np.asarray(layer.kernel[...])), np.asarray(layer.bias[...])


def pixelwise(kernel: Weights) -> Weights:
    """A matrix `[C, D]` as a 1x1 convolution's kernel; other kernels as they are."""
    return kernel[None, None] if kernel.ndim == 2 else kernel
