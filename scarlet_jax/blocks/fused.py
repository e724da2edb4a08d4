"""The fused inverted bottleneck (EfficientNet-EdgeTPU; EfficientNetV2, arXiv 2104.00298)."""

import re
from dataclasses import dataclass
from typing import ClassVar, Self

import jax
import numpy as np

from scarlet_jax.blocks import base
from scarlet_jax.blocks.base import Block, Choice, Cost, Drawing, Operations, Shape, Style, X
from scarlet_jax.blocks.export import normalised
from scarlet_jax.blocks.skips import shortcut, shortcut_cost
from scarlet_jax.errors import InputError
from scarlet_jax.nn.layers import (
    ACTIVATIONS,
    BatchNorm,
    BatchStatistics,
    Convolution,
    Pointwise,
)

NAME = re.compile(r"f([1-9]\d?)k([1-9]\d?)", re.IGNORECASE)


@dataclass(frozen=True)
class FusedChoice(Choice):
    """F4K3: a full 3x3 convolution that expands by 4, then the projection."""

    example: ClassVar[str] = "F4K3"

    expansion: int
    kernel: int

    def __post_init__(self) -> None:
        if self.expansion < 1 or self.kernel < 1 or self.kernel % 2 == 0:
            raise InputError(f"{self.name}; allowed: expansion 1 or more, and an odd kernel")

    @property
    def name(self) -> str:
        return f"F{self.expansion}K{self.kernel}"

    @classmethod
    def read(cls, name: str) -> Self | None:
        found = NAME.fullmatch(name)
        return cls(int(found[1]), int(found[2])) if found else None

    @property
    def group(self) -> str:
        return "fused"

    @property
    def first(self) -> str:
        return "expand"

    def build(self, shape: Shape, style: Style, rng: np.random.Generator) -> Block:
        return Fused(self, shape, style, rng)

    def cost(self, shape: Shape, style: Style, side: int) -> Cost:
        hidden, out = shape.width * self.expansion, shape.side(side)
        cost = shortcut_cost(shape, side) + base.batch_norm(hidden)
        cost += base.convolution(shape.c_in, hidden, self.kernel, out)
        return cost + base.convolution(hidden, shape.c_out, 1, out) + base.batch_norm(shape.c_out)

    def drawing(self) -> Drawing:
        labels = f"K{self.kernel}", f"F{self.expansion}"
        return Drawing(self.expansion, self.kernel, labels, "F", "fused: one full convolution")


class Fused(Block):
    """Expand by a full convolution, project."""

    def __init__(self, choice: FusedChoice, shape: Shape, style: Style, rng: np.random.Generator):
        hidden = shape.width * choice.expansion
        self.activation = style.activation
        self.shortcut = shortcut(shape)
        self.expand = Convolution(shape.c_in, hidden, choice.kernel, shape.stride, rng=rng)
        self.bn1 = BatchNorm(hidden)
        self.project = Pointwise(hidden, shape.c_out, rng=rng)
        self.bn2 = BatchNorm(shape.c_out)

    def __call__(
        self,
        x: jax.Array,
        norm: BatchStatistics | None = None,
        taps: jax.Array | None = None,
    ) -> jax.Array:
        shortcut = None if self.shortcut is None else self.shortcut(x)
        x = ACTIVATIONS[self.activation](self.bn1(self.expand(x), norm))
        x = self.bn2(self.project(x), norm)  # [B, H / stride, W / stride, D]
        return x if shortcut is None else x + shortcut

    def export(self, ops: Operations[X], x: X) -> X:
        shortcut = None if self.shortcut is None else self.shortcut.export(ops, x)
        stride = self.expand.stride
        x = ops.convolution(x, *normalised(self.expand, self.bn1), stride, self.activation)
        x = ops.convolution(x, *normalised(self.project, self.bn2), 1, "none")
        return x if shortcut is None else ops.add(shortcut, x)
