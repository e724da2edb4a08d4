"""What the page says of a supernet's order of networks: a scatter plot, and rank correlations."""

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from scarlet_jax.report import figures
from scarlet_jax.report.contents import Ranking
from scarlet_jax.report.palette import MARKS, THEME
from scarlet_jax.report.quantities import short


def summary(ranking: Ranking | None) -> dict[str, object] | None:
    """The numbers and the figure of ranking.html; None if nothing has been ranked."""
    if ranking is None:
        return None
    return {
        "networks": len(ranking.scores),
        "ranking": ranking,
        "figure": scatter_figure(ranking),
        "macs": [short(count) for count in ranking.macs],
        "taus": [
            (name, _interval(*found["tau"]), _interval(*found["behind"]))
            for name, found in ranking.kendall_tau.items()
        ],
    }


def scatter_figure(ranking: Ranking) -> str:
    """The SVG of accuracies alone against scores, with bars of one standard error by images."""
    both = (ranking.scores, ranking.accuracies)
    errors = [np.sqrt(values * (1 - values) / ranking.images) for values in both]
    with matplotlib.rc_context(figures.SETTINGS):
        figure = Figure(figsize=(6.0, 3.2), layout="constrained")
        axes = figure.subplots()
        axes.errorbar(
            ranking.scores,
            ranking.accuracies,
            xerr=errors[0],
            yerr=errors[1],
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
            f"Scatter plot of {len(ranking.scores)} networks: accuracy trained alone against "
            "accuracy on the supernet"
        )
        return figures.to_svg(figure, "ranking", label)


def _interval(value: float | None, low: float | None, high: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.2f}" if low is None else f"{value:.2f} ({low:.2f} to {high:.2f})"
