"""The figure of a search's front, and where in it each architecture lies."""

from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from scarlet_jax.report import figures, tallies
from scarlet_jax.report.contents import Model, Points, Search
from scarlet_jax.report.palette import THEME, marks
from scarlet_jax.report.plane import draw_steps, name_models, set_axes
from scarlet_jax.report.quantities import quantity

SIZE = (6.0, 4.7)  # inches ...
UNITS = 72  # ... of so many units of the SVG
RASTERIZE_ABOVE = 4000  # points of one kind: more would make the page heavy
LINES = 40  # at most this many generations have their front drawn


@dataclass(frozen=True)
class FrontFigure:
    """The SVG, its width and height, and `float64[E, 2]`: every architecture's position in it.

    Positions are in the SVG's own units, from the top left; NaN where not measured, and of what
    breaks a constraint and lies outside of the axes, which fit all else.
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
    named = [
        (model.name, mark, points[model.index])
        for model, mark in zip(models, marks(len(models)), strict=True)
        if model.index is not None
    ]
    fitted = points[search.feasible] if search.feasible.any() else points
    label = (
        f"Scatter plot of {quantity(search.axes[1]).label} against "
        f"{quantity(search.axes[0]).label}: {len(points)} architectures evaluated, the survivors "
        f"of each generation, {len(search.front)} on the final front, {len(named)} models named"
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
            draw_steps(axes, front, search.maximize, color=THEME["ink"], lw=1.3, zorder=4)
            axes.plot(*front.T, "o", color=THEME["ink"], markersize=3.5, zorder=4, gid="members")
        set_axes(axes, search.axes, np.stack([*fitted, *(point for *_, point in named)]))
        name_models(figure, axes, named)
        svg = figures.to_svg(figure, "front", label)
        (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
        positions = axes.transData.transform(points) * UNITS / figure.dpi  # from the bottom left
        width, height = UNITS * SIZE[0], UNITS * SIZE[1]
        inside = ((points >= (left, bottom)) & (points <= (right, top))).all(axis=1, keepdims=True)
        positions = np.where(inside, positions, np.nan)
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
        color = colors(scale(number))
        draw_steps(axes, survivors, search.maximize, color=color, lw=0.8, alpha=0.7)
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
