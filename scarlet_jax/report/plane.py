"""A plane of two quantities that architectures lie on: its axes, edges of fronts, named models."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, FuncFormatter, MaxNLocator

from scarlet_jax.report import figures, tallies
from scarlet_jax.report.contents import Points
from scarlet_jax.report.palette import THEME, Mark
from scarlet_jax.report.quantities import Quantity, percent, short

TICKS = 6  # at most this many steps between them
MARGINS = np.array([0.15, 0.12])  # of x and y around what is shown, with room for names


def set_axes(axes: Axes, quantities: Sequence[Quantity], shown: Points) -> None:
    """Labels and ticks of what x and y are; limits around the points shown."""
    for axis, named in zip((axes.xaxis, axes.yaxis), quantities, strict=True):
        axis.set_label_text(f"{named.label} ({named.unit})" if named.unit else named.label)
        axis.set_major_locator(MaxNLocator(TICKS))
        if named.write is percent:
            axis.set_major_formatter(FuncFormatter(figures.percent_tick))
        elif named.write is short:
            axis.set_major_formatter(EngFormatter(sep=" "))
    shown = shown[np.isfinite(shown).all(axis=1)]
    if len(shown):
        low, high = shown.min(axis=0), shown.max(axis=0)
        room = MARGINS * np.where(high > low, high - low, np.maximum(0.1 * abs(high), 0.01))
        axes.set_xlim(low[0] - room[0], high[0] + room[0])
        axes.set_ylim(low[1] - room[1], high[1] + room[1])


def draw_steps(axes: Axes, points: Points, maximize: tuple[bool, bool], **style: Any) -> None:
    """The edge of what the points dominate: a point's y holds from its x on to the worse."""
    x, y = tallies.non_dominated(points, maximize).T
    axes.step(x, y, where="pre" if maximize[0] else "post", **style)


def name_models(figure: Figure, axes: Axes, named: Sequence[tuple[str, Mark, Points]]) -> None:
    """Marks models, each at its point `float64[2]`, and names them above, clear of each other."""
    for number, (_, mark, point) in enumerate(named):
        axes.plot(
            *point,
            mark.marker,
            color=mark.color,
            markersize=8,
            markeredgecolor=THEME["page"],
            markeredgewidth=1.0,
            zorder=6,
            gid=f"mark-{number}",
        )
    figure.draw_without_rendering()
    taken: list[tuple[float, float]] = []  # right end and height of the labels placed so far
    for number, (name, _, point) in sorted(enumerate(named), key=lambda pair: pair[1][2][0]):
        x, y = axes.transData.transform(point) * 72 / figure.dpi
        width, height, up = 5.2 * len(name) + 6, 11.0, 9.0
        while any(x - width < end and abs(y + up - level) < height for end, level in taken):
            up += 2.0
        taken.append((x, y + up))
        arrow = {"arrowstyle": "-", "color": THEME["muted"], "lw": 0.6, "shrinkB": 3}
        axes.annotate(
            name,
            (point[0], point[1]),
            (-4, up),
            textcoords="offset points",
            ha="right",
            zorder=7,
            gid=f"name-{number}",
            arrowprops=arrow | {"gid": f"arrow-{number}"},
        )
