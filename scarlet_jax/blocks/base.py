"""What a kind of block is.

A kind is one file here: a frozen dataclass, a `Choice`, which says everything about the block that
needs no weights, and the Flax module that it builds. `scarlet_jax.blocks` has the list of kinds.
"""

from abc import ABC, abstractmethod
from collections.abc import Hashable
from dataclasses import dataclass
from typing import ClassVar, Protocol, Self, TypeVar

import jax
import numpy as np
from flax import nnx
from numpy.typing import NDArray

from scarlet_jax.errors import InputError, check_one_of
from scarlet_jax.nn.functional import KeyPath
from scarlet_jax.nn.layers import ACTIVATIONS, BatchStatistics

X = TypeVar("X")
Weights = NDArray[np.float32]


@dataclass(frozen=True)
class Style:
    """What all blocks of a space have in common.

    Attributes:
      activation: of the blocks, one of `layers.ACTIVATIONS`.
      stem_activation: of stem, separable block and head.
      se_ratio: squeeze-and-excitation squeezes so many channels to one (after expansion).
    """

    activation: str = "hard_swish"
    stem_activation: str = "relu6"
    se_ratio: int = 4

    def __post_init__(self) -> None:
        for name in (self.activation, self.stem_activation):
            check_one_of("activation", name, ACTIVATIONS)
        if self.se_ratio < 1:
            raise InputError(f"se_ratio is {self.se_ratio}; allowed: 1 or more")


SCARLET = Style()


@dataclass(frozen=True)
class Shape:
    """What a block makes of its input.

    Attributes:
      c_in, c_out: channels before and after it.
      stride: 1 or 2.
      folded_width: of a block that skips are folded into (equation 4), its input channels in the
        supernet, by which it expands and has a shortcut; None for all others.
      is_sliced: whether those skips were padding, which needs no weights on the shortcut.
    """

    c_in: int
    c_out: int
    stride: int
    folded_width: int | None = None
    is_sliced: bool = False

    @property
    def width(self) -> int:
        """Channels that expansion multiplies."""
        return self.c_in if self.folded_width is None else self.folded_width

    @property
    def is_residual(self) -> bool:
        """Whether a block adds its input to its output."""
        return self.stride == 1 and self.width == self.c_out

    @property
    def preserves_shape(self) -> bool:
        """Whether output and input are of one shape."""
        return self.stride == 1 and self.c_in == self.c_out

    def side(self, side: int) -> int:
        """Pixels along a side of the output, of the input's."""
        return -(-side // self.stride)


@dataclass(frozen=True)
class Cost:
    """Exact counts: MACs of one image, and trainable parameters.

    Multiply-adds of convolutions and dense layers count (squeeze-and-excitation once an image);
    batch norm and activations are free.
    """

    macs: int
    params: int

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(self.macs + other.macs, self.params + other.params)


FREE = Cost(0, 0)


def convolution(c_in: int, c_out: int, kernel: int, side: int, groups: int = 1) -> Cost:
    """A square convolution without bias, with `side * side` output positions."""
    weights = c_in // groups * c_out * kernel * kernel
    return Cost(weights * side * side, weights)


def batch_norm(channels: int) -> Cost:
    return Cost(0, 2 * channels)


def dense(c_in: int, c_out: int) -> Cost:
    """A dense layer with bias, or a 1x1 convolution with bias on one pixel."""
    return Cost(c_in * c_out, c_in * c_out + c_out)


@dataclass(frozen=True)
class Drawing:
    """How a block is drawn in a row of blocks; sizes are relative to the largest of a space.

    Attributes:
      width, height: such as expansion and kernel.
      labels: two lines below it.
      mark: above it; "" for none.
      meaning: of the mark, for a legend.
    """

    width: int
    height: int
    labels: tuple[str, str]
    mark: str = ""
    meaning: str = ""


class Operations(Protocol[X]):
    """What exported networks are made of. Feature maps have axes for images, rows, columns and
    channels; batch norm is folded into the convolution before it.

    An activation is "none", "hard_sigmoid", or one of `layers.ACTIVATIONS`.
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


class Exportable(Protocol):
    """What can be written for another runtime: a network, or a part of one."""

    def export(self, ops: Operations[X], x: X) -> X:
        """Carries it out on a feature map."""
        ...


class Block(nnx.Module):
    """The module of a block, of one choice."""

    def __call__(
        self,
        x: jax.Array,
        norm: BatchStatistics | None = None,
        taps: jax.Array | None = None,
    ) -> jax.Array:
        """Runs the block.

        Args:
          x: `[B, H, W, C]`.
          norm: by which statistics batch norm normalises; None: running ones.
          taps: `int32[]`, in a supernet, where kernels are padded with zeros: see `Choice.taps`.

        Returns:
          `[B, ceil(H / stride), ceil(W / stride), D]`.
        """
        raise NotImplementedError

    def export(self, ops: Operations[X], x: X) -> X:
        """The same, by running statistics, in the operations that every runtime has."""
        raise NotImplementedError


class Choice(ABC):
    """One option of a layer: a kind of block with its settings, hashable.

    Attributes:
      example: a name of its kind.
      is_skip: whether it stands for no layer.
      keeps_width: whether it has its input's channels, and not its layer's.
    """

    example: ClassVar[str]
    is_skip: ClassVar[bool] = False
    keeps_width: ClassVar[bool] = False

    @property
    @abstractmethod
    def name(self) -> str:
        """How files, flags and tables call it, such as E3K5_SE."""

    @classmethod
    @abstractmethod
    def read(cls, name: str) -> Self | None:
        """The choice of that name; None if it is none of this kind."""

    @property
    @abstractmethod
    def group(self) -> str:
        """Choices of one group share arrays in a supernet, each padded to the largest.

        Their modules are the same but for shapes, and for arrays that some do without.
        """

    @property
    def branch(self) -> Hashable:
        """On CPUs, choices of a group where this is equal run in the arrays of the largest."""
        return self

    @property
    def taps(self) -> int:
        """Of a module that can pass over the zeros around its kernel, the kernel's size; else 0."""
        return 0

    def absent(self, path: KeyPath) -> float | None:
        """What fills this choice's array for those of its group without it, so that it does nothing
        there; None where any numbers may be."""
        return 0.0

    @property
    def first(self) -> str:
        """The convolution of its module that sees its whole input, into which skips before it can
        be folded; "" if there is none."""
        return ""

    def check(self, width: int, style: Style) -> None:  # noqa: B027  # most are always allowed
        """Raises `InputError` if it cannot be built on so few channels."""

    @abstractmethod
    def build(self, shape: Shape, style: Style, rng: np.random.Generator) -> Block:
        """Its module with random weights."""

    @abstractmethod
    def cost(self, shape: Shape, style: Style, side: int) -> Cost:
        """Counts on an input of `side * side` pixels."""

    @abstractmethod
    def drawing(self) -> Drawing | None:
        """None: nothing is there."""
