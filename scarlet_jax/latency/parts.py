"""The blocks and heads of a space that cost something of their own, each with its input's shape."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from scarlet_jax.blocks import Block, Choice, Shape
from scarlet_jax.blocks.ends import Head
from scarlet_jax.path_table import possible_sources
from scarlet_jax.space import Layer, Space


@dataclass(frozen=True)
class Part:
    """A block or the head with the shape of its input: measured once, wherever it occurs."""

    side: int  # of its input, pixels
    width: int  # of its input, channels
    choice: Choice | None = None  # None in the head
    layer: Layer | None = None  # width and stride of a block's output

    @property
    def is_identity(self) -> bool:
        return self.choice is not None and self.choice.keeps_width

    def __str__(self) -> str:
        name = "head" if self.choice is None else self.choice.name
        return f"{name} on {self.side} x {self.side} x {self.width}"

    def build(self, space: Space, num_classes: int, rng: np.random.Generator) -> Block | Head:
        """Its module with random weights."""
        if self.choice is None or self.layer is None:
            return Head(space, self.width, num_classes, rng=rng)
        shape = Shape(self.width, self.layer.width, self.layer.stride)
        return self.choice.build(shape, space.style, rng)


def plan(space: Space, image_size: int) -> dict[str, Any]:
    """The part that each number of a table is measured by, in the table's form."""
    side = -(-image_size // space.stem_stride)
    *inputs, last = [dict.fromkeys(widths.values()) for widths in input_widths(space)]
    layers = []
    for number, widths in enumerate(inputs):
        layer = replace(space.layers[number], choices=None)  # so that equal blocks are one part
        layers.append(
            {
                choice.name: {str(width): Part(side, width, choice, layer) for width in widths}
                for choice in own_choices(space, number).values()
            }
        )
        side = -(-side // layer.stride)
    return {"layers": layers, "head": {str(width): Part(side, width) for width in last}}


def input_widths(space: Space) -> list[dict[int, int]]:
    """Channels that a layer, and last the head, may read: by source, which it may have."""
    widths = space.widths
    return [
        {source: widths[source] for source in np.flatnonzero(possible).tolist()}
        for possible in possible_sources(space.allowed, space.keeps_width)
    ]


def own_choices(space: Space, layer: int) -> dict[int, Choice]:
    """What a layer may take, by index."""
    return {i: space.choices[i] for i in np.flatnonzero(space.allowed[layer]).tolist()}
