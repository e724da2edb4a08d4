"""Colours and marks that the figures and the page share; style.css has the page's own.

The palettes stay apart under the common colour-vision deficiencies: Okabe and Ito's colours,
extended, each with a mark of its own so that colour is never the only cue.
"""

from typing import NamedTuple


class Mark(NamedTuple):
    """What tells a model or a curve from the others."""

    color: str
    marker: str  # Matplotlib's
    character: str  # the same mark in text


# Of each model in turn.
MARKS = (
    Mark("#0072b2", "o", "●"),
    Mark("#d55e00", "s", "■"),
    Mark("#009e73", "^", "▲"),
    Mark("#cc79a7", "D", "◆"),
    Mark("#e69f00", "v", "▼"),
    Mark("#56b4e9", "P", "✚"),
    Mark("#b03060", "X", "✖"),
    Mark("#999933", "<", "◀"),
    Mark("#7f7f7f", ">", "▶"),
    Mark("#7b68c8", "*", "★"),
)
KERNEL_SHADES = 5  # of the blocks, k0 to k4 in style.css: the darker, the larger the kernel

# Colours that follow the page's light or dark scheme: in a figure's SVG each stands for the
# style sheet's variable of that name.
THEME = {
    "ink": "#1d2127",
    "muted": "#636b76",
    "faint": "#a9b0ba",
    "grid": "#e4e7eb",
    "page": "#fdfdfc",
}


def marks(count: int) -> list[Mark]:
    """The marks of the first `count` models.

    The next ten have the same colours with other marks, and so on: 100 are all different.
    """
    turns = [divmod(i, len(MARKS)) for i in range(count)]
    return [MARKS[(i + turn) % len(MARKS)]._replace(color=MARKS[i].color) for turn, i in turns]
