"""What the layers of a stand-alone network are: widths, strides, and what became of the skips."""

from collections.abc import Sequence
from dataclasses import dataclass

from scarlet_jax import space as spaces
from scarlet_jax.blocks import Choice, Shape
from scarlet_jax.blocks.skips import IdentityChoice, PaddedSkip, StabilizedSkip
from scarlet_jax.errors import InputError, check_one_of
from scarlet_jax.space import Array, Space

# What a skip is in a stand-alone network:
#   identity: the paper's derived network. It keeps its channels, so the next block is narrower
#     than in the supernet; trained from scratch.
#   els: the supernet's own function, with its stabilizers.
#   pad: the function of a supernet with `stabilizer="none"`.
#   folded: the function of els, with the stabilizers folded into what follows them (equation 4).
#   sliced: the function of pad, with the weights that only see padding cut off (figure 2a).
SKIPS: dict[str, Choice] = {
    "identity": IdentityChoice(),
    "els": StabilizedSkip(),
    "pad": PaddedSkip(),
    "folded": IdentityChoice(),
    "sliced": IdentityChoice(),
}
FOLDED = {"els": "folded", "pad": "sliced"}  # what `subnet.fold` makes of a path's skips


@dataclass(frozen=True)
class Layer:
    """A layer as it stands in one network: its block, or what its skip is, and the shape of it."""

    choice: Choice
    shape: Shape


def layers(space: Space, architecture: Array, skip: str) -> list[Layer]:
    """The layers of the stand-alone network of `architecture` (`int32[L]`).

    The head's input is the last one's `shape.c_out`.

    Raises:
      InputError: for an architecture that is not of the space, or an unknown kind of skip.
    """
    check_one_of("skip", skip, SKIPS)
    is_folded = skip in FOLDED.values()
    result: list[Layer] = []
    width, wide = space.widths[0], None
    for layer, index in zip(space.layers, spaces.validate(space, architecture), strict=True):
        choice = space.choices[index]
        if choice.keeps_width and (is_folded or skip == "identity"):
            result.append(Layer(SKIPS[skip], Shape(width, width, layer.stride)))
            wide = layer.width if is_folded else None
            continue
        shape = Shape(width, layer.width, layer.stride, wide, skip == "sliced")
        result.append(Layer(SKIPS[skip] if choice.keeps_width else choice, shape))
        width, wide = layer.width, None
    return result


@dataclass(frozen=True)
class Fold:
    """A run of skips and what it is folded into.

    Attributes:
      skips: the layers of the run, ascending.
      into: the layer of the block whose first convolution takes it; None for the head's.
      on_shortcut: whether it remains on that block's shortcut as well.
    """

    skips: tuple[int, ...]
    into: int | None
    on_shortcut: bool

    def __str__(self) -> str:
        skips = ", ".join(str(layer) for layer in self.skips)
        target = "the head" if self.into is None else f"layer {self.into}"
        shortcut = ", and onto its shortcut" if self.on_shortcut else ""
        return f"skips {skips} into {target}{shortcut}"


def folds(folded: Sequence[Layer]) -> list[Fold]:
    """The runs of skips of a folded network's `layers`.

    Raises:
      InputError: for a block after skips whose first convolution sees each channel alone.
    """
    found: list[Fold] = []
    run: list[int] = []
    for number, layer in enumerate(folded):
        if layer.choice.keeps_width:
            run.append(number)
        elif run:
            if not layer.choice.first:
                raise InputError(
                    f"the skips {run} cannot be folded into {layer.choice.name} of layer {number}, "
                    "which begins with a depthwise convolution; allowed: blocks that expand"
                )
            found.append(Fold(tuple(run), number, layer.shape.is_residual))
            run = []
    return [*found, Fold(tuple(run), None, False)] if run else found
