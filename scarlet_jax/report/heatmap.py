"""How often each layer takes each choice, generation by generation: a small panel a layer."""

from html import escape

import numpy as np
from numpy.typing import NDArray

from scarlet_jax import space as spaces
from scarlet_jax.space import Array, Space

# Lengths are in units of the SVG, which are about CSS pixels.
GUTTER = 46  # for the names of the choices
TITLE = 17
ROW = 11
PLOT = 124  # all generations together
FOOT = 14  # for the first and the last generation
LEVELS = 10  # shades of a share; the lightest is any share above 0
NAMED = 3  # choices that a panel's description names


def panels(space: Space, shares: NDArray[np.float64], generations: Array) -> list[str]:
    """An SVG for each layer: a column for each generation, a row for each of its choices.

    Args:
      space: names the choices.
      shares: `[G, L, C]`, of the survivors of each generation, in [0, 1].
      generations: `[G]`, at least one, their numbers.
    """
    return [
        _panel(i, shares[:, i, own], np.array(spaces.choice_names(space))[own], generations)
        for i, own in enumerate(space.allowed)
    ]


def scale() -> str:
    """The shades from a share of next to nothing to all, as an SVG."""
    cells = "".join(_cells(f"M{12 * i} 0h12v12h-12z", i + 1) for i in range(LEVELS))
    return (
        f'<svg class="heat" role="img" aria-label="From faint, 0%, to strong, 100%" '
        f'width="{12 * LEVELS}" height="12">{cells}</svg>'
    )


def _panel(
    layer: int, shares: NDArray[np.float64], names: NDArray[np.str_], generations: Array
) -> str:
    """One layer, from the shares `[G, C]` of its choices, which have names `[C]`."""
    ranked = sorted(zip(shares[-1], names, strict=True), key=lambda pair: -pair[0])
    most = [f"{name} {share:.0%}" for share, name in ranked[:NAMED] if share > 0]
    title = f"layer {layer + 1}"
    label = f"{title}: choices of the survivors of generation {generations[-1]}: {', '.join(most)}"
    plot_height, width = ROW * len(names), GUTTER + PLOT
    foot = TITLE + plot_height + FOOT - 3
    rows = "".join(
        _text(GUTTER - 4, TITLE + (i + 0.76) * ROW, name, "end") for i, name in enumerate(names)
    )
    return (
        f'<svg class="heat" role="img" aria-label="{escape(label)}" '
        f'viewBox="0 0 {width} {TITLE + plot_height + FOOT}">'
        f"{_text(GUTTER, TITLE - 6, title, 'start', 'title')}"
        f"{_text(width, TITLE - 6, most[0] if most else '', 'end')}{rows}"
        f'<rect class="ground" x="{GUTTER}" y="{TITLE}" width="{PLOT}" height="{plot_height}"/>'
        f'<svg x="{GUTTER}" y="{TITLE}" width="{PLOT}" height="{plot_height}" '
        f'viewBox="0 0 {len(generations)} {len(names)}" preserveAspectRatio="none">'
        f"{_shades(shares)}</svg>"
        f"{_text(GUTTER, foot, f'generation {generations[0]}', 'start')}"
        f"{_text(width, foot, str(generations[-1]), 'end') if len(generations) > 1 else ''}</svg>"
    )


def _shades(shares: NDArray[np.float64]) -> str:
    """A path for each shade, with a rectangle for each run of equal cells of `[G, C]`."""
    levels = np.ceil(np.round(shares * LEVELS, 9)).astype(int).T  # [C, G]
    paths: dict[int, str] = {}
    for row, cells in enumerate(levels):
        starts = np.flatnonzero(np.diff(cells, prepend=-1))
        lengths = np.diff(starts, append=len(cells))
        for level, start, length in zip(cells[starts], starts, lengths, strict=True):
            run = f"M{start} {row}h{length}v1h-{length}z"
            paths[level] = paths.get(level, "") + run
    return "".join(_cells(path, level) for level, path in sorted(paths.items()) if level > 0)


def _cells(path: str, level: int) -> str:
    return f'<path fill-opacity="{level / LEVELS:g}" d="{path}"/>'


def _text(x: float, y: float, text: str, anchor: str, kind: str = "") -> str:
    return (
        f'<text class="{kind}" x="{x:g}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
    )
