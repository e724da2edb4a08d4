"""The figure of a search's front, and where in it each architecture lies."""

from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from scarlet_jax.report import figures, tallies
from scarlet_jax.report.contents import Model, Points, Search
from scarlet_jax.report.palette import THEME, Mark, marks
from scarlet_jax.report.plane import TICKS, draw_steps, name_models, set_axes

SIZE = (6.0, 4.7)  # inches ...
UNITS = 72  # ... of so many units of the SVG
RASTERIZE_ABOVE = 4000  # points of one kind: more would make the page heavy
ZOOM_LEVELS = 5  # the closest is 16 times as close as the whole
LINES = 40  # at most this many generations have their front drawn


@dataclass(frozen=True)
class FrontFigure:
    """The SVG, and where in it everything lies, in its own units from the top left.

    Attributes:
      svg: the figure.
      size: its width and height.
      positions: `float64[E, 2]`, of every architecture; NaN of what is not measured, or breaks a
        constraint and lies outside of the axes.
      box: the axes: left, top, right, bottom.
      ticks: of x and of y, position and label; by levels, each twice as close as the one before.
    """

    svg: str
    size: tuple[float, float]
    positions: Points
    box: tuple[float, float, float, float]
    ticks: Sequence[Sequence[Sequence[tuple[float, str]]]]


def front_figure(search: Search, models: Sequence[Model]) -> FrontFigure:
    """The search on its two axes.

    All that was evaluated, the survivors and fronts by generation, the final front and those
    models that are in the history.
    """
    points, (x, y) = search.points(), map(search.quantity, search.axes)
    named = [
        (model.name, mark, points[model.index])
        for model, mark in zip(models, marks(len(models)), strict=True)
        if model.index is not None and np.isfinite(points[model.index]).all()
    ]
    label = (
        f"Scatter plot of {y.label} against {x.label}: {len(points)} architectures evaluated, the "
        f"survivors of each generation, {len(search.front)} on the final front, {len(named)} "
        "models named"
    )
    with matplotlib.rc_context(figures.SETTINGS):
        figure, axes = _draw(search, named)
        svg = figures.to_svg(figure, "front", label)
        size = (UNITS * SIZE[0], UNITS * SIZE[1])

        def place(points: Points) -> Points:
            from_bottom_left = axes.transData.transform(points) * UNITS / figure.dpi
            return np.asarray(from_bottom_left * (1, -1) + (0, size[1]))

        low, high = np.transpose([axes.get_xlim(), axes.get_ylim()])
        inside = ((points >= low) & (points <= high)).all(axis=1, keepdims=True)
        (left, bottom), (right, top) = place(np.array([low, high])).tolist()
        ticks = []
        for number, axis in enumerate((axes.xaxis, axes.yaxis)):
            levels = []
            for level in range(ZOOM_LEVELS):
                locator = MaxNLocator(TICKS * 2**level)
                values = locator.tick_values(low[number], high[number])
                values = values[(values >= low[number]) & (values <= high[number])]
                where = place(np.stack([values, values], axis=1))[:, number].round(2).tolist()
                labels = axis.get_major_formatter().format_ticks(values)
                levels.append(list(zip(where, labels, strict=True)))
            ticks.append(levels)
        return FrontFigure(
            svg, size, np.where(inside, place(points), np.nan), (left, top, right, bottom), ticks
        )


def front_pixels(search: Search) -> NDArray[np.uint8]:
    """The same as a picture `uint8[H, W, 3]` on white, without models."""
    with matplotlib.rc_context(figures.SETTINGS):
        figure, _ = _draw(search, [])
        figure.set_facecolor("white")
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        return np.array(canvas.buffer_rgba())[..., :3]


def _draw(search: Search, named: Sequence[tuple[str, Mark, Points]]) -> tuple[Figure, Axes]:
    figure = Figure(figsize=SIZE, layout="constrained")
    axes, points = figure.subplots(), search.points()
    _draw_cloud(axes, points[search.feasible], "feasible", "o", 7)
    _draw_cloud(axes, points[~search.feasible], "infeasible", "x", 9)
    if search.generations:
        _draw_generations(axes, search)
    if len(search.front):
        front = points[search.front]
        draw_steps(axes, front, search.maximize, color=THEME["ink"], lw=1.3, zorder=4)
        axes.plot(*front.T, "o", color=THEME["ink"], markersize=3.5, zorder=4, gid="members")
    fitted = points[search.feasible] if search.feasible.any() else points
    x, y = map(search.quantity, search.axes)
    set_axes(axes, (x, y), np.stack([*fitted, *(point for *_, point in named)]))
    name_models(figure, axes, named)
    return figure, axes


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
