"""Matplotlib figures as inline SVG, and the plain curves: pure functions without global state."""

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import matplotlib
import numpy as np
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import NDArray

from scarlet_jax.report.contents import Points
from scarlet_jax.report.palette import THEME

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
RASTER_DPI = 200  # of what a figure draws as an image


@dataclass(frozen=True)
class Line:
    """One curve of a plot: steps and values, `float64[n, 2]`."""

    points: Points
    color: str
    marker: str | None  # None draws a thin line without marks


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
            axes.yaxis.set_major_formatter(FuncFormatter(percent_tick))
        return to_svg(figure, name, label)


def hypervolume_figure(hypervolume: NDArray[np.float64], boundaries: NDArray[np.integer]) -> str:
    """The SVG of a search's hypervolume by the number of evaluations.

    Args:
      hypervolume: `[E]`, after each evaluation, in [0, 1].
      boundaries: numbers of evaluations after which a generation was full: faint lines.
    """
    evaluations = np.arange(1, len(hypervolume) + 1)
    told = np.diff(hypervolume, prepend=np.nan) != 0  # a step is drawn by where it rises ...
    told[-1] = True  # ... and ends
    with matplotlib.rc_context(SETTINGS):
        figure = Figure(figsize=(6.0, 2.6), layout="constrained")
        axes = figure.subplots()
        axes.grid(visible=False, axis="x")
        for boundary in boundaries:
            axes.axvline(boundary, color=THEME["grid"], lw=0.8, zorder=0)
        x, y = evaluations[told], hypervolume[told]
        axes.step(x, y, where="post", color=THEME["ink"], lw=1.3, gid="curve")
        axes.set_xlabel("evaluations")
        axes.set_ylabel("hypervolume")
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        label = (
            f"Hypervolume of the front after each of {len(hypervolume):,} evaluations: from "
            f"{hypervolume[0]:.3f} to {hypervolume[-1]:.3f}"
        )
        return to_svg(figure, "hypervolume", label)


def percent_tick(value: float, _: int | None = None) -> str:
    """A share in [0, 1] as the label of a tick."""
    return f"{100 * value:.4g}%"


def to_svg(figure: Figure, name: str, label: str) -> str:
    """The figure as an inline `<svg>` with ids of its own and the page's colours."""
    with matplotlib.rc_context({"svg.hashsalt": name}):
        buffer = io.StringIO()
        metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        canvas = FigureCanvasSVG(figure)
        canvas.print_figure(buffer, format="svg", dpi=RASTER_DPI, metadata=metadata)
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", text)
    for variable, color in THEME.items():
        text = text.replace(color, f"var(--{variable})")
    attributes = f'<svg class="plot" role="img" aria-label="{escape(label)}"'
    text = re.sub(r' (width|height)="[\d.]+pt"', "", text, count=2)
    return text.replace("<svg", attributes, 1)
