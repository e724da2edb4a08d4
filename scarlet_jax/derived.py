"""What the layers of a stand-alone network are: widths, strides, and what became of the skips."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from scarlet_jax import space as spaces
from scarlet_jax.errors import InputError
from scarlet_jax.space import Choice, Space

# What a skip is in a stand-alone network:
#   identity: the paper's derived network. It keeps its channels, so the next block is narrower
#     than in the supernet; trained from scratch.
#   els: the supernet's own function, with its stabilizers.
#   pad: the function of a supernet with `stabilizer="none"`.
#   folded: the function of els, with the stabilizers folded into what follows them (equation 4).
#   sliced: the function of pad, with the weights that only see padding cut off (figure 2a).
SKIPS = ("identity", "els", "pad", "folded", "sliced")
FOLDED = {"els": "folded", "pad": "sliced"}  # what `subnet.fold` makes of a path's skips


@dataclass(frozen=True)
class Layer:
    """A layer as it stands in one network.

    Attributes:
      choice: block or skip.
      stride: 1 or 2.
      c_in, c_out: channels before and after it.
      folded_width: of a block that skips are folded into, its input channels in the supernet;
        None for all others.
    """

    choice: Choice
    stride: int
    c_in: int
    c_out: int
    folded_width: int | None = None

    @property
    def keeps_shortcut(self) -> bool:
        """Whether folded skips remain on the block's shortcut."""
        return self.stride == 1 and self.folded_width == self.c_out


def layers(space: Space, architecture: Any, skip: str) -> list[Layer]:
    """The layers of the stand-alone network of `architecture` (`int32[L]`).

    The head's input is the last one's `c_out`.

    Raises:
      InputError: for an architecture that is not of the space, or an unknown kind of skip.
    """
    if skip not in SKIPS:
        raise InputError(f"skip {skip!r}; allowed: {', '.join(SKIPS)}")
    is_folded = skip in FOLDED.values()
    result: list[Layer] = []
    width, wide = space.separable_width, None
    for layer, index in zip(space.layers, spaces.validate(space, architecture), strict=True):
        choice = space.choices[index]
        if choice.is_skip and (is_folded or skip == "identity"):
            result.append(Layer(choice, layer.stride, width, width))
            wide = layer.width if is_folded else None
            continue
        result.append(Layer(choice, layer.stride, width, layer.width, wide))
        width, wide = layer.width, None
    return result


@dataclass(frozen=True)
class Fold:
    """A run of skips and what it is folded into.

    Attributes:
      skips: the layers of the run, ascending.
      into: the layer of the block whose expansion takes it; None for the head's convolution.
      on_shortcut: whether it remains on that block's shortcut as well.
    """

    skips: tuple[int, ...]
    into: int | None
    on_shortcut: bool

    def __str__(self) -> str:
        skips = ", ".join(str(layer) for layer in self.skips)
        target = "the head" if self.into is None else f"layer {self.into}"
        kept = ", and onto its shortcut" if self.on_shortcut else ""
        return f"skips {skips} into {target}{kept}"


def folds(folded: Sequence[Layer]) -> list[Fold]:
    """The runs of skips of a folded network's `layers`."""
    found: list[Fold] = []
    run: list[int] = []
    for number, layer in enumerate(folded):
        if layer.choice.is_skip:
            run.append(number)
        elif run:
            found.append(Fold(tuple(run), number, layer.keeps_shortcut))
            run = []
    return [*found, Fold(tuple(run), None, False)] if run else found
