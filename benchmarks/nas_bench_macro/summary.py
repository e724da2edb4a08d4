"""What supernets that have been scored are worth, beside what costs nothing, as JSON values."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.nas_bench_macro import picks, precision, ranking, recipes
from benchmarks.nas_bench_macro.table import SAMPLE, Table, sample
from scarlet_jax import space as spaces
from scarlet_jax.errors import InputError

BUDGETS = (30, 40, 50, 60, 80)  # million MACs, ours: what searches find is compared within them


def ranked(table: Table, out: Path, known: Mapping[str, Any]) -> dict[str, Any]:
    """How well what has been scored ranks, beside what costs nothing.

    Args:
      table: of all networks.
      out: where supernets are.
      known: the recipes of earlier results, whose supernets need not be there any more.

    Raises:
      InputError: where no supernet `base` has scored all networks.
    """
    found: dict[str, dict[recipes.RunKey, dict[str, Any]]] = {
        name: {recipes.run_key(run): run for run in recipe["runs"]}
        for name, recipe in known.items()
    }
    for name, seed, directory in recipes.scored(out):
        run, runs = measured(table, directory, seed), found.setdefault(name, {})
        key = recipes.run_key(run)
        same = key in runs and runs[key]["loss"] == run["loss"]  # of which more may be known
        runs[key] = runs[key] | run if same else run
    if not any("all" in run for run in found.get("base", {}).values()):
        raise InputError(
            f"no supernet base has scored all networks, in {out} or the results; allowed: after "
            "--train --only=base, without --sample"
        )
    chosen, space = sample(len(table.networks)), table.space
    front = np.flatnonzero(table.front)
    front = front[np.argsort(table.macs[front])]
    columns = table.macs[front], table.accuracy[front].round(3)
    near = [(table.macs > 0.95e6 * most) & (table.macs <= 1e6 * most) for most in BUDGETS]
    return {
        "networks": {"all": len(table.networks), "sample": SAMPLE},
        "choices": spaces.choice_names(space),
        "reshapes": [layer.stride != 1 for layer in space.layers],  # as all that change width
        "baselines": {
            "all": ranking.baselines(table, np.arange(len(table.networks))),
            "sample": ranking.baselines(table, chosen),
        },
        "precision": {
            "networks": precision.NETWORKS,
            "images": precision.IMAGES,
            "statistics": precision.STATISTICS,
        },
        "front": np.stack(columns, axis=1).tolist(),
        "budgets": BUDGETS,
        "drawn": [float(table.accuracy[own].mean().round(3)) for own in near],
        "found by": {
            name: picks.found(table, values / values.max(), seed=0)
            for name, values in ranking.known(table).items()
            if name != "MACs"  # which are the other objective
        },
        "base": recipes.BASE,
        "recipes": {
            name: {"settings": settings, "runs": [run for _, run in sorted(found[name].items())]}
            for name, settings in recipes.RECIPES.items()
            if name in found
        },
    }


def measured(table: Table, directory: Path, seed: int) -> dict[str, Any]:
    """What is known of one supernet."""
    chosen = sample(len(table.networks))
    scores = np.load(directory / recipes.SCORES)
    found: dict[str, Any] = {
        "seed": seed,
        **json.loads((directory / recipes.ORIGIN).read_text()),
        "sample": ranking.rank(scores[chosen], table.accuracy[chosen])._asdict(),
        "mean score": float(scores[chosen].mean()),
        "similarity": np.load(directory / recipes.SIMILARITY).round(4).tolist(),
        "loss": recipes.losses(directory),
    }
    if not np.isnan(scores).any():
        found["all"] = ranking.rank(scores, table.accuracy)._asdict()
        found["found"] = picks.found(table, scores, seed)
    if (directory / recipes.PRECISION).exists():
        right = np.load(directory / recipes.PRECISION)
        few = table.accuracy[chosen[: precision.NETWORKS]]
        found["precision"] = precision.taus(right, few).round(4).tolist()
    return found
