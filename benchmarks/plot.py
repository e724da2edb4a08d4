"""Throughput against batch size and image size, ours and PyTorch's, as one figure.

python -m benchmarks.plot --out=runs/speed

What plot.json in that folder holds already is not measured again.
"""

import json
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from absl import app, flags
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, LogLocator, NullLocator, StrMethodFormatter

from benchmarks.measure import OURS, TORCH, TORCH_SAME, Work, has_torch, machine, measure

FLAGS = flags.FLAGS
BATCH_SIZES = (1, 2, 4, 8, 16, 32)  # at 224 px
IMAGE_SIZES = (32, 64, 96, 128, 160, 224)  # at batch 16
REPEATS = {"score": 9, "train": 5}
TITLES = {"score": "scoring one path", "train": "training step, one path"}
# Okabe and Ito's colours, and a mark for each side: colour is never the only cue.
STYLES: dict[str, dict[str, Any]] = {
    OURS.title: {"color": "#0072b2", "marker": "o"},
    TORCH.title: {"color": "#d55e00", "marker": "s"},
    TORCH_SAME.title: {"color": "#e69f00", "marker": "^", "linestyle": "--"},
}
SETTINGS: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.edgecolor": "#a9b0ba",
    "grid.color": "#e4e7eb",
    "xtick.color": "#636b76",
    "ytick.color": "#636b76",
}


class Point(NamedTuple):
    """Throughput of one work, in images per second."""

    side: str
    kind: str
    image_size: int
    batch_size: int
    images_per_second: float


def load(path: Path) -> list[Point]:
    return [Point(**point) for point in json.loads(path.read_text())["points"]]


def save(path: Path, points: list[Point]) -> None:
    content = {"machine": machine(), "points": [point._asdict() for point in points]}
    path.write_text(json.dumps(content, indent=1) + "\n")


def complete(path: Path, with_torch: bool) -> list[Point]:
    """Measures the points that the file lacks, and saves it after each."""
    points = load(path) if path.exists() else []
    known = {point[:-1] for point in points}
    shapes = dict.fromkeys([(224, b) for b in BATCH_SIZES] + [(s, 16) for s in IMAGE_SIZES])
    wanted = [
        (side, kind, *shape)
        for kind in REPEATS
        for shape in shapes
        for side in ((TORCH, TORCH_SAME, OURS) if with_torch else (OURS,))
        if (side.title, kind, *shape) not in known
    ]
    for number, (side, kind, image_size, batch_size) in enumerate(wanted, 1):
        found = measure(Work(kind, REPEATS[kind], image_size, batch_size), side)
        rate = batch_size / float(np.median(found["seconds"]))
        points.append(Point(side.title, kind, image_size, batch_size, rate))
        save(path, points)
        print(
            f"[{number}/{len(wanted)}] {kind}, {image_size} px, batch {batch_size}, "
            f"{side.title}: {rate:.1f} images/s",
            flush=True,
        )
    return points


def draw(points: list[Point]) -> Figure:
    """Rows: scoring and training; columns: batch size and image size."""
    with matplotlib.rc_context(SETTINGS):
        figure = Figure(figsize=(8.0, 6.2), layout="constrained")
        axes = figure.subplots(2, 2, sharex="col")
        for row, kind in enumerate(TITLES):
            chosen = [point for point in points if point.kind == kind]
            by_batch = [point for point in chosen if point.image_size == 224]
            by_size = [point for point in chosen if point.batch_size == 16]
            _lines(axes[row, 0], by_batch, "batch_size")
            _lines(axes[row, 1], by_size, "image_size")
            axes[row, 0].set_title(f"{TITLES[kind]}: 224 px", loc="left", fontsize=9)
            axes[row, 1].set_title(f"{TITLES[kind]}: batch 16", loc="left", fontsize=9)
            axes[row, 0].set_ylabel("images/s")
        axes[1, 0].set_xlabel("batch size")
        axes[1, 1].set_xlabel("image size, pixels a side")
        handles, labels = axes[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper left", ncols=3, frameon=False)
    return figure


def _lines(axes: Axes, points: list[Point], field: str) -> None:
    """Throughput against a field: one line for each side."""
    for title, style in STYLES.items():
        line = sorted(
            (getattr(point, field), point.images_per_second)
            for point in points
            if point.side == title
        )
        if line:
            axes.plot(*zip(*line, strict=True), label=title, lw=1.6, markersize=5, **style)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator(sorted({getattr(p, field) for p in points})))
    if field == "batch_size":
        axes.set_ylim(bottom=0)
    else:  # it spans too much for a linear axis
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5, 7)))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_minor_locator(NullLocator())
        axis.set_major_formatter(StrMethodFormatter("{x:g}"))


def main(argv: list[str]) -> None:
    if argv[1:]:
        raise app.UsageError(f"unexpected argument {argv[1]!r}; flags start with --")
    out = Path(FLAGS.out)
    out.mkdir(parents=True, exist_ok=True)
    with_torch = has_torch() and not FLAGS.without_torch
    if not with_torch:
        print("without PyTorch: only ours is measured", flush=True)
    points = complete(out / "plot.json", with_torch)
    draw(points).savefig(out / "throughput.png", dpi=160)
    print(f"{out / 'throughput.png'}, from {out / 'plot.json'}")


if __name__ == "__main__":
    flags.DEFINE_string("out", "runs/speed", "Where plot.json and throughput.png go.")
    flags.DEFINE_bool("without_torch", False, "Measure ours only.")
    app.run(main)
