"""Measures the supernet side by side with PyTorch, and prints a table of ratios.

python -m benchmarks.speed --out=runs/speed --only=score,train
"""

import json
import math
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from absl import app, flags

from benchmarks.measure import (
    OURS,
    TORCH,
    TORCH_SAME,
    Measurement,
    Side,
    Work,
    has_torch,
    machine,
    measure,
)

FLAGS = flags.FLAGS
HEADER = ("work", "ours", "PyTorch", "ratio", "PyTorch, same allocator", "ratio")
UNITS = {"seconds": "s", "first_seconds": "s", "start_seconds": "s", "peak_gb": "GB"}

Pair = tuple[Work, Side]
Results = Mapping[Pair, Measurement]


@dataclass(frozen=True)
class Row:
    """A row of the table: one quantity of `measure`, ours first, then what it is held against."""

    name: str
    title: str
    quantity: str
    compared: tuple[Pair, ...]


def with_torch(work: Work) -> tuple[Pair, ...]:
    return (work, OURS), (work, TORCH), (work, TORCH_SAME)


SCORE = Work("score", repeats=9)
TRAIN = Work("train", repeats=20)
FAIR = Work("strict_fair", repeats=2)
EVALUATOR = Work("evaluator", repeats=1)
WARM = Work("train", repeats=1, warm=True)
CIFAR_SCORE = Work("score", repeats=9, config="cifar10", image_size=32, batch_size=128)
CIFAR_TRAIN = Work("train", repeats=20, config="cifar10", image_size=32, batch_size=128)
POPULATION = Work("population", repeats=1, image_size=64, batch_size=32)
ONE_BY_ONE = Work("one_by_one", repeats=1, image_size=64, batch_size=32)

ROWS = (
    Row("score", "score one path", "seconds", with_torch(SCORE)),
    Row("train", "training step, one path", "seconds", with_torch(TRAIN)),
    Row("strict_fair", "strict-fair step, 13 paths", "seconds", with_torch(FAIR)),
    Row("memory", "peak memory of strict-fair training", "peak_gb", with_torch(FAIR)),
    Row("compile_train", "first training step, cold", "first_seconds", ((TRAIN, OURS),)),
    Row("compile_evaluator", "first evaluation, cold", "first_seconds", ((EVALUATOR, OURS),)),
    Row("warm_start", "start to first step, warm cache", "start_seconds", with_torch(WARM)),
    Row("cifar_score", "32 px: score one path", "seconds", with_torch(CIFAR_SCORE)),
    Row("cifar_train", "32 px: training step, one path", "seconds", with_torch(CIFAR_TRAIN)),
    Row(
        "population",
        "score 70 offspring, in one call",
        "seconds",
        ((POPULATION, OURS), (ONE_BY_ONE, OURS)),
    ),
)


def schedule(rows: Iterable[Row]) -> list[Pair]:
    """Every process to start. PyTorch runs before and after us, so that drift hits both."""
    needed = dict.fromkeys(pair for row in rows for pair in row.compared)
    order = (TORCH, TORCH_SAME, OURS, TORCH_SAME, TORCH)
    works = dict.fromkeys(work for work, _ in needed)
    return [(work, side) for work in works for side in order if (work, side) in needed]


def run(rows: Iterable[Row]) -> dict[Pair, Measurement]:
    """Measures what the rows need; measurements of the same are put together.

    A process that fails is reported and left out.
    """
    results: dict[Pair, Measurement] = {}
    processes = schedule(rows)
    for number, (work, side) in enumerate(processes, 1):
        about = (
            f"[{number}/{len(processes)}] {work.kind}, {work.image_size} px, "
            f"batch {work.batch_size}, {side.title}"
        )
        try:
            found = measure(work, side)
        except subprocess.CalledProcessError as error:
            print(f"{about}: failed with exit code {error.returncode}", flush=True)
            continue
        pooled = results.setdefault((work, side), {})
        for quantity, values in found.items():
            pooled[quantity] = [*pooled.get(quantity, []), *values]
        print(
            f"{about}: {median(found, 'seconds'):.3f} s a call, "
            f"{median(found, 'first_seconds'):.1f} s the first, {found['peak_gb'][0]:.2f} GB",
            flush=True,
        )
    return results


def median(measurement: Measurement, quantity: str) -> float:
    return float(np.median(measurement[quantity]))


def figures(row: Row, results: Results) -> list[float]:
    """The medians of what a row compares, ours first."""
    return [median(results[pair], row.quantity) for pair in row.compared]


def three_digits(value: float) -> str:
    return f"{value:.{max(0, 2 - math.floor(math.log10(value)))}f}"


def table(rows: Sequence[Row], results: Results) -> str:
    """Markdown. A ratio is what the other side needs over what ours needs: above 1, ours wins."""
    lines = [" | ".join(HEADER), " | ".join("---" for _ in HEADER)]
    for row in rows:
        ours, *others = figures(row, results)
        cells = [row.title, f"{three_digits(ours)} {UNITS[row.quantity]}"]
        for (_, side), other in zip(row.compared[1:], others, strict=True):
            note = " (ours, one by one)" if side is OURS else ""
            cells.append(f"{three_digits(other)} {UNITS[row.quantity]}{note}")
            cells.append(f"{other / ours:.2f}")
        cells += [""] * (len(HEADER) - len(cells))
        lines.append(" | ".join(cells))
    return "\n".join(f"| {line} |" for line in lines)


def as_json(rows: Sequence[Row], results: Results) -> dict[str, Any]:
    """The table's figures and every single measurement."""
    return {
        "machine": machine(),
        "rows": [
            {
                "name": row.name,
                "quantity": row.quantity,
                "figures": [
                    {"side": side.title, "kind": work.kind, "median": value}
                    for (work, side), value in zip(row.compared, figures(row, results), strict=True)
                ],
            }
            for row in rows
        ],
        "measurements": [
            {"side": side.title, **asdict(work), **measurement}
            for (work, side), measurement in results.items()
        ],
    }


def without_torch(row: Row) -> Row:
    compared = tuple(pair for pair in row.compared if pair[1] is OURS)
    return Row(row.name, row.title, row.quantity, compared)


def main(argv: list[str]) -> None:
    if argv[1:]:
        raise app.UsageError(f"unexpected argument {argv[1]!r}; flags start with --")
    rows = [row for row in ROWS if row.name in FLAGS.only]
    if FLAGS.without_torch or not has_torch():
        print("without PyTorch: only ours is measured", flush=True)
        rows = [without_torch(row) for row in rows]
    results = run(rows)
    measured = [row for row in rows if set(row.compared) <= set(results)]
    print(f"\n{', '.join(machine().values())}\n\n{table(measured, results)}\n")
    path = Path(FLAGS.out) / "speed.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(as_json(measured, results), indent=1) + "\n")
    print(f"all measurements are in {path}")
    if len(measured) < len(rows):
        sys.exit(f"error: {len(rows) - len(measured)} rows could not be measured")


if __name__ == "__main__":
    names = [row.name for row in ROWS]
    flags.DEFINE_string("out", "runs/speed", "Where speed.json goes.")
    flags.DEFINE_list("only", names, f"Rows to measure, of {','.join(names)}.")
    flags.DEFINE_bool("without_torch", False, "Measure ours only.")
    flags.register_validator(
        "only",
        lambda chosen: set(chosen) <= set(names),
        message=f"allowed: {','.join(names)}",
    )
    app.run(main)
