"""What the page says of a supernet's order of networks: a scatter plot, and rank correlations."""

import math

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from scarlet_jax.report import figures
from scarlet_jax.report.contents import Ranking
from scarlet_jax.report.palette import MARKS, THEME


def summary(ranking: Ranking | None) -> dict[str, object] | None:
    """The numbers and the figure of ranking.html; None if nothing has been ranked."""
    if ranking is None:
        return None
    return {
        "networks": len(ranking.scores),
        "ranking": ranking,
        "figure": scatter_figure(ranking),
        "taus": [(name, *map(_number, tau)) for name, tau in ranking.kendall_tau.items()],
    }


def scatter_figure(ranking: Ranking) -> str:
    """The SVG of accuracies alone against scores, with bars of one standard error."""
    errors = np.sqrt(ranking.scores * (1 - ranking.scores) / ranking.images)
    with matplotlib.rc_context(figures.SETTINGS):
        figure = Figure(figsize=(4.9, 3.4), layout="constrained")
        axes = figure.subplots()
        axes.errorbar(
            ranking.scores,
            ranking.accuracies,
            xerr=errors,
            fmt=MARKS[0].marker,
            color=MARKS[0].color,
            ecolor=THEME["faint"],
            elinewidth=1.0,
            markersize=5.0,
            markeredgecolor=THEME["page"],
            markeredgewidth=0.6,
        )
        axes.set_xlabel("accuracy on the supernet")
        axes.set_ylabel("accuracy trained alone")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(MaxNLocator(6))
            axis.set_major_formatter(FuncFormatter(figures.percent_tick))
        label = (
            f"Scatter plot of {len(errors)} networks: accuracy trained alone against accuracy on "
            "the supernet"
        )
        return figures.to_svg(figure, "ranking", label)


def _number(value: float | None) -> str:
    return "–" if value is None or math.isnan(value) else f"{value:.2f}"
