"""Measures the supernet on one GPU or TPU: both ways to choose, beside PyTorch on a GPU.

python -m benchmarks.accelerator --out=runs/accelerator
"""

import json
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

from absl import app, flags

from benchmarks.measure import OURS_ON_GPU, TORCH, Measurement, Work, has_torch, measure
from benchmarks.speed import median, three_digits

FLAGS = flags.FLAGS
HEADER = ("work", "how", "s a call", "images a second", "first call, s", "peak GB")
WORKS = {
    kind: Work(kind, repeats, 224, batch_size=64, config="imagenet_s2", cores=0)
    for kind, repeats in {"strict_fair": 4, "train": 20, "score": 50}.items()
}
HOW = {
    "masked": (OURS_ON_GPU, "masked"),
    "PyTorch": (TORCH, "auto"),
    "branch": (OURS_ON_GPU, "branch"),
}


def table_row(how: str, work: Work, found: Measurement) -> str:
    seconds = median(found, "seconds")
    figures = (
        f"{seconds:.4f}",
        f"{work.batch_size / seconds:.0f}",
        f"{median(found, 'first_seconds'):.1f}",
        three_digits(found["peak_gb"][0]),
    )
    return f"| {' | '.join((work.kind, how, *figures))} |"


def main(argv: list[str]) -> None:
    if argv[1:]:
        raise app.UsageError(f"unexpected argument {argv[1]!r}; flags start with --")
    path = Path(FLAGS.out) / "accelerator.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    print(f"| {' | '.join(HEADER)} |\n|{' --- |' * len(HEADER)}", flush=True)
    results, failed = [], 0
    for how in FLAGS.how:
        if how == "PyTorch" and not has_torch():
            continue
        for kind in FLAGS.only:
            side, selection = HOW[how]
            work = replace(WORKS[kind], selection=selection)
            try:
                found = measure(work, side, FLAGS.limit)
            except subprocess.SubprocessError as error:
                print(f"{kind}, {how}: {str(error)[-80:]}", flush=True)
                failed += 1
                continue
            print(table_row(how, work, found), flush=True)
            results.append({"how": how, **asdict(work), **found})
            path.write_text(json.dumps(results, indent=1) + "\n")
    if failed:
        sys.exit(f"error: {failed} could not be measured")


if __name__ == "__main__":
    flags.DEFINE_string("out", "runs/accelerator", "Where accelerator.json goes.")
    flags.DEFINE_multi_enum("how", list(HOW), list(HOW), "What is measured, in this order.")
    flags.DEFINE_multi_enum("only", list(WORKS), list(WORKS), "Works to measure.")
    flags.DEFINE_float("limit", 900, "Seconds after which a measurement is given up.")
    app.run(main)
