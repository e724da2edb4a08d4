"""Pictures of what was measured."""

from collections.abc import Mapping
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.evidence.tables import (
    OURS,
    SUPERNET,
    equal_of,
    paired,
    picked,
    search_values,
    searches,
    similarity_to_skip,
    values,
)
from benchmarks.intervals import interval
from benchmarks.nas_bench_macro.ranking import DEPTH, SUM, Values
from benchmarks.record import Found
from benchmarks.style import SETTINGS

DRAWN = {  # measures, and their titles
    "share of the front": "share of the front",
    "above the median": "hypervolume above the median",
}
LEAST = 84  # percent, at which the picture of what is found begins
# Okabe and Ito's colours, and a line for each: colour is never the only cue.
STYLES: Mapping[str, Mapping[str, Any]] = {
    OURS: {"color": "#0072b2", "linestyle": "-", "linewidth": 2.2},
    "Pareto local search, from 10": {"color": "#009e73", "linestyle": "-"},
    "pymoo, integers, 20": {"color": "#d55e00", "linestyle": "--"},
    "pymoo, integers, 70": {"color": "#e69f00", "linestyle": "-."},
    "aging evolution, 20, samples of 5": {"color": "#cc79a7", "linestyle": "--"},
    "random": {"color": "#636b76", "linestyle": ":"},
}
FOUND = {  # by what is searched
    SUPERNET: ("#0072b2", "o"),
    "parameters": ("#cc79a7", "^"),
    DEPTH: ("#d55e00", "s"),
    SUM: ("#009e73", "D"),
}
STABILIZERS = {"els": ("#0072b2", "-"), "none": ("#d55e00", "--")}


def draw_search(found: Found) -> Figure:
    """Means over the seeds with their intervals, against networks evaluated."""
    with matplotlib.rc_context(SETTINGS):
        figure = Figure(figsize=(9.0, 3.6), layout="constrained")
        for axes, (measure, title) in zip(figure.subplots(1, 2), DRAWN.items(), strict=True):
            for name, style in STYLES.items():
                cells = [interval(column) for column in search_values(found, name, measure).T]
                mean, width = np.array(cells).T
                axes.plot(found["budgets"], mean, label=name, **style)
                axes.fill_between(
                    found["budgets"], mean - width, mean + width, color=style["color"], alpha=0.15
                )
            axes.set_xscale("log")
            axes.set_xticks(found["budgets"], map(str, found["budgets"]))
            axes.minorticks_off()
            axes.set_xlabel("networks evaluated")
            axes.set_title(f"{title}, %", loc="left", fontsize=9.5)
        handles, labels = axes.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
    return figure


def draw_found(found: Found) -> Figure:
    """Published accuracy of every search's front against MACs, beside the true one."""
    with matplotlib.rc_context(SETTINGS):
        figure = Figure(figsize=(7.0, 3.8), layout="constrained")
        axes = figure.subplots()
        macs, accuracy = np.array(found["front"]).T
        axes.plot(macs / 1e6, accuracy, color="#1d2127", label="the true front")
        for name, runs in searches(found).items():
            color, marker = FOUND[name]
            macs, _, accuracy = np.concatenate([run["front"] for run in runs]).T
            axes.plot(macs / 1e6, accuracy, marker, color=color, markersize=4, label=f"by {name}")
        axes.set_ylim(bottom=LEAST)
        axes.set_xlabel("million MACs")
        axes.set_title("published accuracy of what searches find, %", loc="left", fontsize=9.5)
        axes.legend(frameon=False, loc="lower right")
    return figure


def draw_retrained(found: Found) -> Figure:
    """Test accuracy against MACs of what was trained here, every seed."""
    kinds = {
        "picked": picked(found),
        "random, of equal MACs": [equal_of(name) for name in picked(found)],
        "largest": ["largest"],
    }
    with matplotlib.rc_context(SETTINGS):
        figure = Figure(figsize=(7.0, 3.8), layout="constrained")
        axes = figure.subplots()
        for (kind, names), color, marker in zip(
            kinds.items(), ("#0072b2", "#d55e00", "#1d2127"), "os*", strict=True
        ):
            macs, accuracy = (
                np.concatenate([values(found, name, what) for name in names])
                for what in ("macs", "accuracy")
            )
            axes.plot(macs / 1e6, accuracy, marker, color=color, label=kind, alpha=0.8)
        axes.set_xlabel("million MACs")
        axes.set_title("test accuracy, trained alone here, %", loc="left", fontsize=9.5)
        axes.legend(frameon=False, loc="lower right")
    return figure


def draw_stabilizers(found: Found) -> Figure | None:
    """Similarity of an identity to the other choices by layer, and loss; seeds as bands."""
    pairs = paired(found)
    if not pairs:
        return None
    with matplotlib.rc_context(SETTINGS):
        figure = Figure(figsize=(9.0, 3.4), layout="constrained")
        left, right = figure.subplots(1, 2)
        for name, own in pairs.items():
            similarity = np.array([similarity_to_skip(found, run) for run in own])
            layers = np.arange(1, similarity.shape[1] + 1)
            _band(left, layers, similarity, name)
            losses = np.array([run["loss"] for run in own])  # [seeds, records, 2]
            _band(right, losses[0, :, 0], losses[:, :, 1], name)
        for layer in np.flatnonzero(found["reshapes"]) + 1:
            left.axvspan(layer - 0.3, layer + 0.3, color="#e4e7eb", zorder=0)
        left.set_xlabel("layer; grey: width or stride change")
        left.set_title("cosine similarity of identity and blocks", loc="left", fontsize=9.5)
        right.set_xlabel("step")
        right.set_title("training loss", loc="left", fontsize=9.5)
        for axes in (left, right):
            axes.legend(frameon=False)
    return figure


def _band(axes: Axes, x: Values, runs: Values, name: str) -> None:
    """The mean over the first axis, and from its least to its most."""
    color, line = STABILIZERS[name]
    axes.plot(x, runs.mean(axis=0), line, color=color, label=name)
    axes.fill_between(x, runs.min(axis=0), runs.max(axis=0), color=color, alpha=0.15)
