"""The kinds of blocks that a layer can choose from, one file each; `base.Choice` says what one is.

Another kind is another file, and its entry in `KINDS`.
"""

from collections.abc import Sequence

from scarlet_jax.blocks.base import (
    SCARLET,
    Block,
    Choice,
    Cost,
    Drawing,
    Shape,
    Style,
)
from scarlet_jax.blocks.fused import FusedChoice
from scarlet_jax.blocks.inverted_bottleneck import InvertedBottleneckChoice
from scarlet_jax.blocks.skips import DownsampleChoice, IdentityChoice
from scarlet_jax.errors import InputError

__all__ = [
    "KINDS",
    "SCARLET",
    "SKIPS",
    "Block",
    "Choice",
    "Cost",
    "Drawing",
    "InvertedBottleneckChoice",
    "Shape",
    "Style",
    "read",
]

# What the name "identity" is, by a space's setting `skip`.
SKIPS: dict[str, Choice] = {"identity": IdentityChoice(), "downsample": DownsampleChoice()}
KINDS: Sequence[type[Choice]] = (InvertedBottleneckChoice, FusedChoice, IdentityChoice)


def read(name: str, skip: str = "identity") -> Choice:
    """The choice of a name, such as E3K5_SE, F4K3 or identity.

    Args:
      name: in upper or lower case.
      skip: what the name "identity" is, one of `SKIPS`.

    Raises:
      InputError: for a name that no kind knows, or a skip where there is none.
    """
    for kind in KINDS:
        if (choice := kind.read(name)) is not None and (not choice.is_skip or skip in SKIPS):
            return SKIPS[skip] if choice.is_skip else choice
    examples = [kind.example for kind in KINDS if not kind.is_skip or skip in SKIPS]
    raise InputError(f"choice {name!r}; allowed: such as {', '.join(examples)}")
