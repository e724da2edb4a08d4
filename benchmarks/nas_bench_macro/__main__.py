"""What the search and the supernet are worth on NAS-Bench-Macro.

python -m benchmarks.nas_bench_macro --table=nas-bench-macro_cifar10.json --search
"""

import json
import sys
from pathlib import Path

from absl import app, flags

from benchmarks.measure import machine
from benchmarks.nas_bench_macro import ranking, search
from benchmarks.nas_bench_macro.table import Table, load
from scarlet_jax.errors import InputError

FLAGS = flags.FLAGS


def say_search(table: Table, seeds: int) -> dict[str, list[object]]:
    """Prints and returns what every search finds, by seed, budget and measure."""
    found = search.compare(table, seeds)
    for number, measure in enumerate(search.MEASURES):
        scale = 1 if measure == "regret" else 100
        print(f"\n| {measure} | {' | '.join(map(str, search.BUDGETS))} |")
        print("| --- " * (len(search.BUDGETS) + 1) + "|")
        for name, values in found.items():
            cells = [ranking.interval(column) for column in scale * values[:, :, number].T]
            row = " | ".join(f"{mean:.2f} ± {width:.2f}" for mean, width in cells)
            print(f"| {name} | {row} |")
    return {name: values.round(5).tolist() for name, values in found.items()}


def main(argv: list[str]) -> None:
    if argv[1:]:
        sys.exit(f"unexpected argument {argv[1]!r}; flags start with --")
    try:
        table = load(Path(FLAGS.table))
    except InputError as error:
        sys.exit(f"error: {error}")
    about = ", ".join(value for name, value in machine().items() if name != "torch")
    print(f"{about}; {len(table.networks):,} networks, {table.front.sum()} of them on the front")
    results: dict[str, object] = {"machine": machine(), "budgets": search.BUDGETS}
    if FLAGS.search:
        results["search"] = say_search(table, FLAGS.seeds)
    out = Path(FLAGS.out)
    out.mkdir(parents=True, exist_ok=True)
    (out / "nas_bench_macro.json").write_text(json.dumps(results))


if __name__ == "__main__":
    flags.DEFINE_string("table", None, "The published nas-bench-macro_cifar10.json.", required=True)
    flags.DEFINE_bool("search", False, "Search on the published accuracies.")
    flags.DEFINE_integer("seeds", 20, "Runs of every search.", lower_bound=2)
    flags.DEFINE_string("out", "runs/nas_bench_macro", "Where results go.")
    app.run(main)
