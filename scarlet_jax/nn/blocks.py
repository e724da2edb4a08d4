"""SCARLET's blocks: stem, inverted bottleneck, the skips, and head."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from scarlet_jax.nn.layers import (
    BatchNorm,
    BatchStatistics,
    Convolution,
    Dense,
    Depthwise,
    Pointwise,
    SqueezeExcite,
    pointwise,
    subsample,
)
from scarlet_jax.space import Choice, Space

STEM_KERNEL = 3  # of the first convolution (MobileNetV2's)


class Stem(nnx.Module):
    """3x3 convolution, then a depthwise separable block without a final activation."""

    def __init__(self, channels: int, space: Space, *, rng: np.random.Generator):
        width = space.stem_width
        self.convolution = Convolution(channels, width, STEM_KERNEL, space.stem_stride, rng=rng)
        self.bn1 = BatchNorm(width)
        self.depthwise = Depthwise(width, [3], 1, rng=rng)
        self.bn2 = BatchNorm(width)
        self.project = Pointwise(width, space.separable_width, rng=rng)
        self.bn3 = BatchNorm(space.separable_width)

    def __call__(self, x: jax.Array, batch: BatchStatistics | None) -> jax.Array:
        x = jax.nn.relu6(self.bn1(self.convolution(x), batch))
        x = jax.nn.relu6(self.bn2(self.depthwise(x), batch))
        return self.bn3(self.project(x), batch)


class InvertedBottleneck(nnx.Module):
    """MobileNetV2's block (arXiv 1801.04381): expand, depthwise, optional SE, project.

    With one choice and no `repeats` it is that block. Otherwise it only holds the blocks of
    several choices of one expansion, `repeats` times, for a `bank.Bank`: all weights carry
    leading axes `[repeats, choices]`, SE's of the choices that have it. The depthwise taps are
    as large as the largest, smaller ones in the middle of zeros.

    With a `folded_width` the skips before it are part of it (equation 4): it has the hidden
    channels and the shortcut of a block of so many inputs, which its own `c_in` stand for. On the
    shortcut they remain, as the given module.
    """

    def __init__(
        self,
        c_in: int,
        c_out: int,
        stride: int,
        choices: Sequence[Choice],
        *,
        repeats: int | None = None,
        folded_width: int | None = None,
        shortcut: nnx.Module | None = None,
        rng: np.random.Generator,
    ):
        def lead(count: int) -> tuple[int, ...]:
            return () if repeats is None else (repeats, count)

        self.choices = tuple(choices)
        width = c_in if folded_width is None else folded_width
        self.residual = stride == 1 and width == c_out
        hidden = width * self.choices[0].expansion
        stack = lead(len(self.choices))
        self.expand = Pointwise(c_in, hidden, lead=stack, rng=rng)
        self.bn1 = BatchNorm(hidden, lead=stack)
        sizes = [choice.kernel for choice in self.choices]
        self.depthwise = Depthwise(hidden, sizes, stride, repeats=repeats, rng=rng)
        self.bn2 = BatchNorm(hidden, lead=stack)
        with_se = sum(c.se for c in self.choices)
        self.se = SqueezeExcite(hidden, lead=lead(with_se), rng=rng) if with_se else None
        self.project = Pointwise(hidden, c_out, lead=stack, rng=rng)
        self.bn3 = BatchNorm(c_out, lead=stack)
        self.shortcut: Any = shortcut

    def __call__(self, x: jax.Array, batch: BatchStatistics | None) -> jax.Array:
        shortcut = x if self.shortcut is None else self.shortcut(x)
        x = jax.nn.hard_swish(self.bn1(self.expand(x), batch))
        x = jax.nn.hard_swish(self.bn2(self.depthwise(x), batch))
        x = x if self.se is None else self.se(x)
        x = self.bn3(self.project(x), batch)
        return x + shortcut if self.residual else x


class Stabilizer(nnx.Module):
    """ELS, the equivariant learnable stabilizer: what a skip is in the supernet.

    A linear 1x1 convolution with the layer's stride: no bias, batch norm or activation
    (SCARLET-NAS section 3.3), so that it can be folded into the next one (equation 4).
    """

    def __init__(self, c_in: int, c_out: int, stride: int, *, repeats: int | None = None):
        self.stride = stride
        lead = () if repeats is None else (repeats, 1)
        # It starts as a plain skip (ours): the scale survives any run of skips, which no batch
        # norm resets, and a supernet learns faster than from random weights.
        identity = np.eye(c_in, c_out, dtype=np.float32)
        self.kernel = nnx.Param(np.broadcast_to(identity, (*lead, c_in, c_out)).copy())

    def __call__(self, x: jax.Array) -> jax.Array:
        return pointwise(subsample(x, self.stride), self.kernel[...].astype(x.dtype))


class ZeroPad(nnx.Module):
    """The skip of the ablation without ELS: subsamples and pads with zero channels.

    The same function as slicing the next convolution's input weights (figure 2a).
    """

    def __init__(self, c_out: int, stride: int):
        self.c_out = c_out
        self.stride = stride

    def __call__(self, x: jax.Array) -> jax.Array:
        x = subsample(x, self.stride)
        return jnp.pad(x, ((0, 0), (0, 0), (0, 0), (0, max(0, self.c_out - x.shape[-1]))))[
            ..., : self.c_out
        ]


class Identity(nnx.Module):
    """The skip of a derived network: keeps its channels and applies the layer's stride."""

    def __init__(self, stride: int):
        self.stride = stride

    def __call__(self, x: jax.Array) -> jax.Array:
        return subsample(x, self.stride)


class Head(nnx.Module):
    """1x1 convolution, batch norm, ReLU6, global mean, dropout, classifier with bias."""

    def __init__(
        self,
        c_in: int,
        space: Space,
        num_classes: int,
        *,
        dropout: float = 0.0,
        rng: np.random.Generator,
    ):
        self.dropout = dropout
        self.convolution = Pointwise(c_in, space.head_width, rng=rng)
        self.bn = BatchNorm(space.head_width)
        self.classifier = Dense(space.head_width, num_classes, rng=rng)

    def __call__(
        self, x: jax.Array, batch: BatchStatistics | None, dropout_keys: jax.Array | None = None
    ) -> jax.Array:
        """Args: x `[B, H, W, C]`; one key an image `key[B]` for dropout, or None for none.

        Returns: logits `float32[B, classes]`.
        """
        x = jax.nn.relu6(self.bn(self.convolution(x), batch))
        x = x.astype(jnp.float32).mean((1, 2))  # [B, C]
        if dropout_keys is not None and self.dropout > 0:
            keep = 1.0 - self.dropout
            mask = jax.vmap(lambda key: jax.random.bernoulli(key, keep, x.shape[1:]))(dropout_keys)
            x = jnp.where(mask, x / keep, 0.0)
        return self.classifier(x)
