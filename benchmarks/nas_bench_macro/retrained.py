"""Picks of supernets, networks of equal MACs drawn at random, and the largest, trained alone."""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.nas_bench_macro.picks import Rows
from benchmarks.nas_bench_macro.recipes import BASE, Settings
from benchmarks.nas_bench_macro.table import Table
from scarlet_jax.machine import processor
from scarlet_jax.run.subnet import RESULT

# All ours: at the supernet's width, and as long.
RECIPE: Settings = {
    **{name: value for name, value in BASE.items() if name.startswith("space.")},
    "subnet.steps": 3000,
    "subnet.warmup_steps": 300,
    "subnet.eval_every": 3000,
}
EQUAL = 0.05  # ours: networks within so large a share of a pick's MACs are its equals
DIRECTORY = "retrained"
Networks = Mapping[str, int]  # rows of the table by name
Run = Mapping[str, Any]  # name, seed, architecture, MACs and test accuracy


def chosen(table: Table, picks: Rows, seed: int) -> Networks:
    """What is trained of the picks of one supernet's search.

    Every pick that has equals, one of those drawn at random, and the largest network.
    """
    rng = np.random.default_rng(seed)
    found = {"largest": int(table.macs.argmax())}
    for number, row in enumerate(picks.tolist()):
        own = table.macs[row]
        others = np.setdiff1d(np.flatnonzero(np.abs(table.macs - own) <= EQUAL * own), row)
        if len(others):
            found |= {f"picked-{number}": row, f"random-{number}": int(rng.choice(others))}
    return found


def commands(
    table: Table, seeds: Sequence[Networks], known: Sequence[Run], data: Path, out: Path
) -> dict[Path, list[str]]:
    """That train what is not known by `RECIPE`, with the seed of its supernet, by folder."""
    done = {(run["name"], run["seed"]): run["architecture"] for run in known}
    return {
        out / DIRECTORY / name / str(seed): command(name, architecture, seed, data, out)
        for (name, seed), architecture in _architectures(table, seeds).items()
        if done.get((name, seed)) != architecture
    }


def _architectures(table: Table, seeds: Sequence[Networks]) -> dict[tuple[str, int], list[int]]:
    """Of every name and seed."""
    return {
        (name, seed): table.networks[row].tolist()
        for seed, networks in enumerate(seeds)
        for name, row in networks.items()
    }


def command(name: str, architecture: Sequence[int], seed: int, data: Path, out: Path) -> list[str]:
    """That trains one network."""
    settings = {"data.path": data, **RECIPE, "seed": seed}
    return [
        *(sys.executable, "-m", "launch.train_subnet", "--config=configs/nas_bench_macro.py"),
        *(f"--workdir={out / DIRECTORY / name / str(seed)}", f"--name={name}"),
        f"--arch={','.join(map(str, architecture))}",
        *(f"--config.{key}={value}" for key, value in settings.items()),
    ]


def results(table: Table, seeds: Sequence[Networks], known: Sequence[Run], out: Path) -> list[Run]:
    """What is known, and what has been trained, but for networks that are picked no more."""
    found = {(run["name"], run["seed"]): run for run in known}
    for (name, seed), architecture in _architectures(table, seeds).items():
        path = out / DIRECTORY / name / str(seed) / "subnets" / name / RESULT
        if path.exists():
            own = json.loads(path.read_text())
            found[name, seed] = {
                "name": name,
                "seed": seed,
                "processor": processor(),
                "architecture": own["architecture"],
                "macs": own["macs"],
                "accuracy": own["test_accuracy"],
            }
        if (name, seed) in found and found[name, seed]["architecture"] != architecture:
            del found[name, seed]
    return [found[key] for key in sorted(found)]
