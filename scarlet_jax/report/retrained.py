"""The figure of what retraining came to: accuracy against cost, the supernet's front behind."""

from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from scarlet_jax.report import figures
from scarlet_jax.report.contents import Model, Search
from scarlet_jax.report.palette import THEME, marks
from scarlet_jax.report.plane import draw_steps, name_models, set_axes
from scarlet_jax.report.quantities import counted, quantity

SIZE = (6.0, 3.9)  # inches


def retrained_figure(search: Search | None, models: Sequence[Model], score: str) -> str:
    """The SVG of retrained models by the search's x axis, or by MACs; empty if none has both.

    Args:
      search: with its front, as far as that has accuracies, in a lighter colour.
      models: with the marks of the page; those without the score, or x, are left out.
      score: `validation_accuracy` or `test_accuracy`.
    """
    across = "macs" if search is None else search.axes[0]
    quantities = [
        quantity(name) if search is None else search.quantity(name) for name in (across, "accuracy")
    ]
    named, raised = [], []
    for model, mark in zip(models, marks(len(models)), strict=True):
        x, y = model.values.get(across, np.nan), getattr(model, score)
        if y is not None and np.isfinite(x):
            named.append((model.name, mark, np.array([x, y])))
            raised.append((x, model.values.get("accuracy", np.nan), y))
    if not named:
        return ""
    front = np.zeros((0, 2))
    if search is not None and "accuracy" in search.columns:
        front = np.stack([search.columns[c][search.front] for c in (across, "accuracy")], axis=1)
    with matplotlib.rc_context(figures.SETTINGS):
        figure = Figure(figsize=SIZE, layout="constrained")
        axes = figure.subplots()
        if search is not None and len(front):
            draw_steps(axes, front, (search.maximize[0], True), color=THEME["faint"], lw=1.1)
            axes.plot(*front.T, "o", color=THEME["faint"], markersize=3.0, gid="supernet")
        x, low, high = np.transpose(raised)
        axes.vlines(x, low, high, color=THEME["faint"], lw=0.8, linestyles="dotted")
        set_axes(axes, quantities, np.stack([*front, *(point for *_, point in named)]))
        axes.set_ylabel("accuracy")
        name_models(figure, axes, named)
        what = f"{score.replace('_', ' ')} against {quantities[0].label}"
        label = f"{counted(len(named), 'retrained model')}: {what}"
        return figures.to_svg(figure, "retrained", label)
