"""Measures the supernet side by side with PyTorch, and prints a table of ratios.

python -m benchmarks.speed
python -m benchmarks.speed --only=score,train

With all rows, it goes into `benchmarks/results/`.
"""

import math
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from absl import app, flags

from benchmarks import record
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
from benchmarks.record import Found

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


def three_digits(value: float) -> str:
    return f"{value:.{max(0, 2 - math.floor(math.log10(value)))}f}"


def figures(rows: Sequence[Row], results: Results) -> Found:
    """The medians that each row compares, ours first, and every single measurement."""
    return {
        "rows": [
            {
                "title": row.title,
                "unit": UNITS[row.quantity],
                "figures": [
                    {
                        "side": "ours, one by one" if work is ONE_BY_ONE else side.title,
                        "median": median(results[work, side], row.quantity),
                    }
                    for work, side in row.compared
                ],
            }
            for row in rows
        ],
        "measurements": [
            {"side": side.title, **asdict(work), **measurement}
            for (work, side), measurement in results.items()
        ],
    }


def table(found: Found) -> str:
    """Markdown. A ratio is what the other side needs over what ours needs: above 1, ours wins."""
    lines = [" | ".join(HEADER), " | ".join("---" for _ in HEADER)]
    for row in found["rows"]:
        ours, *others = row["figures"]
        cells = [row["title"], f"{three_digits(ours['median'])} {row['unit']}"]
        for other in others:
            note = "" if other["side"] in HEADER else f" ({other['side']})"
            cells.append(f"{three_digits(other['median'])} {row['unit']}{note}")
            cells.append(f"{other['median'] / ours['median']:.2f}")
        cells += [""] * (len(HEADER) - len(cells))
        lines.append(" | ".join(cells))
    return "\n".join(f"| {line} |" for line in lines)


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
    found = figures(measured, results)
    print(f"\n{', '.join(machine().values())}\n\n{table(found)}\n")
    if measured == list(ROWS):
        record.write("speed", "python -m benchmarks.speed", found)
    if len(measured) < len(rows):
        sys.exit(f"error: {len(rows) - len(measured)} rows could not be measured")


if __name__ == "__main__":
    names = [row.name for row in ROWS]
    flags.DEFINE_list("only", names, f"Rows to measure, of {','.join(names)}.")
    flags.DEFINE_bool("without_torch", False, "Measure ours only.")
    flags.register_validator(
        "only",
        lambda chosen: set(chosen) <= set(names),
        message=f"allowed: {','.join(names)}",
    )
    app.run(main)
