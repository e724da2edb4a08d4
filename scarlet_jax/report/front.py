"""The figure of a search's front, and where in it each architecture lies."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, FuncFormatter, MaxNLocator

from scarlet_jax.report import figures, tallies
from scarlet_jax.report.contents import Model, Points, Search
from scarlet_jax.report.palette import THEME, marks

SIZE = (6.0, 4.7)  # inches ...
UNITS = 72  # ... of so many units of the SVG
RASTERIZE_ABOVE = 4000  # points of one kind: more would make the page heavy
LINES = 40  # at most this many generations have their front drawn


@dataclass(frozen=True)
class FrontFigure:
    """The SVG, its width and height, and `float64[E, 2]`: every architecture's position in it.

    Positions are in the SVG's own units, from the top left; NaN where not measured.
    """

    svg: str
    size: tuple[float, float]
    positions: Points


def front_figure(search: Search, models: Sequence[Model]) -> FrontFigure:
    """The search on its two axes.

    All that was evaluated, the survivors and fronts by generation, the final front and those
    models that are in the history.
    """
    points = search.points()
    named = sum(model.index is not None for model in models)
    label = (
        f"Scatter plot of {search.quantity(search.axes[1]).label} against "
        f"{search.quantity(search.axes[0]).label}: {len(points)} architectures evaluated, the "
        f"survivors of each generation, {len(search.front)} on the final front, {named} models "
        "named"
    )
    with matplotlib.rc_context(figures.SETTINGS):
        figure = Figure(figsize=SIZE, layout="constrained")
        axes = figure.subplots()
        _draw_cloud(axes, points[search.feasible], "feasible", "o", 7)
        _draw_cloud(axes, points[~search.feasible], "infeasible", "x", 9)
        if search.generations:
            _draw_generations(axes, search)
        if len(search.front):
            front = points[search.front]
            _draw_steps(axes, search, front, color=THEME["ink"], lw=1.3, zorder=4)
            axes.plot(*front.T, "o", color=THEME["ink"], markersize=3.5, zorder=4, gid="members")
        _set_axes(axes, search)
        _label_models(figure, axes, search, models)
        svg = figures.to_svg(figure, "front", label)
        positions = axes.transData.transform(points) * UNITS / figure.dpi  # from the bottom left
        width, height = UNITS * SIZE[0], UNITS * SIZE[1]
        return FrontFigure(svg, (width, height), positions * (1, -1) + (0, height))


def generation_colors() -> LinearSegmentedColormap:
    """Early to late: the middle of `plasma`, readable on light and on dark."""
    plasma = matplotlib.colormaps["plasma"]
    return LinearSegmentedColormap.from_list("generation", plasma(np.linspace(0.25, 0.85, 64)))


def _draw_cloud(axes: Axes, points: Points, name: str, marker: str, size: float) -> None:
    axes.scatter(
        points[:, 0],
        points[:, 1],
        s=size,
        marker=marker,
        color=THEME["faint"],
        alpha=0.45,
        linewidths=0.6 if marker == "x" else 0,
        gid=name,
        rasterized=len(points) > RASTERIZE_ABOVE,
    )


def _draw_generations(axes: Axes, search: Search) -> None:
    """Survivors in the colour of the first generation that kept them, and each one's front."""
    colors = generation_colors()
    last = len(search.generations) - 1
    scale = Normalize(0, max(last, 1))
    new = tallies.newcomers(search)
    points = search.points(np.concatenate(new))
    axes.scatter(
        points[:, 0],
        points[:, 1],
        s=10,
        c=np.repeat(np.arange(last + 1), [len(survivors) for survivors in new]),
        cmap=colors,
        norm=scale,
        linewidths=0,
        zorder=3,
        gid="survivors",
        rasterized=len(points) > RASTERIZE_ABOVE,
    )
    for number in tallies.spread(last + 1, LINES):
        survivors = search.points(search.generations[number])
        _draw_steps(axes, search, survivors, color=colors(scale(number)), lw=0.8, alpha=0.7)
    if last > 0:
        bar = axes.figure.colorbar(
            ScalarMappable(scale, colors),
            ax=axes,
            label="generation",
            location="bottom",
            aspect=48,
            pad=0.03,
        )
        bar.outline.set_visible(False)
        bar.ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))


def _draw_steps(axes: Axes, search: Search, points: Points, **style: Any) -> None:
    """The edge of what the points dominate: a point's y holds from its x on to the worse."""
    x, y = tallies.non_dominated(points, search.maximize).T
    axes.step(x, y, where="pre" if search.maximize[0] else "post", **style)


def _set_axes(axes: Axes, search: Search) -> None:
    for axis, name in zip((axes.xaxis, axes.yaxis), search.axes, strict=True):
        named = search.quantity(name)
        axis.set_label_text(f"{named.label} ({named.unit})" if named.unit else named.label)
        axis.set_major_locator(MaxNLocator(6))
        if name == "accuracy":
            axis.set_major_formatter(FuncFormatter(figures.percent_tick))
        elif name in ("macs", "params"):
            axis.set_major_formatter(EngFormatter(sep=" "))
    axes.margins(0.15, 0.12)


def _label_models(figure: Figure, axes: Axes, search: Search, models: Sequence[Model]) -> None:
    """Marks the models and names them above the front, each label clear of the ones before."""
    placed = []
    for model, (color, marker, _) in zip(models, marks(len(models)), strict=True):
        if model.index is None:
            continue
        point = search.points(np.array([model.index]))[0]
        placed.append((model.name, point))
        axes.plot(
            *point,
            marker,
            color=color,
            markersize=8,
            markeredgecolor=THEME["page"],
            markeredgewidth=1.0,
            zorder=6,
        )
    figure.draw_without_rendering()
    taken: list[tuple[float, float]] = []  # right end and height of the labels placed so far
    for name, point in sorted(placed, key=lambda pair: pair[1][0]):
        x, y = axes.transData.transform(point) * 72 / figure.dpi
        width, height, up = 5.2 * len(name) + 6, 11.0, 9.0
        while any(x - width < end and abs(y + up - level) < height for end, level in taken):
            up += 2.0
        taken.append((x, y + up))
        axes.annotate(
            name,
            point,
            (-4, up),
            textcoords="offset points",
            ha="right",
            zorder=7,
            arrowprops={"arrowstyle": "-", "color": THEME["muted"], "lw": 0.6, "shrinkB": 3},
        )
