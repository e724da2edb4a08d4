"""Tables of what was measured, out of the JSON in `benchmarks/results/`, by lines."""

from collections.abc import Iterator, Mapping
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.nas_bench_macro.ranking import interval, with_width

Values = NDArray[np.float64]
Found = Mapping[str, Any]

OURS = "ours"
PAIRED = ("els", "none")
CHOICES = ("identity", "E3K3", "E6K5")
PAIRS = tuple(combinations(CHOICES, 2))


def search_tables(found: Found) -> Iterator[str]:
    """Of what `nas_bench_macro --search` has found, in pieces."""
    for measure in ("share of the front", "above the median", "hypervolume", "regret"):
        yield f"\n| {measure} | {' | '.join(map(str, found['budgets']))} |\n"
        yield "| --- " * (len(found["budgets"]) + 1) + "|\n"
        for name in found["searches"]:
            cells = [interval(column) for column in search_values(found, name, measure).T]
            digits = 2 if measure == "regret" else 1
            row = " | ".join(f"{mean:.{digits}f} ± {width:.{digits}f}" for mean, width in cells)
            yield f"| {name} | {row} |\n"
        yield f"| **ours less the best of the others** | {' | '.join(_leads(found, measure))} |\n"


def search_values(found: Found, name: str, measure: str) -> NDArray[np.float64]:
    """`[seeds, budgets]`, in percent."""
    values = np.array(found["searches"][name])[:, :, found["measures"].index(measure)]
    return values if measure == "regret" else 100 * values


def _leads(found: Found, measure: str) -> Iterator[str]:
    """By budget, how far ours is ahead of whichever peer is the best there, seeds paired."""
    peers = [name for name in found["searches"] if not name.startswith(OURS)]
    digits = 2 if measure == "regret" else 1
    for number in range(len(found["budgets"])):
        own = search_values(found, OURS, measure)[:, number]
        others = [search_values(found, name, measure)[:, number] for name in peers]
        choose = min if measure == "regret" else max
        mean, width = interval(own - choose(others, key=np.mean))
        yield f"**{mean:+.{digits}f} ± {width:.{digits}f}**"


def ranking_table(found: Found, networks: str) -> Iterator[str]:
    """Of what `nas_bench_macro --score` has found of "all" networks or the "sample", by lines."""
    names = ("tau", "spearman", "tau_top", "spearman_top")
    yield "| ranked by | changed | seeds | tau | rho | tau, better half | rho, better half |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    for name, own in found["baselines"][networks].items():
        yield f"| {name} | | | {' | '.join(f'{own[key]:.3f}' for key in names)} |"
    for name, recipe in found["recipes"].items():
        seeds = [run[networks] for run in recipe["seeds"].values() if networks in run]
        if not seeds:
            continue
        cells = [interval([own[key] for own in seeds]) for key in names]
        row = " | ".join(with_width(*cell) for cell in cells)
        changed = ", ".join(f"`{key}={value}`" for key, value in recipe["settings"].items())
        yield f"| supernet, {name} | {changed} | {len(seeds)} | {row} |"


def precision_table(found: Found) -> Iterator[str]:
    """Means over the seeds, by lines."""
    about, values = found["precision"], np.array(measured_precision(found))
    yield f"| statistics | {' | '.join(f'{count:,} images' for count in about['images'])} |"
    yield "| --- " * (len(about["images"]) + 1) + "|"
    for (kind, batches), rows in zip(about["statistics"], values.swapaxes(0, 1), strict=True):
        name = f"recalibrated on {batches}" if kind == "recalibrated" else kind
        yield f"| {name} | {' | '.join(with_width(*interval(column)) for column in rows.T)} |"


def measured_precision(found: Found) -> list[Values]:
    """Tau by statistics and images, `[statistics, counts]` of each seed that has it."""
    runs = found["recipes"]["base"]["seeds"].values()
    return [np.array(run["precision"]) for run in runs if "precision" in run]


def picks_table(found: Found) -> Iterator[str]:
    """Means over the picks, with intervals over the seeds, by lines."""
    yield (
        "| searched by | seeds | accuracy less the mean of equals | equals beaten | "
        "hypervolume | above the median |"
    )
    yield "| --- | --- | --- | --- | --- | --- |"
    for name, runs in searches(found).items():
        picks = [picks_with_equals(run) for run in runs]
        fronts = [run["front"] for run in runs]
        columns = (
            [np.mean([pick["accuracy"] - pick["mean"] for pick in own]) for own in picks],
            [np.mean([100 * pick["beaten"] for pick in own]) for own in picks],
            [100 * front["hypervolume"] for front in fronts],
            [100 * front["above the median"] for front in fronts],
        )
        cells = " | ".join(with_width(*interval(column), 1) for column in columns)
        yield f"| {name} | {len(runs)} | {cells} |"


def searches(found: Found) -> dict[str, list[Found]]:
    """What was found in every seed, by what was searched by."""
    runs = found["recipes"]["base"]["seeds"].values()
    return {
        "supernet's score": [run["found"] for run in runs if "found" in run],
        "layers that are no identity": list(found["found by depth"].values()),
    }


def picks_with_equals(run: Found) -> list[Found]:
    """The picks of a search that have equals to be held against."""
    return [pick for pick in run["picks"] if pick["equals"] > 1]


def retrained_table(found: Found) -> Iterator[str]:
    """Of what `nas_bench_macro --retrain` has trained, by lines; seeds are paired."""
    macs = {run["name"]: run["macs"] for run in found["runs"]}
    yield "| | million MACs | test accuracy | random, million MACs | test accuracy | difference |"
    yield "| --- | --- | --- | --- | --- | --- |"
    gaps = []
    for name in sorted(name for name in macs if name.startswith("picked")):
        other = name.replace("picked", "random")
        own, theirs = (accuracies(found, each) for each in (name, other))
        gaps.append(own - theirs)
        cells = [
            *(f"{macs[name] / 1e6:.2f}", with_width(*interval(own), 2)),
            *(f"{macs[other] / 1e6:.2f}", with_width(*interval(theirs), 2)),
            with_width(*interval(own - theirs), 2),
        ]
        yield f"| {name} | {' | '.join(cells)} |"
    yield f"| mean | | | | | {with_width(*interval(np.mean(gaps, axis=0)), 2)} |"
    largest = with_width(*interval(accuracies(found, "largest")), 2)
    yield f"| largest | {macs['largest'] / 1e6:.2f} | {largest} | | | |"


def accuracies(found: Found, name: str) -> Values:
    """Of a network in every seed, in percent."""
    runs = [run for run in found["runs"] if run["name"] == name]
    return np.array([100 * r["accuracy"] for r in sorted(runs, key=lambda run: run["seed"])])


def stabilizer_table(found: Found) -> Iterator[str]:
    """Means over the seeds with and without, and of their differences, by lines."""
    seeds = paired_seeds(found)
    measured = [
        [_measures(found["recipes"][name]["seeds"][seed]) for seed in seeds] for name in PAIRED
    ]
    yield f"| | {' | '.join(PAIRED)} | difference |"
    yield "| --- | --- | --- | --- |"
    for measure in measured[0][0]:
        own, other = (np.array([run[measure] for run in runs]) for runs in measured)
        mean, width = interval(own - other)
        cells = [with_width(*interval(values)) for values in (own, other)]
        yield f"| {measure} | {' | '.join(cells)} | **{mean:+.3f} ± {width:.3f}** |"


def paired_seeds(found: Found) -> list[str]:
    """The seeds that both recipes of stabilizers have; none if there are not two."""
    runs = [found["recipes"].get(name, {"seeds": {}})["seeds"] for name in PAIRED]
    seeds = [seed for seed in runs[0] if seed in runs[1]]
    return seeds if len(seeds) > 1 else []


def _measures(run: Mapping[str, Any]) -> dict[str, float]:
    """What is compared of one supernet."""
    similarity, loss = np.array(run["similarity"]), np.array(run["loss"])[:, 1]
    late = loss[-len(loss) // 3 :]
    return {
        **{
            f"similarity of {one} and {other}": float(similarity[:, number].mean())
            for number, (one, other) in enumerate(PAIRS)
        },
        "loss": float(late.mean()),
        "spread of the loss": float(np.diff(late).std() / 2**0.5),
        "mean score": run["mean score"],
        "tau": run["sample"]["tau"],
        "tau, better half": run["sample"]["tau_top"],
    }
