"""The table of benchmarked architectures: on the screen row by row, and in files."""

import csv
import io
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scarlet_jax import benchmark, devices, processes
from scarlet_jax import space as spaces
from scarlet_jax.benchmark import Timing
from scarlet_jax.errors import InputError
from scarlet_jax.files import replace_text
from scarlet_jax.network_size import NetworkSize
from scarlet_jax.progress import say
from scarlet_jax.run.images import say_unreadable
from scarlet_jax.run.setup import Setup
from scarlet_jax.run.supernet import evaluate_paths, load_supernet
from scarlet_jax.space import Array, Space

ACCURACY = "supernet_accuracy"
COLUMNS = {  # on the screen, by the name in a row: title, width, format, unit
    "macs": ("MACs", 14, ",.0f", 1),
    "params": ("parameters", 11, ",.0f", 1),
    "latency_p50_ms": ("latency p50 ms", 14, ".2f", 1),
    "latency_p95_ms": ("p95 ms", 8, ".2f", 1),
    "images_per_second": ("images/s", 9, ".1f", 1),
    "memory_bytes": ("memory MB", 9, ".1f", 1e6),
    ACCURACY: ("supernet accuracy", 17, ".4f", 1),
}


def score(setup: Setup, architectures: Sequence[Array], size: NetworkSize) -> NDArray[np.float64]:
    """Validation accuracy of P architectures in a trained supernet, `float64[P]`.

    All in one call: the supernet is compiled once, and its paths are data.

    Args:
      setup: of the work directory with the supernet.
      architectures: `int32[L]` each.
      size: of what is benchmarked: it must be the supernet's.

    Raises:
      InputError: for another size, or if there is no such supernet, see `load_supernet`.
    """
    for name, own in asdict(setup.size).items():
        if (value := getattr(size, name)) != own:
            raise InputError(
                f"{name} is {value}; allowed with the supernet of {setup.workdir}: {own}"
            )
    supernet = load_supernet(setup)
    images = len(setup.splits.validation)
    say(f"supernet of {setup.workdir}: scoring on {images} validation images")
    accuracies = evaluate_paths(setup, supernet, architectures)
    say_unreadable(setup)
    return accuracies


def run(
    space: Space,
    architectures: Sequence[tuple[str, Array]],
    size: NetworkSize,
    timing: Timing,
    *,
    accuracies: NDArray[np.float64] | None = None,
    csv_path: str | os.PathLike[str] | None = None,
    json_path: str | os.PathLike[str] | None = None,
) -> dict[str, Any]:
    """Measures architectures one after the other, and prints each as a row of a table.

    The files are written anew after every row: a stopped run leaves the rows that it has.

    Args:
      space: the search space.
      architectures: what each is called, and its array `int32[L]`.
      size, timing: see `benchmark.measure`.
      accuracies: `float64[P]`, of each inside a supernet; None for a table without.
      csv_path: where the rows go as CSV, with commas between the items of a list.
      json_path: where all that is returned goes as JSON.

    Returns:
      `space` (its name), all of `size` and `timing`, `devices`, `jax` (its version), and `rows`. A
      row has `arch` (what it is called), `architecture` (L indices), `blocks` (L names), all that
      `benchmark.measure` gives, and `supernet_accuracy` if there are accuracies.

    Raises:
      OSError: if a file cannot be written.
    """
    about = devices.describe()
    record = {
        "space": space.name,
        **asdict(size),
        **asdict(timing),
        "devices": about["devices"],
        "jax": about["jax"],
    }
    rows: list[dict[str, Any]] = []
    paths = [path for path in (csv_path, json_path) if path]
    names = [name for name in COLUMNS if name != ACCURACY or accuracies is not None]
    _say_row([COLUMNS[name][0].rjust(COLUMNS[name][1]) for name in names], "architecture")
    try:
        for number, (arch, architecture) in enumerate(architectures):
            row = {
                "arch": arch,
                "architecture": architecture.tolist(),
                "blocks": spaces.to_names(space, architecture),
                **benchmark.measure(space, architecture, size, timing),
            }
            if accuracies is not None:
                row[ACCURACY] = float(accuracies[number])
            _write(csv_path, _to_csv([*rows, row]))
            _write(json_path, json.dumps({**record, "rows": [*rows, row]}, indent=1) + "\n")
            rows.append(row)
            _say_row([_shown(name, row[name]) for name in names], arch)
    finally:
        if rows and paths:
            say(f"{len(rows)} of {len(architectures)} rows: {' and '.join(map(str, paths))}")
    return {**record, "rows": rows}


def _say_row(cells: Sequence[str], arch: str) -> None:
    say("  ".join([*cells, arch]))


def _shown(name: str, value: float) -> str:
    _, width, how, unit = COLUMNS[name]
    return f"{value / unit:>{width}{how}}"


def _write(path: str | os.PathLike[str] | None, text: str) -> None:
    if path and processes.is_first():
        replace_text(path, text)


def _to_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow(
            {
                name: ",".join(map(str, value)) if isinstance(value, list) else value
                for name, value in row.items()
            }
        )
    return text.getvalue()
