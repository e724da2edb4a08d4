"""Pictures of what was measured."""

from collections.abc import Mapping
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.evidence.tables import (
    CHOICES,
    OURS,
    PAIRED,
    PAIRS,
    Found,
    Values,
    accuracies,
    paired_seeds,
    picks_with_equals,
    search_values,
    searches,
)
from benchmarks.nas_bench_macro.ranking import interval
from benchmarks.plot import SETTINGS

DRAWN = ("share of the front", "above the median")
# Okabe and Ito's colours, and a line for each: colour is never the only cue.
STYLES: Mapping[str, Mapping[str, Any]] = {
    OURS: {"color": "#0072b2", "linestyle": "-", "linewidth": 2.2},
    "Pareto local search, from 10": {"color": "#009e73", "linestyle": "-"},
    "pymoo, integers, 20": {"color": "#d55e00", "linestyle": "--"},
    "pymoo, integers, 70": {"color": "#e69f00", "linestyle": "-."},
    "aging evolution, 20, samples of 5": {"color": "#cc79a7", "linestyle": "--"},
    "random": {"color": "#636b76", "linestyle": ":"},
}


def draw_search(found: Found) -> Figure:
    """Means over the seeds with their intervals, against networks evaluated."""
    with matplotlib.rc_context(SETTINGS):
        figure = Figure(figsize=(9.0, 3.6), layout="constrained")
        for axes, measure in zip(figure.subplots(1, 2), DRAWN, strict=True):
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
            axes.set_title(f"{measure}, %", loc="left", fontsize=9.5)
        handles, labels = axes.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
    return figure


def draw_picks(found: Found) -> Figure:
    """Published accuracy of the picks against MACs, with the mean and the best of their equals."""
    with matplotlib.rc_context(SETTINGS):
        figure = Figure(figsize=(7.0, 3.8), layout="constrained")
        axes = figure.subplots()
        for (name, runs), color, marker in zip(
            searches(found).items(), ("#0072b2", "#d55e00"), "os", strict=True
        ):
            every = [pick for run in runs for pick in picks_with_equals(run)]
            macs, accuracy, mean, best = (
                np.array([pick[key] for pick in every])
                for key in ("macs", "accuracy", "mean", "best")
            )
            axes.vlines(macs / 1e6, mean, best, color=color, alpha=0.35, linewidth=1.2)
            axes.plot(macs / 1e6, mean, "_", color=color, alpha=0.6)
            axes.plot(macs / 1e6, accuracy, marker, color=color, label=f"picked by {name}")
        largest = found["largest"]
        axes.plot(largest["macs"] / 1e6, largest["accuracy"], "k*", label="the largest network")
        axes.set_xlabel("million MACs")
        axes.set_title(
            "published accuracy, %; lines: from the mean to the best of their equals",
            loc="left",
            fontsize=9.5,
        )
        axes.legend(frameon=False, loc="lower right")
    return figure


def draw_retrained(found: Found) -> Figure:
    """Test accuracy against MACs of what was trained here, with intervals over the seeds."""
    with matplotlib.rc_context(SETTINGS):
        figure = Figure(figsize=(7.0, 3.8), layout="constrained")
        axes = figure.subplots()
        for kind, color, marker in (
            ("picked", "#0072b2", "o"),
            ("random", "#d55e00", "s"),
            ("largest", "#1d2127", "*"),
        ):
            names = {run["name"]: run["macs"] for run in found["runs"] if kind in run["name"]}
            mean, width = np.array([interval(accuracies(found, name)) for name in names]).T
            axes.errorbar(
                np.array(list(names.values())) / 1e6,
                mean,
                None if np.isnan(width).any() else width,
                fmt=marker,
                color=color,
                capsize=3,
                label={"random": "random, of equal MACs"}.get(kind, kind),
            )
        axes.set_xlabel("million MACs")
        axes.set_title("test accuracy, trained alone here, %", loc="left", fontsize=9.5)
        axes.legend(frameon=False, loc="lower right")
    return figure


def draw_stabilizers(found: Found) -> Figure | None:
    """Similarity of an identity to the other choices by layer, and loss; seeds as bands."""
    seeds = paired_seeds(found)
    if not seeds:
        return None
    with matplotlib.rc_context(SETTINGS):
        figure = Figure(figsize=(9.0, 3.4), layout="constrained")
        left, right = figure.subplots(1, 2)
        for name, color in zip(PAIRED, ("#0072b2", "#d55e00"), strict=True):
            own = [found["recipes"][name]["seeds"][seed] for seed in seeds]
            skips = [number for number, pair in enumerate(PAIRS) if CHOICES[0] in pair]
            similarity = np.array([run["similarity"] for run in own])[:, :, skips].mean(axis=2)
            layers = np.arange(1, similarity.shape[1] + 1)
            _band(left, layers, similarity, name, color)
            losses = np.array([run["loss"] for run in own])  # [seeds, records, 2]
            _band(right, losses[0, :, 0], losses[:, :, 1], name, color)
        left.set_xlabel("layer")
        left.set_title("cosine similarity of identity and blocks", loc="left", fontsize=9.5)
        right.set_xlabel("step")
        right.set_title("training loss", loc="left", fontsize=9.5)
        left.legend(frameon=False)
    return figure


def _band(axes: Axes, x: Values, values: Values, name: str, color: str) -> None:
    """The mean over the first axis, and from its least to its most."""
    style = {"els": "-", "none": "--"}[name]
    axes.plot(x, values.mean(axis=0), style, color=color, label=name)
    axes.fill_between(x, values.min(axis=0), values.max(axis=0), color=color, alpha=0.15)
