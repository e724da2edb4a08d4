"""Skips: nothing at all, and what stands in for it in a supernet."""

from dataclasses import dataclass
from typing import ClassVar, Self

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from scarlet_jax.blocks import base
from scarlet_jax.blocks.base import (
    Block,
    Choice,
    Cost,
    Drawing,
    Operations,
    Shape,
    Style,
    Weights,
    X,
)
from scarlet_jax.blocks.export import normalised, pixelwise
from scarlet_jax.nn.convolution import convolution
from scarlet_jax.nn.layers import BatchNorm, BatchStatistics, Convolution, subsample

NAME = "identity"


@dataclass(frozen=True)
class IdentityChoice(Choice):
    """SCARLET's skip: keeps its input's channels, and applies the layer's stride.

    So the block after it is narrower, and what a layer costs depends on the last one that is no
    skip. In a supernet, where all paths meet, a `StabilizedSkip` or a `PaddedSkip` stands for it.
    """

    example: ClassVar[str] = NAME
    is_skip: ClassVar[bool] = True
    keeps_width: ClassVar[bool] = True

    @property
    def name(self) -> str:
        return NAME

    @classmethod
    def read(cls, name: str) -> Self | None:
        return cls() if name.lower() == NAME else None

    @property
    def group(self) -> str:
        return "skip"

    def build(self, shape: Shape, style: Style, rng: np.random.Generator) -> Block:
        return Identity(shape.stride)

    def cost(self, shape: Shape, style: Style, side: int) -> Cost:
        return base.FREE

    def drawing(self) -> Drawing | None:
        return None


@dataclass(frozen=True)
class StabilizedSkip(IdentityChoice):
    """A skip with ELS, the equivariant learnable stabilizer (SCARLET-NAS section 3.3)."""

    def build(self, shape: Shape, style: Style, rng: np.random.Generator) -> Block:
        return Stabilizer(shape)

    def cost(self, shape: Shape, style: Style, side: int) -> Cost:
        return base.convolution(shape.c_in, shape.c_out, 1, shape.side(side))


@dataclass(frozen=True)
class PaddedSkip(IdentityChoice):
    """The skip of the ablation without ELS: padded with zero channels."""

    def build(self, shape: Shape, style: Style, rng: np.random.Generator) -> Block:
        return ZeroPad(shape)


@dataclass(frozen=True)
class DownsampleChoice(IdentityChoice):
    """A skip that is a 1x1 convolution with batch norm where width or stride change.

    NAS-Bench-Macro's (arXiv 2103.11922). It has its layer's width always, in any network.
    """

    keeps_width: ClassVar[bool] = False

    @property
    def group(self) -> str:
        return "downsample"

    def build(self, shape: Shape, style: Style, rng: np.random.Generator) -> Block:
        return Identity(1) if shape.preserves_shape else Downsample(shape, rng)

    def cost(self, shape: Shape, style: Style, side: int) -> Cost:
        if shape.preserves_shape:
            return base.FREE
        out = shape.side(side)
        return base.convolution(shape.c_in, shape.c_out, 1, out) + base.batch_norm(shape.c_out)


class Identity(Block):
    """Every `stride`-th pixel."""

    def __init__(self, stride: int):
        self.stride = stride

    def __call__(
        self,
        x: jax.Array,
        norm: BatchStatistics | None = None,
        taps: jax.Array | None = None,
    ) -> jax.Array:
        return subsample(x, self.stride)

    def export(self, ops: Operations[X], x: X) -> X:
        return x if self.stride == 1 else ops.subsample(x, self.stride)


class Stabilizer(Block):
    """A linear 1x1 convolution with the layer's stride: no bias, batch norm or activation, so that
    it can be folded into the next one (SCARLET-NAS equation 4).

    It starts as a plain skip (ours): the scale survives any run of skips, which no batch norm
    resets, and a supernet learns faster than from random weights.
    """

    def __init__(self, shape: Shape):
        self.stride = shape.stride
        self.kernel = nnx.Param(np.eye(shape.c_in, shape.c_out, dtype=np.float32))

    def __call__(
        self,
        x: jax.Array,
        norm: BatchStatistics | None = None,
        taps: jax.Array | None = None,
    ) -> jax.Array:
        # `pointwise(subsample(x))` ends XLA's GPU compiler in some spaces (jax 0.10.2 and 0.11.2).
        return convolution(x, self.kernel[None, None].astype(x.dtype), self.stride)

    def export(self, ops: Operations[X], x: X) -> X:
        return _pointwise(ops, x, np.asarray(self.kernel[...]), self.stride)


class ZeroPad(Block):
    """Subsamples and pads with zero channels, or cuts off.

    The same function as slicing the next convolution's input weights (figure 2a).
    """

    def __init__(self, shape: Shape):
        self.c_in = shape.c_in
        self.c_out = shape.c_out
        self.stride = shape.stride

    def __call__(
        self,
        x: jax.Array,
        norm: BatchStatistics | None = None,
        taps: jax.Array | None = None,
    ) -> jax.Array:
        x = subsample(x, self.stride)
        return jnp.pad(x, ((0, 0), (0, 0), (0, 0), (0, max(0, self.c_out - x.shape[-1]))))[
            ..., : self.c_out
        ]

    def export(self, ops: Operations[X], x: X) -> X:
        return _pointwise(ops, x, np.eye(self.c_in, self.c_out, dtype=np.float32), self.stride)


class Downsample(Block):
    """A 1x1 convolution with the layer's stride, and batch norm."""

    def __init__(self, shape: Shape, rng: np.random.Generator):
        self.stride = shape.stride
        self.convolution = Convolution(shape.c_in, shape.c_out, 1, shape.stride, rng=rng)
        self.bn = BatchNorm(shape.c_out)

    def __call__(
        self,
        x: jax.Array,
        norm: BatchStatistics | None = None,
        taps: jax.Array | None = None,
    ) -> jax.Array:
        return self.bn(self.convolution(x), norm)

    def export(self, ops: Operations[X], x: X) -> X:
        return ops.convolution(x, *normalised(self.convolution, self.bn), self.stride, "none")


def shortcut(shape: Shape) -> Block | None:
    """What is on a block's shortcut: its input, which folded skips remain on; None without one."""
    if not shape.is_residual:
        return None
    if shape.folded_width is None:
        return Identity(1)
    return ZeroPad(shape) if shape.is_sliced else Stabilizer(shape)


def shortcut_cost(shape: Shape, side: int) -> Cost:
    """Counts of `shortcut`."""
    if not shape.is_residual or shape.folded_width is None or shape.is_sliced:
        return base.FREE
    return base.convolution(shape.c_in, shape.c_out, 1, side)


def _pointwise(ops: Operations[X], x: X, kernel: Weights, stride: int) -> X:
    no_bias = np.zeros(kernel.shape[-1], np.float32)
    return ops.convolution(x, pixelwise(kernel), no_bias, stride, "none")
