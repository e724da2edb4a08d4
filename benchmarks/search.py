"""The search engine beside pymoo's NSGA-II and random search, on tasks with known fronts.

python -m benchmarks.search --plot=benchmarks/search.png
"""

import dataclasses
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from absl import app, flags
from matplotlib.figure import Figure
from numpy.typing import NDArray

from benchmarks import record
from benchmarks.measure import machine
from benchmarks.search_peers import ABLATIONS, PEERS, POPULATION, Run, engine
from benchmarks.search_tasks import (
    TASKS,
    Task,
    additive,
    bounded_additive,
    bounded_pairs,
    dtlz2,
    non_dominated,
)
from benchmarks.style import SETTINGS
from scarlet_jax import cost, search
from scarlet_jax.search import nsga2
from scarlet_jax.space import S2, Array

FLAGS = flags.FLAGS
BUDGET = 20 * POPULATION
BUDGETS = range(POPULATION, BUDGET + 1, POPULATION)
SHOWN = (140, 350, 700, 1050, 1400)
ABLATED = (additive, dtlz2, bounded_additive, bounded_pairs)
STYLES: dict[str, dict[str, Any]] = {
    "ours": {"color": "#0072b2", "linestyle": "-"},
    "pymoo, choices": {"color": "#d55e00", "linestyle": "--"},
    "pymoo, integers": {"color": "#e69f00", "linestyle": "-."},
    "random": {"color": "#636b76", "linestyle": ":"},
}

Curves = NDArray[np.float64]  # [seeds, budgets], hypervolume as a share of the true front's


def curves(make: Callable[[int], Task], run: Run, seeds: int) -> Curves:
    """What a search reaches after every 70 evaluations; seeds draw task and search alike."""
    return np.array([_curve(task := make(seed), run(task, seed, BUDGET)) for seed in range(seeds)])


def least_ratio(ours: Curves, other: Curves) -> float:
    """The least ratio of the medians over all budgets; both at 0 count as equal."""
    one, two = np.median(ours, axis=0), np.median(other, axis=0)
    return float(np.min(np.where(two > 0, one / np.where(two > 0, two, 1), 1.0)))


def compare(seeds: int) -> dict[str, dict[str, Curves]]:
    """Every peer on every task, printed as a table."""
    print(f"| task | search | {' | '.join(map(str, SHOWN))} | least ratio |")
    print("| --- " * (len(SHOWN) + 3) + "|")
    results: dict[str, dict[str, Curves]] = {}
    for make in TASKS.values():
        name = make(0).name
        results[name] = {peer: curves(make, run, seeds) for peer, run in PEERS.items()}
        for peer, values in results[name].items():
            ratio = "" if peer == "ours" else f"{least_ratio(results[name]['ours'], values):.2f}"
            print(f"| {name} | {peer} | {_row(values)} | {ratio} |", flush=True)
    return results


def ablate(seeds: int) -> None:
    """The engine without each kind of variation, printed as a table.

    Where bounds hide the true front, what all the kinds together have found stands for it.
    """
    print(f"\n| task | variation | {' | '.join(map(str, SHOWN))} |")
    print("| --- " * (len(SHOWN) + 2) + "|")
    for make in ABLATED:
        reached: dict[str, list[Curves]] = {kind: [] for kind in ABLATIONS}
        for seed in range(seeds):
            task = make(seed)
            found = {k: engine(task, seed, BUDGET, **how) for k, how in ABLATIONS.items()}
            if task.bounds:
                front = non_dominated(task.values(np.concatenate(list(found.values()))))
                task = dataclasses.replace(task, front=front)
            for kind, evaluated in found.items():
                reached[kind].append(_curve(task, evaluated))
        for kind, rows in reached.items():
            print(f"| {task.name} | {kind} | {_row(np.array(rows))} |", flush=True)


def time_sorting(size: int = 2000, objectives: int = 3) -> dict[str, list[float]]:
    """Milliseconds of sorting without and with crowding, ours and pymoo's, in turns."""
    from pymoo.operators.survival.rank_and_crowding.metrics import get_crowding_function
    from pymoo.util.nds.non_dominated_sorting import NonDominatedSorting

    values = np.random.default_rng(0).random((size, objectives))
    sides: dict[str, tuple[Callable[[], Any], ...]] = {
        "ranks": (
            lambda: nsga2.non_dominated_rank(values),
            lambda: NonDominatedSorting().do(values, return_rank=True),
        ),
        "ranks and crowding": (
            lambda: nsga2.rank_and_crowding(values, np.ones(objectives)),
            lambda: [
                get_crowding_function("cd").do(values[front])
                for front in NonDominatedSorting().do(values)
            ],
        ),
    }
    print(f"\n| {size:,} points, {objectives} objectives | ours ms | pymoo ms | ratio |")
    print("| --- | --- | --- | --- |")
    found = {}
    for name, calls in sides.items():
        times = [[1e3 * _seconds(call) for call in calls] for _ in range(51)]
        found[name] = ours, peer = np.median(times, axis=0).tolist()
        print(f"| {name} | {ours:.2f} | {peer:.2f} | {peer / ours:.2f} |")
    return found


def time_bookkeeping(population: int = 10_000, generations: int = 5) -> list[float]:
    """Seconds of `ask` and `tell` of each generation, with architectures of S2."""
    task, macs = additive(0), cost.tables(S2).macs
    objectives = (
        search.Objective("score", "min", 0.5),
        search.Objective("macs", "min", 0.5, compute=macs),
    )
    settings = {"population": population, "generations": generations}
    problem = search.make_problem(S2.allowed, objectives, settings)
    state = search.init(problem, 0)
    spent = []
    while not search.is_finished(problem, state):
        begin = time.perf_counter()
        batch = search.ask(problem, state)
        asked = time.perf_counter()
        scores = task.score(batch.architectures)
        scored = time.perf_counter()
        state = search.tell(problem, state, batch, scores)
        spent.append(asked - begin + time.perf_counter() - scored)
    print(
        f"\nbookkeeping of {population:,} architectures a generation: "
        f"{np.median(spent[1:]):.2f} s in the median of {generations}, {max(spent[1:]):.2f} at most"
    )
    return spent[1:]


def plot(results: Mapping[str, Mapping[str, Curves]], seeds: int, path: Path) -> None:
    """Medians over the seeds, with the middle half shaded."""
    with matplotlib.rc_context(SETTINGS):
        figure = Figure(figsize=(9.6, 5.8), layout="constrained")
        grid = figure.subplots(2, 3, sharex=True).ravel()
        for axes, (name, peers) in zip(grid, results.items(), strict=True):
            for peer, values in peers.items():
                low, middle, high = np.quantile(values, (0.25, 0.5, 0.75), axis=0)
                axes.plot(BUDGETS, middle, label=peer, linewidth=1.6, **STYLES[peer])
                axes.fill_between(BUDGETS, low, high, color=STYLES[peer]["color"], alpha=0.15)
            axes.set_title(name, loc="left", fontsize=9.5)
            axes.set_ylim(0, 1.02)
        for axes in grid[3:]:
            axes.set_xlabel("evaluations")
        for axes in grid[::3]:
            axes.set_ylabel("share of the true hypervolume")
        handles, labels = grid[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
        figure.suptitle(f"Median of {seeds} seeds; shaded: the middle half", fontsize=9)
        figure.savefig(path, dpi=150)


def _curve(task: Task, evaluated: Array) -> Curves:
    return np.array([task.reached(evaluated[:budget]) for budget in BUDGETS])


def _row(values: Curves) -> str:
    middle = np.median(values, axis=0)
    return " | ".join(f"{100 * middle[BUDGETS.index(budget)]:.1f}" for budget in SHOWN)


def _seconds(call: Callable[[], Any]) -> float:
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


def main(argv: list[str]) -> None:
    if argv[1:]:
        sys.exit(f"unexpected argument {argv[1]!r}; flags start with --")
    about = ", ".join(value for name, value in machine().items() if name != "torch")
    print(f"{about}; share of the true hypervolume in %, median of {FLAGS.seeds} seeds\n")
    results = compare(FLAGS.seeds)
    ablate(FLAGS.seeds)
    found = {
        "seeds": FLAGS.seeds,
        "evaluations": BUDGET,
        "reached": {
            task: {peer: float(np.median(values[:, -1])) for peer, values in peers.items()}
            for task, peers in results.items()
        },
        "sorting": time_sorting(),
        "bookkeeping": time_bookkeeping(),
    }
    if not FLAGS["seeds"].present:
        record.write("search", "python -m benchmarks.search", found)
    if FLAGS.plot:
        plot(results, FLAGS.seeds, Path(FLAGS.plot))
        print(f"\nplot: {FLAGS.plot}")


if __name__ == "__main__":
    flags.DEFINE_integer("seeds", 10, "Runs of every search; not recorded if given.", lower_bound=1)
    flags.DEFINE_string("plot", "", "Where the figure goes; none if empty.")
    app.run(main)
