"""MobileNetV2's inverted bottleneck (arXiv 1801.04381), with optional squeeze-and-excitation."""

import re
from collections.abc import Hashable
from dataclasses import dataclass
from typing import ClassVar, Self

import jax
import numpy as np

from scarlet_jax.blocks import base
from scarlet_jax.blocks.base import Block, Choice, Cost, Drawing, Operations, Shape, Style, X
from scarlet_jax.blocks.export import dense, normalised
from scarlet_jax.blocks.skips import shortcut, shortcut_cost
from scarlet_jax.errors import InputError
from scarlet_jax.nn.functional import KeyPath
from scarlet_jax.nn.layers import (
    ACTIVATIONS,
    SATURATED,
    BatchNorm,
    BatchStatistics,
    Depthwise,
    Pointwise,
    SqueezeExcite,
)

NAME = re.compile(r"e([1-9]\d?)k([1-9]\d?)(_se)?", re.IGNORECASE)


@dataclass(frozen=True)
class InvertedBottleneckChoice(Choice):
    """E6K5_SE: expansion 6, kernel 5, with SE. Expansion 1 has no convolution that expands."""

    example: ClassVar[str] = "E3K5_SE"

    expansion: int
    kernel: int
    se: bool = False

    def __post_init__(self) -> None:
        if self.expansion < 1 or self.kernel < 1 or self.kernel % 2 == 0:
            raise InputError(f"{self.name}; allowed: expansion 1 or more, and an odd kernel")

    @property
    def name(self) -> str:
        return f"E{self.expansion}K{self.kernel}" + ("_SE" if self.se else "")

    @classmethod
    def read(cls, name: str) -> Self | None:
        found = NAME.fullmatch(name)
        return cls(int(found[1]), int(found[2]), found[3] is not None) if found else None

    @property
    def group(self) -> str:
        return "inverted_bottleneck" if self.expansion > 1 else "separable"

    @property
    def first(self) -> str:
        return "expand" if self.expansion > 1 else ""

    @property
    def branch(self) -> Hashable:
        return self.expansion

    @property
    def taps(self) -> int:
        return self.kernel

    def absent(self, path: KeyPath) -> float | None:
        return SATURATED if path == ("se", "excite", "bias") else None  # gates of exactly 1

    def check(self, width: int, style: Style) -> None:
        if self.se and self.expansion * width < style.se_ratio:
            raise InputError(
                f"{self.name} on {width} channels; allowed for SE: {style.se_ratio} or more after "
                "expansion"
            )

    def build(self, shape: Shape, style: Style, rng: np.random.Generator) -> Block:
        return InvertedBottleneck(self, shape, style, rng)

    def cost(self, shape: Shape, style: Style, side: int) -> Cost:
        hidden, out = shape.width * self.expansion, shape.side(side)
        cost = shortcut_cost(shape, side)
        cost += base.convolution(hidden, hidden, self.kernel, out, groups=hidden)
        cost += base.batch_norm(hidden)
        if self.expansion > 1:
            cost += base.convolution(shape.c_in, hidden, 1, side) + base.batch_norm(hidden)
        if self.se:
            squeezed = hidden // style.se_ratio
            cost += base.dense(hidden, squeezed) + base.dense(squeezed, hidden)
        return cost + base.convolution(hidden, shape.c_out, 1, out) + base.batch_norm(shape.c_out)

    def drawing(self) -> Drawing:
        labels = f"K{self.kernel}", f"E{self.expansion}"
        mark = ("SE", "squeeze-and-excitation") if self.se else ("", "")
        return Drawing(self.expansion, self.kernel, labels, *mark)


class InvertedBottleneck(Block):
    """Expand, depthwise convolution, optional SE, project."""

    def __init__(
        self, choice: InvertedBottleneckChoice, shape: Shape, style: Style, rng: np.random.Generator
    ):
        hidden = shape.width * choice.expansion
        self.activation = style.activation
        self.shortcut = shortcut(shape)
        expands = choice.expansion > 1
        self.expand = Pointwise(shape.c_in, hidden, rng=rng) if expands else None
        self.bn1 = BatchNorm(hidden) if expands else None
        self.depthwise = Depthwise(hidden, choice.kernel, shape.stride, rng=rng)
        self.bn2 = BatchNorm(hidden)
        self.se = SqueezeExcite(hidden, style.se_ratio, rng=rng) if choice.se else None
        self.project = Pointwise(hidden, shape.c_out, rng=rng)
        self.bn3 = BatchNorm(shape.c_out)

    def __call__(
        self,
        x: jax.Array,
        norm: BatchStatistics | None = None,
        taps: jax.Array | None = None,
    ) -> jax.Array:
        activate = ACTIVATIONS[self.activation]
        shortcut = None if self.shortcut is None else self.shortcut(x)
        if self.expand is not None and self.bn1 is not None:
            x = activate(self.bn1(self.expand(x), norm))  # [B, H, W, E * C]
        x = activate(self.bn2(self.depthwise(x, taps), norm))  # [B, H / stride, W / stride, E * C]
        x = x if self.se is None else self.se(x)
        x = self.bn3(self.project(x), norm)  # [B, H / stride, W / stride, D]
        return x if shortcut is None else x + shortcut

    def export(self, ops: Operations[X], x: X) -> X:
        shortcut = None if self.shortcut is None else self.shortcut.export(ops, x)
        if self.expand is not None and self.bn1 is not None:
            x = ops.convolution(x, *normalised(self.expand, self.bn1), 1, self.activation)
        stride = self.depthwise.stride
        x = ops.depthwise(x, *normalised(self.depthwise, self.bn2), stride, self.activation)
        if self.se is not None:
            gate = ops.convolution(ops.mean(x), *dense(self.se.squeeze), 1, "relu")
            gate = ops.convolution(gate, *dense(self.se.excite), 1, "hard_sigmoid")
            x = ops.multiply(x, gate)
        x = ops.convolution(x, *normalised(self.project, self.bn3), 1, "none")
        return x if shortcut is None else ops.add(shortcut, x)
