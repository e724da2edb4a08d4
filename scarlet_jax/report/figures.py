"""The Matplotlib figures of the report, as inline SVG: pure functions without global state."""

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, FuncFormatter, MaxNLocator

from scarlet_jax.report.contents import Model, Points, Report, non_dominated
from scarlet_jax.report.style import THEME, marks

SETTINGS: dict[Any, Any] = {
    "svg.fonttype": "none",  # text stays text: searchable, and in the page's own font
    "font.family": "DejaVu Sans",  # comes with Matplotlib: the same layout on every machine
    "font.size": 9.0,
    "text.parse_math": False,  # a $ in a name is a $
    "text.color": THEME["ink"],
    "axes.labelcolor": THEME["muted"],
    "axes.edgecolor": THEME["faint"],
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": THEME["grid"],
    "grid.linewidth": 0.8,
    "xtick.color": THEME["faint"],
    "ytick.color": THEME["faint"],
    "xtick.labelcolor": THEME["muted"],
    "ytick.labelcolor": THEME["muted"],
    "figure.facecolor": "none",
    "axes.facecolor": "none",
}
RASTERIZE_ABOVE = 4000  # points of the cloud: more would make the page heavy


@dataclass(frozen=True)
class Line:
    """One curve of a plot: steps and values, `float64[n, 2]`."""

    points: Points
    color: str
    marker: str | None  # None draws a thin line without marks


def front_figure(report: Report) -> str:
    """The SVG of the search: accuracy on the supernet against MACs.

    All that was evaluated, the survivors and fronts by generation, the final front and the
    picked models.
    """
    with matplotlib.rc_context(SETTINGS):
        figure = Figure(figsize=(6.0, 4.7), layout="constrained")
        axes = figure.subplots()
        axes.scatter(
            report.history[:, 0],
            report.history[:, 1],
            s=7,
            color=THEME["faint"],
            alpha=0.45,
            linewidths=0,
            rasterized=len(report.history) > RASTERIZE_ABOVE,
        )
        if report.generations:
            _draw_generations(axes, report.generations)
        if len(report.front):
            axes.step(
                *non_dominated(report.front).T, where="post", color=THEME["ink"], lw=1.3, zorder=4
            )
            axes.plot(*report.front.T, "o", color=THEME["ink"], markersize=3.5, zorder=4)
        axes.set_xlabel("MACs")
        axes.set_ylabel("accuracy on the supernet")
        axes.xaxis.set_major_formatter(EngFormatter(sep=" "))
        axes.xaxis.set_major_locator(MaxNLocator(6))
        axes.yaxis.set_major_formatter(FuncFormatter(_percent_tick))
        axes.margins(0.15, 0.12)
        _label_models(figure, axes, report.models)
        label = (
            f"Scatter plot of accuracy on the supernet against MACs: {len(report.history)} "
            "architectures evaluated, the survivors of each generation, "
            f"{len(report.front)} on the final front, {len(report.models)} picked"
        )
        return _svg(figure, "front", label)


def curves_figure(lines: Sequence[Line], metric: str, name: str, label: str) -> str:
    """The SVG of one metric over training steps.

    Args:
      lines: the curves, drawn in this order.
      metric: `loss` or `accuracy`, which is shown in percent.
      name: unique in the page; ids derive from it.
      label: what the figure shows, in words.
    """
    with matplotlib.rc_context(SETTINGS):
        figure = Figure(figsize=(4.9, 3.0), layout="constrained")
        axes = figure.subplots()
        for line in lines:
            if line.marker is None:
                axes.plot(*line.points.T, color=line.color, lw=1.0, alpha=0.75)
            else:
                axes.plot(
                    *line.points.T,
                    color=line.color,
                    lw=1.4,
                    marker=line.marker,
                    markersize=4.5,
                    markeredgecolor=THEME["page"],
                    markeredgewidth=0.5,
                    zorder=3,
                )
        axes.set_xlabel("step")
        axes.set_ylabel(metric)
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        if metric == "accuracy":
            axes.yaxis.set_major_formatter(FuncFormatter(_percent_tick))
        return _svg(figure, name, label)


def generation_colors() -> LinearSegmentedColormap:
    """Early to late: the middle of `plasma`, readable on light and on dark."""
    plasma = matplotlib.colormaps["plasma"]
    return LinearSegmentedColormap.from_list("generation", plasma(np.linspace(0.25, 0.85, 64)))


def _draw_generations(axes: Axes, generations: Sequence[Points]) -> None:
    """Survivors in the colour of the first generation that kept them, and each one's front."""
    colors = generation_colors()
    last = len(generations) - 1
    scale = Normalize(0, max(last, 1))
    kept: set[tuple[float, ...]] = set()
    for number, points in enumerate(generations):
        color = colors(scale(number))
        new = sorted(set(map(tuple, points.tolist())) - kept)
        kept.update(new)
        axes.plot(
            *np.reshape(new, (-1, 2)).T,
            "o",
            color=color,
            markersize=3.2,
            markeredgewidth=0,
            zorder=3,
        )
        axes.step(*non_dominated(points).T, where="post", color=color, lw=0.8, alpha=0.7)
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


def _label_models(figure: Figure, axes: Axes, models: Sequence[Model]) -> None:
    """Marks the models and names them above the front, each label clear of the ones before."""
    for model, (color, marker, _) in zip(models, marks(len(models)), strict=True):
        axes.plot(
            model.macs,
            model.supernet_accuracy,
            marker,
            color=color,
            markersize=8,
            markeredgecolor=THEME["page"],
            markeredgewidth=1.0,
            zorder=6,
        )
    figure.draw_without_rendering()
    taken: list[tuple[float, float]] = []  # right end and height of the labels placed so far
    for model in sorted(models, key=lambda m: m.macs):
        x, y = axes.transData.transform((model.macs, model.supernet_accuracy)) * 72 / figure.dpi
        width, height, up = 5.2 * len(model.name) + 6, 11.0, 9.0
        while any(x - width < end and abs(y + up - level) < height for end, level in taken):
            up += 2.0
        taken.append((x, y + up))
        axes.annotate(
            model.name,
            (model.macs, model.supernet_accuracy),
            (-4, up),
            textcoords="offset points",
            ha="right",
            zorder=7,
            arrowprops={"arrowstyle": "-", "color": THEME["muted"], "lw": 0.6, "shrinkB": 3},
        )


def _percent_tick(value: float, _: int | None = None) -> str:
    return f"{100 * value:.4g}%"


def _svg(figure: Figure, name: str, label: str) -> str:
    """The figure as an inline `<svg>` with ids of its own and the page's colours."""
    with matplotlib.rc_context({"svg.hashsalt": name}):
        buffer = io.StringIO()
        metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        FigureCanvasSVG(figure).print_figure(buffer, format="svg", metadata=metadata)
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", text)
    for variable, color in THEME.items():
        text = text.replace(color, f"var(--{variable})")
    attributes = f'<svg class="plot" role="img" aria-label="{escape(label)}"'
    text = re.sub(r' (width|height)="[\d.]+pt"', "", text, count=2)
    return text.replace("<svg", attributes, 1)
