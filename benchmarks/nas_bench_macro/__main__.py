"""What the search and the supernet are worth on NAS-Bench-Macro.

python -m benchmarks.nas_bench_macro --table=nas-bench-macro_cifar10.json --search
python -m benchmarks.nas_bench_macro --table=nas-bench-macro_cifar10.json --train --score \
    --data=DIR --only=base,none --seeds=3
python -m benchmarks.nas_bench_macro --table=nas-bench-macro_cifar10.json --retrain \
    --data=DIR --seeds=3

`--train` and `--retrain` go on where they were stopped, and may be stopped at any time. The latter
takes what a search by the first supernet `base` picks.
"""

import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from absl import app, flags

from benchmarks.evidence import tables
from benchmarks.measure import machine
from benchmarks.nas_bench_macro import picks, precision, ranking, recipes, retrained, search
from benchmarks.nas_bench_macro.table import Table, load, sample
from scarlet_jax.errors import InputError

FLAGS = flags.FLAGS
JOBS = ("search", "train", "precision", "score", "retrain")


def searched(table: Table, seeds: int) -> dict[str, Any]:
    """What every search finds, by seed, budget and measure."""
    found = search.compare(table, seeds)
    return {
        "budgets": search.BUDGETS,
        "measures": search.MEASURES,
        "searches": {name: values.round(5).tolist() for name, values in found.items()},
    }


def ranked(table: Table, out: Path) -> dict[str, Any]:
    """How well what has been scored ranks, beside what costs nothing."""
    found: dict[str, dict[int, Any]] = {}
    chosen = sample(len(table.networks))
    few = table.accuracy[chosen[: precision.NETWORKS]]
    for name, seed, directory in recipes.scored(out):
        scores, own = np.load(directory / recipes.SCORES), found.setdefault(name, {})
        own[seed] = {
            "sample": ranking.rank(scores[chosen], table.accuracy[chosen])._asdict(),
            "mean score": float(scores[chosen].mean()),
            "similarity": np.load(directory / recipes.SIMILARITY).round(4).tolist(),
            "loss": recipes.losses(directory),
        }
        if not np.isnan(scores).any():
            own[seed]["all"] = ranking.rank(scores, table.accuracy)._asdict()
            own[seed]["found"] = picks.found(table, scores, seed)
        if (directory / recipes.PRECISION).exists():
            right = np.load(directory / recipes.PRECISION)
            own[seed]["precision"] = precision.taus(right, few).round(4).tolist()
    return {
        "baselines": {
            "all": ranking.baselines(table),
            "sample": ranking.baselines(table.only(chosen)),
        },
        "precision": {
            "networks": precision.NETWORKS,
            "images": precision.IMAGES,
            "statistics": precision.STATISTICS,
        },
        "found by depth": {
            seed: picks.found(table, table.depth / table.space.depth, seed)
            for seed in found.get("base", {})
        },
        "largest": picks.beside_equals(table, int(table.macs.argmax())),
        "base": recipes.BASE,
        "recipes": {
            name: {"settings": recipes.RECIPES[name], "seeds": seeds}
            for name, seeds in found.items()
        },
    }


def origin() -> dict[str, Any]:
    """Where results come from."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    own = ["python", "-m", "benchmarks.nas_bench_macro", *sys.argv[1:]]
    return {"command": shlex.join(own), "commit": commit.stdout.strip(), "machine": machine()}


def main(argv: list[str]) -> None:
    if argv[1:]:
        sys.exit(f"unexpected argument {argv[1]!r}; flags start with --")
    unknown = sorted(set(FLAGS.only) - set(recipes.RECIPES))
    if unknown:
        sys.exit(f"--only has {', '.join(unknown)}; allowed: {', '.join(recipes.RECIPES)}")
    on_images = FLAGS.train or FLAGS.precision or FLAGS.retrain
    if on_images and not (Path(FLAGS.data) / "train").is_dir():
        sys.exit(f"--data is {FLAGS.data!r}; allowed: a folder with train/CLASS/*.jpg, and test")
    if not any(FLAGS[job].value for job in JOBS):
        sys.exit(f"give one or more of --{', --'.join(JOBS)}")
    try:
        table = load(Path(FLAGS.table))
    except InputError as error:
        sys.exit(f"error: {error}")
    out = Path(FLAGS.out)
    out.mkdir(parents=True, exist_ok=True)
    about = ", ".join(value for name, value in machine().items() if name != "torch")
    print(f"{about}; {len(table.networks):,} networks, {table.front.sum()} of them on the front")
    if FLAGS.train:
        recipes.run("unit", FLAGS.only, FLAGS.seeds, Path(FLAGS.data), out, FLAGS.sample)
    if FLAGS.precision:
        recipes.run("precision", FLAGS.only, FLAGS.seeds, Path(FLAGS.data), out)
    results: dict[str, dict[str, Any]] = {}
    if FLAGS.retrain:
        chosen = [
            retrained.chosen(table, np.load(out / "base" / str(seed) / recipes.SCORES), seed)
            for seed in range(FLAGS.seeds)
        ]
        retrained.train(table, chosen, Path(FLAGS.data), out)
        runs = list(retrained.results(chosen, out))
        results["retrained"] = {"recipe": retrained.RECIPE, "runs": runs}
    if FLAGS.search:
        results["search"] = searched(table, FLAGS.seeds)
        print("".join(tables.search_tables(results["search"])))
    if FLAGS.score:
        results["ranking"] = ranked(table, out)
        for networks in ("all", "sample"):
            print("\n".join(["", *tables.ranking_table(results["ranking"], networks)]))
    if FLAGS.retrain:
        print("\n".join(["", *tables.retrained_table(results["retrained"])]))
    for name, found in results.items():
        path = out / f"nas_bench_macro_{name}.json"
        path.write_text(json.dumps(origin() | found) + "\n")
        print(f"\nwritten: {path}")


if __name__ == "__main__":
    flags.DEFINE_string("table", None, "The published nas-bench-macro_cifar10.json.", required=True)
    flags.DEFINE_bool("search", False, "Search on the published accuracies.")
    flags.DEFINE_bool("train", False, "Train supernets on CIFAR-10, and score all networks.")
    flags.DEFINE_bool("precision", False, "Score some networks of trained supernets in many ways.")
    flags.DEFINE_bool("score", False, "Rank correlations of what has been scored.")
    flags.DEFINE_bool("retrain", False, "Train what a search picks alone, and others.")
    flags.DEFINE_integer("seeds", 20, "Runs of every search, or of every recipe.", lower_bound=1)
    flags.DEFINE_bool("sample", False, "Score a sample of 1,000 networks instead of all.")
    flags.DEFINE_list("only", list(recipes.RECIPES), "Recipes to train.")
    flags.DEFINE_string("data", "", "CIFAR-10 as class folders, to train on.")
    flags.DEFINE_string("out", "runs/nas_bench_macro", "Where supernets and results go.")
    app.run(main)
