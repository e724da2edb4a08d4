"""Checks a GPU or TPU host in minutes: speed, memory, agreement with its CPU, beside PyTorch.

python -m benchmarks.accelerator --minutes=8 --out=runs/accelerator

Images are noise, so that neither data nor a network is needed. What there is no time for is named.
`--out` gets accelerator.json, table.md and, for TensorBoard, a profile of the first work's calls.
"""

import contextlib
import json
import os
import shlex
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from absl import app, flags

from benchmarks.accelerator import parity, table
from benchmarks.measure import OURS, ROOT, TORCH, Work, has_torch, machine

FLAGS = flags.FLAGS
# Of the time: when ours is to end, and then the agreement; PyTorch has the rest.
OURS_UNTIL, PARITY_UNTIL = 0.6, 0.76
PYTHON = (sys.executable, "-m")
PARITY = "benchmarks.accelerator.parity"
ON_CPU = ("branch-float32", "branch-bfloat16")
ON_DEVICE = ("masked-float32", "masked-bfloat16", *ON_CPU)

Waves = Sequence[Sequence[Work]]


def plan(config: str, image_size: int, batches: Sequence[int]) -> tuple[Waves, Waves]:
    """What is measured, ours and PyTorch's; works of a wave are started together.

    The first of ours is alone, so that its compilation has the machine to itself.
    """

    def work(kind: str, batch_size: int, how: str) -> Work:
        return Work(kind, 0, image_size, batch_size, config, cores=0, how=how)

    first, *others = batches
    ours = [
        [work("strict_fair", first, "masked")],
        [work(kind, first, "masked") for kind in ("train", "score", "random")],
        *(
            [work(kind, n, "masked") for kind in kinds]
            for n in others
            for kinds in (("strict_fair",), ("train", "score"))
        ),
        *([work(kind, first, "branch")] for kind in ("train", "strict_fair")),
    ]
    kinds = ("strict_fair", "score", "train")
    theirs = [work(kind, n, "eager") for n in batches for kind in kinds]
    # Under strict fairness every step has new paths, for each of which PyTorch would compile.
    theirs[3:3] = [work(kind, first, "compiled") for kind in ("train", "score")]
    return ours, [[work] for work in theirs]


def lines(command: Sequence[str], seconds: float) -> Iterator[dict[str, Any]]:
    """What a process prints, line by line as JSON, until it ends or its time is over."""
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as child:
        timer = threading.Timer(max(seconds, 0.0), child.kill)
        timer.start()
        try:
            for line in child.stdout or ():
                if line.startswith("{"):  # libraries write there, too
                    yield json.loads(line)
        finally:
            timer.cancel()
            child.kill()


class Check:
    """What is found until the time is over, in files that are whole after every line of it."""

    def __init__(self, folder: Path, minutes: float, command: str):
        self.folder, self.seconds, self.begin = folder, 60 * minutes, time.monotonic()
        self.found: dict[str, Any] = {
            "command": command,
            "machine": machine() | {"cores": f"{os.cpu_count()} CPU cores"},
            "works": [],
            "agreement": {},
            "left_out": [],
        }

    def left(self, share: float) -> float:
        """Seconds until this share of the time is over."""
        return self.begin + share * self.seconds - time.monotonic()

    def save(self) -> None:
        text = json.dumps(self.found, indent=1)
        (self.folder / "accelerator.json").write_text(text + "\n")
        (self.folder / "table.md").write_text(table.page(self.found))

    def measure(self, module: str, waves: Waves, until: float, profile: str = "") -> None:
        """Measures one side."""
        missing = [work for wave in waves for work in wave]
        text = json.dumps([[asdict(work) for work in wave] for wave in waves])
        command = [*PYTHON, "benchmarks.accelerator.side", module, text, profile]
        for found in lines(command, self.left(until)):
            if "accelerator" in found:
                self.found["machine"] |= found
                continue
            missing.remove(Work(**{field.name: found[field.name] for field in fields(Work)}))
            self.found["works"].append(found)
            self.save()
            print(table.line(found), flush=True)
        self.found["left_out"] += [table.title(asdict(work)) for work in missing]

    def compare(self, folder: Path, cpu: subprocess.Popen[str]) -> None:
        """Holds the accelerator against the CPU, whose part is computed meanwhile."""
        command = [*PYTHON, PARITY, str(folder / "device-"), *ON_DEVICE]
        for _ in lines(command, self.left(PARITY_UNTIL)):
            pass
        with contextlib.suppress(subprocess.TimeoutExpired):
            cpu.wait(max(self.left(PARITY_UNTIL), 1.0))
        reference, *others = [f"cpu-{kind}" for kind in ON_CPU]
        expected = parity.read(folder / f"{reference}.npz")
        for name in (*others, *(f"device-{kind}" for kind in ON_DEVICE)):
            found = parity.read(folder / f"{name}.npz")
            if found and expected:
                self.found["agreement"][name] = parity.differences(found, expected)
            else:
                self.found["left_out"].append(f"agreement of {name}")
        self.save()


def main(argv: list[str]) -> None:
    if argv[1:]:
        raise app.UsageError(f"unexpected argument {argv[1]!r}; flags start with --")
    folder = Path(FLAGS.out)
    folder.mkdir(parents=True, exist_ok=True)
    check = Check(
        folder, FLAGS.minutes, shlex.join(["python", "-m", "benchmarks.accelerator", *sys.argv[1:]])
    )
    batches = [int(size) for size in FLAGS.batches]
    ours, theirs = plan(FLAGS.config, FLAGS.image_size, batches)
    with tempfile.TemporaryDirectory() as temporary:
        command = ["nice", "-n", "19", *PYTHON, PARITY, f"{temporary}/cpu-", *ON_CPU]
        environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
        with subprocess.Popen(command, cwd=ROOT, env=environment, text=True) as cpu:
            try:
                check.measure(OURS.module, ours, OURS_UNTIL, str(folder / "profile"))
                check.compare(Path(temporary), cpu)
            finally:
                cpu.kill()
    if has_torch():
        check.measure(TORCH.module, theirs, 1.0)
    check.save()
    print(f"\n{table.page(check.found)}\nwritten: {folder}")
    if failed := [found for found in check.found["works"] if "error" in found]:
        sys.exit(f"error: {len(failed)} could not be measured")


if __name__ == "__main__":
    flags.DEFINE_float("minutes", 8.0, "When to end in any case.", lower_bound=0.1)
    flags.DEFINE_string("out", None, "Where accelerator.json, table.md and profile/ go.")
    flags.DEFINE_string("config", "imagenet_s2", "A module of configs/, for space and settings.")
    flags.DEFINE_integer("image_size", 224, "Pixels a side.", lower_bound=1)
    flags.DEFINE_list("batches", ["64", "256"], "Images a step.")
    flags.mark_flag_as_required("out")
    app.run(main)
