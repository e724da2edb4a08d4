"""Supernets of the benchmark: one recipe for a CPU core, and one change of it at a time."""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from scarlet_jax.train import metrics

Settings = Mapping[str, object]
RunKey = tuple[int, str, str, str]
# In the folder of a recipe and seed:
SCORES = "scores.npy"  # float64[networks], NaN of what is not scored
ORIGIN = "origin.json"  # see `benchmarks.record`
SIMILARITY = "similarity.npy"  # of the choices of each layer, see similarity.py
PRECISION = "precision.npy"  # which images some networks get right, see precision.py

# All ours. 18 minutes of training on a core of an AMD EPYC, and 25 for the scores of all networks.
BASE: Settings = {
    "space.width_multiplier": 0.25,  # about a tenth of the MACs
    "supernet.steps": 3000,  # 8.5 epochs of 45,000 images, in each of them 3 paths an image
    "supernet.warmup_steps": 300,
    "supernet.eval_every": 1000,
    "supernet.checkpoint_every": 250,
    "search.batch_size": 500,  # 4 batches to recalibrate on, 10 to score
}
RECIPES: Mapping[str, Settings] = {
    "base": {},
    "els": {"space.skip": "identity"},  # skips without weights in the derived network
    "none": {"space.skip": "identity", "model.stabilizer": "none"},
    "uniform": {"supernet.sampler": "uniform", "supernet.steps": 9000},  # as many paths
    "long": {"supernet.steps": 9000},
    "averaged": {"supernet.ema_decay": 0.999},
    "rate-0.05": {"supernet.learning_rate": 0.05},
    "rate-0.2": {"supernet.learning_rate": 0.2},
    "step": {"supernet.schedule": "step"},
    "decay-4e-5": {"supernet.weight_decay": 4e-5},
    "24-pixels": {"data.image_size": 24},
    "eighth": {"space.width_multiplier": 0.125},
    "full": {  # for a GPU: 14 epochs at full width
        "space.width_multiplier": 1.0,
        "model.dtype": "bfloat16",
        "supernet.batch_size": 256,
        "supernet.steps": 2500,
        "supernet.warmup_steps": 250,
    },
}


def commands(
    job: str, names: Sequence[str], seeds: int, data: Path, out: Path, sample: bool = False
) -> dict[Path, list[str]]:
    """For every seed of the recipes named, by the supernet's folder.

    Args:
      job: "supernet", which trains and scores, or "precision", of what is trained: a module beside
        this.
      names: of the recipes.
      seeds: of each.
      data: CIFAR-10 as class folders.
      out: where a recipe has its folder, and in it every seed.
      sample: whether a sample of the networks is scored instead of all.
    """
    # Seed by seed, so that all recipes have one before any has two.
    units = [(name, seed, out / name / str(seed)) for seed in range(seeds) for name in names]
    return {unit[2]: command(job, *unit, data, sample) for unit in units}


def command(
    job: str, name: str, seed: int, directory: Path, data: Path, sample: bool = False
) -> list[str]:
    """What does one job of one supernet."""
    settings = {"data.path": data, **BASE, **RECIPES[name], "seed": seed}
    return [
        *(sys.executable, "-m", f"benchmarks.nas_bench_macro.{job}"),
        *("--config=configs/nas_bench_macro.py", f"--workdir={directory}"),
        *(f"--config.{key}={value}" for key, value in settings.items()),
        *(["--sample"] if sample else []),
    ]


def run_key(run: Mapping[str, Any]) -> RunKey:
    """What tells a recipe's supernets apart."""
    return run["seed"], run["code"], run["processor"], run["jax"]


def losses(directory: Path) -> list[list[float]]:
    """Steps and losses of a supernet's training, as pairs."""
    lines = (directory / "supernet" / metrics.FILE_NAME).read_text().splitlines()
    return [[record["step"], round(record["loss"], 4)] for record in map(json.loads, lines)]


def scored(out: Path) -> Iterator[tuple[str, int, Path]]:
    """Recipe, seed and folder of what has been scored."""
    for name in RECIPES:
        for path in sorted(
            (out / name).glob(f"*/{SCORES}"), key=lambda path: int(path.parent.name)
        ):
            yield name, int(path.parent.name), path.parent
