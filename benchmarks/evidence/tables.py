"""Tables of what was measured, out of the JSON in `benchmarks/results/`, by lines."""

from collections.abc import Iterator
from itertools import combinations

import numpy as np

from benchmarks.intervals import Interval, difference, interval, with_width
from benchmarks.nas_bench_macro.ranking import Values
from benchmarks.nas_bench_macro.recipes import run_key
from benchmarks.record import Found

OURS = "ours"
BASE = "base"
SUPERNET = "supernet's score"
PAIRED = ("els", "none")
RESHAPED = "similarity of identity and blocks where width or stride change"
UNCHANGED = "similarity elsewhere"


def search_tables(found: Found) -> Iterator[str]:
    """Of what `nas_bench_macro --search` has found, in pieces."""
    for measure in ("share of the front", "above the median", "hypervolume", "regret"):
        yield f"\n| {measure} | {' | '.join(map(str, found['budgets']))} |\n"
        yield "| --- " * (len(found["budgets"]) + 1) + "|\n"
        for name in found["searches"]:
            cells = [interval(column) for column in search_values(found, name, measure).T]
            digits = 2 if measure == "regret" else 1
            yield f"| {name} | {' | '.join(with_width(cell, digits) for cell in cells)} |\n"
        leads = (f"**{with_width(lead, digits, '+')}**" for lead in _leads(found, measure))
        yield f"| **ours less the best of the others** | {' | '.join(leads)} |\n"


def search_values(found: Found, name: str, measure: str) -> Values:
    """`[seeds, budgets]`, in percent."""
    values = np.array(found["searches"][name])[:, :, found["measures"].index(measure)]
    return values if measure == "regret" else 100 * values


def _leads(found: Found, measure: str) -> Iterator[Interval]:
    """By budget, how far ours is ahead of the best peer there."""
    for number in range(len(found["budgets"])):
        own = search_values(found, OURS, measure)[:, number]
        yield difference(own, best_peer(found, measure, number))


def best_peer(found: Found, measure: str, number: int) -> Values:
    """What the peer with the best mean at a budget has there, by seed."""
    peers = [
        search_values(found, name, measure)[:, number]
        for name in found["searches"]
        if not name.startswith(OURS)
    ]
    choose = min if measure == "regret" else max
    return choose(peers, key=np.mean)


def ranking_table(found: Found) -> Iterator[str]:
    """Of how `nas_bench_macro --score` has found that all networks are ranked, by lines."""
    names = ("tau", "spearman", "tau_top", "spearman_top")
    yield "| ranked by | seeds | tau | rho | tau, better half | rho, better half |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for name, own in found["baselines"]["all"].items():
        yield f"| {name} | | {' | '.join(f'{own[key]:.3f}' for key in names)} |"
    for name, recipe in found["recipes"].items():
        seeds = [run["all"] for run in recipe["runs"] if "all" in run]
        if seeds:
            cells = (with_width(interval([own[key] for own in seeds])) for key in names)
            yield f"| supernet, {name} | {len(seeds)} | {' | '.join(cells)} |"


def changes_table(found: Found) -> Iterator[str]:
    """Of how every recipe ranks the sample of networks, by lines."""
    yield (
        "| recipe | changed | runs | tau | tau, better half | pairs | tau less base's "
        "| better half less base's |"
    )
    yield "| --- | --- | --- | --- | --- | --- | --- | --- |"
    for name, recipe in found["recipes"].items():
        measures = ("tau", "tau_top")
        own = [with_width(interval(sampled(found, name, measure))) for measure in measures]
        changes = [changes_of(found, name, measure) for measure in measures]
        if name == BASE or not changes[0]:
            others = ["", "", ""]
        else:
            others = [str(len(changes[0])), *(with_width(interval(c), sign="+") for c in changes)]
        cells = [name, changed_settings(found, name), str(len(recipe["runs"])), *own, *others]
        yield f"| {' | '.join(cells)} |"


def changed_settings(found: Found, name: str) -> str:
    """What a recipe changes of `base`."""
    settings = found["recipes"][name]["settings"]
    return ", ".join(f"`{key}={value}`" for key, value in settings.items())


def changes_of(found: Found, name: str, measure: str) -> list[float]:
    """How far a recipe is ahead of `base`, on the sample, by seed and processor that both have."""
    own, base = (_by_seed(found, recipe, measure) for recipe in (name, BASE))
    return [own[key] - base[key] for key in own if key in base]


def _by_seed(found: Found, name: str, measure: str) -> dict[tuple[int, str], float]:
    """The mean of a recipe's runs of one seed and processor."""
    runs: dict[tuple[int, str], list[float]] = {}
    for run in found["recipes"][name]["runs"]:
        runs.setdefault((run["seed"], run["processor"]), []).append(run["sample"][measure])
    return {key: float(np.mean(values)) for key, values in runs.items()}


def sampled(found: Found, name: str, measure: str) -> list[float]:
    """What a recipe's supernets make of the sample of networks, by run."""
    return [run["sample"][measure] for run in found["recipes"][name]["runs"]]


def supernets(found: Found) -> Iterator[Found]:
    """Of every recipe and seed."""
    return (run for recipe in found["recipes"].values() for run in recipe["runs"])


def precision_table(found: Found) -> Iterator[str]:
    """Means over the seeds, by lines."""
    about, values = found["precision"], np.array(measured_precision(found))
    yield f"| statistics | {' | '.join(f'{count:,} images' for count in about['images'])} |"
    yield "| --- " * (len(about["images"]) + 1) + "|"
    for (kind, batches), rows in zip(about["statistics"], values.swapaxes(0, 1), strict=True):
        name = f"recalibrated on {batches}" if kind == "recalibrated" else kind
        yield f"| {name} | {' | '.join(with_width(interval(column)) for column in rows.T)} |"


def measured_precision(found: Found) -> list[Values]:
    """Tau by statistics and images, `[statistics, counts]` of each seed that has it."""
    runs = found["recipes"][BASE]["runs"]
    return [np.array(run["precision"]) for run in runs if "precision" in run]


def found_table(found: Found) -> Iterator[str]:
    """What searches by a score take for the best within so many MACs, by lines."""
    budgets = found["budgets"]
    yield (
        f"| searched by | seeds | {' | '.join(f'{most} M' for most in budgets)} "
        "| hypervolume | above the median |"
    )
    yield "| --- " * (len(budgets) + 4) + "|"
    for name, runs in searches(found).items():
        fronts = [run["reached"] for run in runs]
        columns = [
            *([within(run, most) for run in runs] for most in budgets),
            [100 * front["hypervolume"] for front in fronts],
            [100 * front["above the median"] for front in fronts],
        ]
        cells = " | ".join(with_width(interval(column), 1) for column in columns)
        yield f"| {name} | {len(runs)} | {cells} |"
    drawn = " | ".join(f"{accuracy:.1f}" for accuracy in found["drawn"])
    yield f"| mean of the networks there | | {drawn} | | |"
    best = " | ".join(f"{best_within(found, most):.1f}" for most in budgets)
    yield f"| the best there | | {best} | 100.0 | 100.0 |"


def within(run: Found, most: float) -> float:
    """Published accuracy of what a search scores best within so many million MACs, or the mean of
    equals."""
    allowed = [(score, accuracy) for macs, score, accuracy in run["front"] if macs <= 1e6 * most]
    best = max(score for score, _ in allowed)
    return float(np.mean([*{accuracy for score, accuracy in allowed if score == best}]))


def mean_within(runs: list[Found], most: float) -> float:
    """Of several searches."""
    return float(np.mean([within(run, most) for run in runs]))


def best_within(found: Found, most: float) -> float:
    """The best published accuracy within so many million MACs."""
    return float(max(accuracy for macs, accuracy in found["front"] if macs <= 1e6 * most))


def searches(found: Found) -> dict[str, list[Found]]:
    """What was found in every seed, by what was searched by."""
    runs = found["recipes"][BASE]["runs"]
    return {
        SUPERNET: [run["found"] for run in runs if "found" in run],
        **{name: [run] for name, run in found["found by"].items()},
    }


def retrained_table(found: Found) -> Iterator[str]:
    """Of what `nas_bench_macro --retrain` has trained, by lines; seeds are paired."""
    yield "| | million MACs | test accuracy | random, million MACs | test accuracy | difference |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for name in picked(found):
        cells = [
            cell
            for each in (name, equal_of(name))
            for cell in (
                f"{values(found, each, 'macs').mean() / 1e6:.2f}",
                with_width(interval(values(found, each)), 2),
            )
        ]
        gain = with_width(interval(_gain(found, name)), 2, "+")
        yield f"| {name} | {' | '.join(cells)} | {gain} |"
    yield f"| mean | | | | | {with_width(mean_gain(found), 2, '+')} |"
    largest = with_width(interval(values(found, "largest")), 2)
    yield f"| largest | {values(found, 'largest', 'macs')[0] / 1e6:.2f} | {largest} | | | |"


def count_seeds(found: Found) -> int:
    """Of the networks that are trained alone."""
    return len({run["seed"] for run in found["runs"]})


def picked(found: Found) -> list[str]:
    return sorted({run["name"] for run in found["runs"] if run["name"].startswith("picked")})


def equal_of(name: str) -> str:
    """The random network of a pick's MACs."""
    return name.replace("picked", "random")


def mean_gain(found: Found) -> Interval:
    """Percent of test accuracy that picks are better by than their equals; over the seeds."""
    return interval(np.mean([_gain(found, name) for name in picked(found)], axis=0))


def _gain(found: Found, name: str) -> Values:
    return values(found, name) - values(found, equal_of(name))


def values(found: Found, name: str, what: str = "accuracy") -> Values:
    """Accuracy in percent, or MACs, of what has a name in every seed."""
    runs = [run for run in found["runs"] if run["name"] == name]
    own = np.array([run[what] for run in sorted(runs, key=lambda run: run["seed"])])
    return 100 * own if what == "accuracy" else own


def stabilizer_table(found: Found) -> Iterator[str]:
    """Means over the seeds with and without, and of their differences, by lines."""
    yield f"| | {' | '.join(PAIRED)} | difference |"
    yield "| --- | --- | --- | --- |"
    for measure, (own, other) in stabilizer_measures(found).items():
        cells = " | ".join(with_width(interval(sample)) for sample in (own, other))
        yield f"| {measure} | {cells} | **{with_width(interval(own - other), sign='+')}** |"


def stabilizer_measures(found: Found) -> dict[str, tuple[Values, Values]]:
    """What is compared, of every paired seed with stabilizers and without."""
    with_, without = ([_measures(found, run) for run in runs] for runs in paired(found).values())
    return {
        name: (np.array([run[name] for run in with_]), np.array([run[name] for run in without]))
        for name in with_[0]
    }


def paired(found: Found) -> dict[str, list[Found]]:
    """The supernets of both recipes of stabilizers by what tells runs apart, where both have it.

    Nothing if there are not two.
    """
    by_key = {
        name: {run_key(run): run for run in found["recipes"].get(name, {"runs": []})["runs"]}
        for name in PAIRED
    }
    keys = [key for key in by_key[PAIRED[0]] if key in by_key[PAIRED[1]]]
    if len(keys) < 2:
        return {}
    return {name: [runs[key] for key in keys] for name, runs in by_key.items()}


def similarity_to_skip(found: Found, run: Found) -> Values:
    """Of an identity's feature maps and the other choices', by layer, their mean."""
    pairs = combinations(found["choices"], 2)
    skips = [number for number, pair in enumerate(pairs) if "identity" in pair]
    return np.array(run["similarity"])[:, skips].mean(axis=1)


def _measures(found: Found, run: Found) -> dict[str, float]:
    """What is compared of one supernet."""
    similarity, loss = similarity_to_skip(found, run), np.array(run["loss"])[:, 1]
    late, reshapes = loss[-len(loss) // 3 :], np.array(found["reshapes"])
    return {
        RESHAPED: float(similarity[reshapes].mean()),
        UNCHANGED: float(similarity[~reshapes].mean()),
        "loss": float(late.mean()),
        "spread of the loss": float(np.diff(late).std() / 2**0.5),
        "mean score": run["mean score"],
        "tau": run["sample"]["tau"],
        "tau, better half": run["sample"]["tau_top"],
    }
