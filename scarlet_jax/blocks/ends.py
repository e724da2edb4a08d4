"""Stem and head, which all networks of a space have."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from scarlet_jax.blocks import base
from scarlet_jax.blocks.base import Cost, Operations, Shape, Style, X
from scarlet_jax.blocks.export import normalised
from scarlet_jax.blocks.inverted_bottleneck import InvertedBottleneckChoice
from scarlet_jax.errors import InputError
from scarlet_jax.nn.layers import (
    ACTIVATIONS,
    BatchNorm,
    BatchStatistics,
    Convolution,
    Dense,
    Pointwise,
)
from scarlet_jax.space import Space

KERNEL = 3  # of the first convolution (MobileNetV2's)
SEPARABLE = InvertedBottleneckChoice(expansion=1, kernel=3)  # MobileNetV2's first block


def separable_shape(space: Space) -> Shape:
    return Shape(space.stem_width, space.separable_width, stride=1)


class Stem(nnx.Module):
    """3x3 convolution, then a depthwise separable block without a final activation.

    Args:
      space: whose stem it is.
      channels: of the images.
    """

    def __init__(self, space: Space, channels: int, *, rng: np.random.Generator):
        if channels < 1:
            raise InputError(f"channels is {channels}; allowed: 1 or more")
        width, stride = space.stem_width, space.stem_stride
        self.activation = space.style.stem_activation
        self.convolution = Convolution(channels, width, KERNEL, stride, rng=rng)
        self.bn = BatchNorm(width)
        style, has_block = Style(self.activation), space.separable_width > 0
        self.separable = SEPARABLE.build(separable_shape(space), style, rng) if has_block else None

    def __call__(self, x: jax.Array, norm: BatchStatistics | None = None) -> jax.Array:
        x = ACTIVATIONS[self.activation](self.bn(self.convolution(x), norm))
        return x if self.separable is None else self.separable(x, norm)

    def export(self, ops: Operations[X], x: X) -> X:
        stride = self.convolution.stride
        x = ops.convolution(x, *normalised(self.convolution, self.bn), stride, self.activation)
        return x if self.separable is None else self.separable.export(ops, x)


def stem_cost(space: Space, channels: int, side: int) -> Cost:
    """Counts with an output of `side * side` pixels."""
    width = space.stem_width
    cost = base.convolution(channels, width, KERNEL, side) + base.batch_norm(width)
    if not space.separable_width:
        return cost
    return cost + SEPARABLE.cost(separable_shape(space), space.style, side)


class Head(nnx.Module):
    """1x1 convolution, batch norm, activation, global mean, dropout, classifier with bias."""

    def __init__(
        self,
        space: Space,
        c_in: int,
        num_classes: int,
        dropout: float = 0.0,
        *,
        rng: np.random.Generator,
    ):
        if num_classes < 1:
            raise InputError(f"num_classes is {num_classes}; allowed: 1 or more")
        width = space.head_width
        self.activation = space.style.stem_activation
        self.dropout = dropout
        self.convolution = Pointwise(c_in, width, rng=rng)
        self.bn = BatchNorm(width)
        self.classifier = Dense(width, num_classes, rng=rng)

    def __call__(
        self,
        x: jax.Array,
        norm: BatchStatistics | None = None,
        dropout_keys: jax.Array | None = None,
    ) -> jax.Array:
        """Args: x `[B, H, W, C]`; one key an image `key[B]` for dropout, or None for none.

        Returns: logits `float32[B, classes]`.
        """
        x = ACTIVATIONS[self.activation](self.bn(self.convolution(x), norm))
        x = x.astype(jnp.float32).mean((1, 2))  # [B, C]
        if dropout_keys is not None and self.dropout > 0:
            keep = 1.0 - self.dropout
            mask = jax.vmap(lambda key: jax.random.bernoulli(key, keep, x.shape[1:]))(dropout_keys)
            x = jnp.where(mask, x / keep, 0.0)
        return self.classifier(x)

    def export(self, ops: Operations[X], x: X) -> X:
        x = ops.convolution(x, *normalised(self.convolution, self.bn), 1, self.activation)
        kernel, bias = (
            np.asarray(array[...]) for array in (self.classifier.kernel, self.classifier.bias)
        )
        return ops.classify(ops.mean(x), kernel, bias)


def head_cost(space: Space, c_in: int, num_classes: int, side: int) -> Cost:
    width = space.head_width
    cost = base.convolution(c_in, width, 1, side) + base.batch_norm(width)
    return cost + base.dense(width, num_classes)
