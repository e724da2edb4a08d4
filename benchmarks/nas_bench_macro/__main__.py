r"""What the search and the supernet are worth on NAS-Bench-Macro.

python -m benchmarks.nas_bench_macro --table=nas-bench-macro_cifar10.json --search
python -m benchmarks.nas_bench_macro --table=nas-bench-macro_cifar10.json --train --score \
    --data=DIR --only=base,none --seeds=3
python -m benchmarks.nas_bench_macro --table=nas-bench-macro_cifar10.json --retrain \
    --data=DIR --seeds=3

`--train` and `--retrain` may be stopped at any time, and go on from the last checkpoint of every
training. The latter takes what searches by the supernets `base` pick, which `--score` has told, of
all networks. What they train goes into `benchmarks/results/`, beside what was trained before, on
whichever machine.
"""

import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from absl import app, flags

from benchmarks import record
from benchmarks.evidence import tables
from benchmarks.measure import machine
from benchmarks.nas_bench_macro import recipes, retrained, search
from benchmarks.nas_bench_macro.picks import Rows
from benchmarks.nas_bench_macro.processes import side_by_side
from benchmarks.nas_bench_macro.summary import ranked
from benchmarks.nas_bench_macro.table import Table, load
from scarlet_jax.errors import InputError
from scarlet_jax.launch import cores

FLAGS = flags.FLAGS
JOBS = ("search", "train", "precision", "score", "retrain")
PATHS = {"table": "nas-bench-macro_cifar10.json", "data": "DIR", "out": "DIR"}  # in a command


def searched(table: Table, seeds: int) -> dict[str, Any]:
    """What every search finds, by seed, budget and measure."""
    found = search.compare(table, seeds)
    return {
        "budgets": search.BUDGETS,
        "measures": search.MEASURES,
        "searches": {name: values.round(5).tolist() for name, values in found.items()},
    }


def picks_of_base(table: Table, seed: int) -> Rows:
    """What was picked by one supernet's scores of all networks.

    Raises:
      InputError: if nothing was.
    """
    known = known_recipes().get("base", {"runs": []})
    runs = [run for run in known["runs"] if run["seed"] == seed and "found" in run]
    if not runs:
        raise InputError(
            f"{record.file('nas_bench_macro_ranking')} has no picks of seed {seed} of base; "
            f"allowed: after --train --score --only=base --seeds={seed + 1}, without --sample"
        )
    return table.index(np.array(runs[-1]["found"]["picks"], np.int32))


def retrain(table: Table, out: Path) -> None:
    """Trains what is picked alone, and others; keeps what is finished when it is stopped."""
    chosen = [
        retrained.chosen(table, picks_of_base(table, seed), seed) for seed in range(FLAGS.seeds)
    ]
    known = earlier("retrained", "recipe", retrained.RECIPE).get("runs", [])
    try:
        commands = retrained.commands(table, chosen, known, Path(FLAGS.data), out)
        side_by_side(commands, FLAGS.jobs)
    finally:
        runs = retrained.results(table, chosen, known, out)
        write("retrained", {"recipe": retrained.RECIPE, "runs": runs})


def earlier(job: str, setting: str, value: recipes.Settings) -> dict[str, Any]:
    """The results that are there.

    Raises:
      InputError: if they are of another setting, which what is written now would replace.
    """
    name = f"nas_bench_macro_{job}"
    found = record.read(name)
    if found and found[setting] != dict(value):
        raise InputError(
            f"{record.file(name)} has results of another {setting}: {found[setting]}; allowed: "
            f"{dict(value)}, or no such file"
        )
    return found


def known_recipes() -> dict[str, Any]:
    """What earlier results have of the supernets of each recipe.

    Raises:
      InputError: if their settings have changed since, so that what comes would not be alike.
    """
    known: dict[str, Any] = earlier("ranking", "base", recipes.BASE).get("recipes", {})
    if other := [name for name in known if known[name]["settings"] != recipes.RECIPES.get(name)]:
        raise InputError(
            f"the results have {', '.join(other)} with other settings; allowed: those of "
            "recipes.py, or none"
        )
    return known


def command() -> str:
    """As it was given, but for paths."""
    given = ["python", "-m", "benchmarks.nas_bench_macro"]
    for flag in FLAGS.get_key_flags_for_module(sys.argv[0]):
        if flag.present:
            text = str(PATHS.get(flag.name, flag.serialize().partition("=")[2]))
            given.append(f"--{flag.name}" + (f"={text}" if text else ""))
    return shlex.join(given)


def write(job: str, found: Mapping[str, Any]) -> None:
    record.write(f"nas_bench_macro_{job}", command(), found)


def run(table: Table, out: Path) -> None:
    """The jobs that are asked for."""
    data = Path(FLAGS.data)
    known = known_recipes() if FLAGS.score else {}  # refused before hours of training
    if FLAGS.train:
        commands = recipes.commands("supernet", FLAGS.only, FLAGS.seeds, data, out, FLAGS.sample)
        side_by_side(commands, FLAGS.jobs)
    if FLAGS.precision:
        side_by_side(recipes.commands("precision", FLAGS.only, FLAGS.seeds, data, out), FLAGS.jobs)
    if FLAGS.search:
        write("search", found := searched(table, FLAGS.seeds))
        print("".join(tables.search_tables(found)))
    if FLAGS.score:
        write("ranking", found := ranked(table, out, known))
        print("\n".join(["", *tables.ranking_table(found), "", *tables.changes_table(found)]))
    if FLAGS.retrain:
        retrain(table, out)


def check_flags() -> None:
    """Ends with one line for what is not allowed."""
    unknown = sorted(set(FLAGS.only) - set(recipes.RECIPES))
    if unknown or not FLAGS.only:
        allowed = ", ".join(recipes.RECIPES)
        sys.exit(f"--only has {', '.join(unknown) or 'no recipe'}; allowed: {allowed}")
    on_images = FLAGS.train or FLAGS.precision or FLAGS.retrain
    data = Path(FLAGS.data or "-")
    if on_images and not ((data / "train").is_dir() and (data / "test").is_dir()):
        sys.exit(f"--data is {FLAGS.data!r}; allowed: a folder with train/CLASS/*.jpg, and test")
    if not any(FLAGS[job].value for job in JOBS):
        sys.exit(f"give one or more of --{', --'.join(JOBS)}")


def main(argv: list[str]) -> None:
    if argv[1:]:
        sys.exit(f"unexpected argument {argv[1]!r}; flags start with --")
    check_flags()
    out = Path(FLAGS.out)
    out.mkdir(parents=True, exist_ok=True)
    try:
        table = load(Path(FLAGS.table))
        about = ", ".join(value for name, value in machine().items() if name != "torch")
        print(f"{about}; {len(table.networks):,} networks, {table.front.sum()} on the front")
        run(table, out)
    except InputError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    flags.DEFINE_string("table", None, "The published nas-bench-macro_cifar10.json.", required=True)
    flags.DEFINE_bool("search", False, "Search on the published accuracies.")
    flags.DEFINE_bool("train", False, "Train supernets on CIFAR-10, and score all networks.")
    flags.DEFINE_bool("precision", False, "Score some networks of trained supernets in many ways.")
    flags.DEFINE_bool("score", False, "Rank correlations of what has been scored.")
    flags.DEFINE_bool("retrain", False, "Train what a search picks alone, and others.")
    flags.DEFINE_integer("seeds", 20, "Runs of every search, or of every recipe.", lower_bound=1)
    flags.DEFINE_bool("sample", False, "Score a sample of 1,000 networks instead of all.")
    flags.DEFINE_list("only", ["base"], f"Recipes to train, of {', '.join(recipes.RECIPES)}.")
    flags.DEFINE_integer(
        "jobs",
        cores.available(),
        "Trainings at once, which share the cores evenly; on a GPU take 1.",
        lower_bound=1,
        upper_bound=cores.available(),
    )
    flags.DEFINE_string("data", "", "CIFAR-10 as class folders, to train on.")
    flags.DEFINE_string("out", "runs/nas_bench_macro", "Where supernets and results go.")
    app.run(main)
