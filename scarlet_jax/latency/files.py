"""A space's blocks as files, to be measured on another device, and the table of what it was.

A block has one file and is measured alone. So it pays for a call, which a network pays once; what
that comes to, the stem takes off again, and may be negative: in ONNX Runtime the median error of
MNIST's sums is 2.1% so, and 14.5% by a stem of 0. In LiteRT it was 2.5% by blocks alone, and 6.4%
by a file with the block twice less one with it once, as `measure` does it in JAX. An identity with
a stride copies pixels in these runtimes, so it has a file as well (5.5% without). One without a
stride costs 0. All of that on one of 2 busy CPU cores.

What is written is a table to fill in: in place of numbers it has the names of files. Beside what
`table` says, it has
  runtime, precision: what the files are for.
  networks: architectures of whole networks, by the names of their files, for stem and check.
Any number may be filled in by hand instead; then its file is not asked for.
"""

import json
import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import nnx

from scarlet_jax import export, subnet
from scarlet_jax import space as spaces
from scarlet_jax.blocks.base import Exportable
from scarlet_jax.blocks.skips import Identity
from scarlet_jax.errors import InputError
from scarlet_jax.files import replacing, write_json
from scarlet_jax.latency import networks, printed, table
from scarlet_jax.latency.parts import Part, plan
from scarlet_jax.network_size import NetworkSize
from scarlet_jax.progress import Progress
from scarlet_jax.space import Array, Space

TABLE = "table.json"  # in the folder
DETAILS = 10  # lines of progress in a log (ours)
SUFFIXES = {"litert": ".tflite", "onnx": ".onnx"}
DEVICE_FOLDER = "/data/local/tmp"  # where Android's shell may write and run programs
# Each run is short, as there are several rounds (ours).
TOOLS = {
    "litert": (
        f"{DEVICE_FOLDER}/benchmark_model --num_threads=1 --num_runs=10 --min_secs=0.2 "
        "--warmup_min_secs=0.1 --graph=$f"
    ),
    "onnx": f"{DEVICE_FOLDER}/onnxruntime_perf_test -I -s -x 1 -m times -r 50 $f",
}
ROUNDS = "1 2 3 4 5"  # so that a phone that grows warm favours no file (ours)


def export_blocks(
    space: Space,
    size: NetworkSize,
    format_name: str,
    folder: Path,
    *,
    check: int,
    precision: str = "float32",
) -> int:
    """Writes every distinct block and head of a space, random networks, and a table to fill in.

    Args:
      space: the search space.
      size: of its networks.
      format_name: one of `SUFFIXES`.
      folder: where they go; the table, `TABLE`, is written last.
      check: random networks to compare the table's sums with; 0 for none.
      precision: one of `export.PRECISIONS`; int8 is calibrated on noise, as weights are random.

    Returns:
      How many files there are to measure.

    Raises:
      InputError: for a format that no tool measures or a package of it that is not installed, an
        unknown precision, a negative number of networks, or a folder with a table.
    """
    if format_name not in SUFFIXES:
        raise InputError(
            f"format is {format_name!r}; allowed for blocks: {', '.join(SUFFIXES)}, which tools on "
            "phones measure"
        )
    paths = networks.sample(space, check)
    if (folder / TABLE).exists():
        raise InputError(f"{folder} has blocks already, with {TABLE}; allowed: another folder")
    folder.mkdir(parents=True, exist_ok=True)
    module = export.check(format_name, folder / TABLE, 1, precision)
    planned = plan(space, size.image_size)
    names = {
        part: None if _is_nothing(part, space) else _name(part) for part in jax.tree.leaves(planned)
    }
    parts = [part for part, name in names.items() if name is not None]
    total, rng = len(parts) + len(paths), np.random.default_rng(0)
    every = -(-total // DETAILS)
    with Progress("write", total, "file") as progress:
        for done, (name, own, shape) in enumerate(_modules(space, size, parts, paths), start=1):
            noise = rng.standard_normal(shape).astype(np.float32)
            with replacing(folder / f"{name}{SUFFIXES[format_name]}") as partial:
                export.write(module, own, shape, partial, precision, [noise])
            progress.update(done, "" if done % every else name)
    record = {
        **table.heading(space, size),
        "unit": table.UNIT,
        "device": {"kind": None},
        "runtime": format_name,
        "precision": precision,
        "stem": None,
        **jax.tree.map(lambda part: names[part] or 0.0, planned),
        "networks": {name: path.tolist() for name, path in paths.items()},
    }
    write_json(folder / TABLE, record)
    return total


def commands(format_name: str, folder: Path) -> list[str]:
    """What to run, with an Android phone attached and the tool in `DEVICE_FOLDER` on it."""
    here, there = os.fspath(folder), f"{DEVICE_FOLDER}/{folder.resolve().name}"
    run = f'{TOOLS[format_name]} >> "${{f%.*}}.txt" 2>&1'
    loop = f"for i in {ROUNDS}; do for f in *{SUFFIXES[format_name]}; do {run}; done; done"
    # Nothing of an earlier measurement stays, and the table that is filled in here is not pulled.
    clean = f"rm -f *.txt {TABLE}"
    return [
        shlex.join(["adb", "shell", shlex.join(["rm", "-rf", there])]),
        shlex.join(["adb", "push", here, DEVICE_FOLDER]),
        shlex.join(["adb", "shell", f"cd {shlex.quote(there)} && {clean} && {loop}"]),
        shlex.join(["adb", "pull", f"{there}/.", here]),
    ]


def read_blocks(space: Space, size: NetworkSize, folder: Path) -> dict[str, Any]:
    """The table of a folder of `export_blocks`, with the device's name and its outputs in it.

    Args:
      space, size: that the folder must be of.
      folder: where beside each file there is a text of its name, such as E3K3-....txt, which holds
        what a tool has printed, see `printed`, or a number alone, of the table's unit.

    Raises:
      InputError: for a table that is not of the space or names no device, a text that lacks, or
        that holds no number of the table's unit.
    """
    path = folder / TABLE
    record = table.read(path, space, size)
    device = record.get("device")
    kind = device.get("kind") if isinstance(device, dict) else None
    if not isinstance(kind, str) or not kind.strip():
        raise InputError(f"{path} has no text at device.kind; fill in what was measured on")
    own = record.pop("networks", None)
    if not isinstance(own, dict) or len(own) < networks.REFERENCES:
        raise InputError(
            f"{path} has no networks for the stem; allowed: {networks.REFERENCES} or more"
        )
    paths = np.stack([spaces.from_json(space, json.dumps(listed)) for listed in own.values()])
    planned = {name: record.get(name) for name in ("layers", "head")}
    parts = [name for name in jax.tree.leaves(planned) if isinstance(name, str)]
    found = _read(folder, list(dict.fromkeys([*parts, *own])), record["unit"])
    measured = np.array([found[name] for name in own])
    if not (np.isfinite(measured) & (measured > 0)).all():
        raise InputError(f"a network of {folder} takes 0 or no finite number; allowed: more than 0")
    costs = jax.tree.map(lambda value: found.get(value, value), planned)
    numbers, _ = networks.fitted(space, costs, paths, measured, record.get("stem"))
    return record | numbers


def _read(folder: Path, names: Sequence[str], unit: str) -> Mapping[str, float]:
    """What was measured, by the names of files."""
    lacking = [name for name in names if not (folder / f"{name}.txt").is_file()]
    if lacking:
        raise InputError(
            f"{folder} lacks {len(lacking)} of {len(names)} outputs, such as {lacking[0]}.txt; "
            "allowed: one for every file"
        )
    return {name: _number(folder / f"{name}.txt", unit) for name in names}


def _number(path: Path, unit: str) -> float:
    text = path.read_text(encoding="utf-8-sig", errors="replace")
    if (number := printed.number(text)) is not None:
        return number
    time = printed.milliseconds(text)
    if time is None:
        raise InputError(
            f"{path} has no result; allowed: all that benchmark_model or onnxruntime_perf_test "
            "prints, or a number alone"
        )
    if unit != table.UNIT:
        raise InputError(
            f"{path} has a time, but {TABLE} the unit {unit}; allowed: a number alone, or the unit "
            f"{table.UNIT}"
        )
    return time


def _name(part: Part) -> str:
    """Of its file, without suffix."""
    shape = f"{part.side}x{part.side}x{part.width}"
    if part.choice is None or part.layer is None:
        return f"head-{shape}"
    return f"{part.choice.name}-{shape}-to-{part.layer.width}-stride-{part.layer.stride}"


def _is_nothing(part: Part, space: Space) -> bool:
    """Whether its output is its input, which makes no file."""
    if part.choice is None or not part.choice.is_skip:
        return False
    block = part.build(space, 1, np.random.default_rng(0))
    return isinstance(block, Identity) and block.stride == 1


def _modules(
    space: Space, size: NetworkSize, parts: Sequence[Part], paths: Mapping[str, Array]
) -> Iterator[tuple[str, Exportable, tuple[int, ...]]]:
    """What goes into files, with the names of these and the shapes of inputs."""
    rng = np.random.default_rng(0)
    for part in parts:
        block = part.build(space, size.num_classes, rng)
        yield _name(part), block, (1, part.side, part.side, part.width)
    for name, path in paths.items():
        network = subnet.create(space, path, num_classes=size.num_classes, channels=size.channels)
        yield name, nnx.merge(*network), (1, size.image_size, size.image_size, size.channels)
