"""The page of evidence, out of `benchmarks/results/`: docs/evidence.md and its picture.

python -m benchmarks.evidence
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import combinations
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from benchmarks.nas_bench_macro.ranking import interval, with_width
from benchmarks.plot import SETTINGS

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PAGE = ROOT / "docs" / "evidence.md"
PICTURES = ("evidence_search.svg", "evidence_stabilizers.svg")  # beside the page
OURS = "ours"
Values = NDArray[np.float64]
DRAWN = ("share of the front", "above the median")
# Okabe and Ito's colours, and a line for each: colour is never the only cue.
STYLES: Mapping[str, Mapping[str, Any]] = {
    OURS: {"color": "#0072b2", "linestyle": "-", "linewidth": 2.2},
    "Pareto local search, from 10": {"color": "#009e73", "linestyle": "-"},
    "pymoo, integers, 20": {"color": "#d55e00", "linestyle": "--"},
    "pymoo, integers, 70": {"color": "#e69f00", "linestyle": "-."},
    "aging evolution, 20, samples of 5": {"color": "#cc79a7", "linestyle": "--"},
    "random": {"color": "#636b76", "linestyle": ":"},
}
HEAD = """# Evidence
Written by `python -m benchmarks.evidence` from the JSON in `benchmarks/results/`, which has every
number, with the command, machine and commit that gave it. ± is half of a 95% interval of the mean
by Student's t, over seeds.

NAS-Bench-Macro (Su et al., CVPR 2021, arXiv 2103.11922) has 8 layers of three choices: identity,
E3K3 and E6K5, on CIFAR-10. Its authors published three test accuracies of each of its 3,969
distinct networks, trained alone; their table is not part of this repository. Encodings that differ
only in where an identity stands among a stage's equal layers are one network.
"""
SEARCH = """
## Does the search find the best networks?
The published mean accuracy stands for the supernet's score, so that only the search is judged: MACs
against accuracy, {seeds} seeds, with the settings that every space has by default. A network costs
one evaluation, however many encodings of it a search asks for. pymoo's NSGA-II has uniform
crossover and mutation over unordered choices ("choices") or rounded SBX and polynomials
("integers"), with populations of 20 and 70; local search explores all neighbours of what is on its
front, from 10 random networks; aging evolution takes the best of 5 out of 20 as parent.

- *Share of the front*: so many percent of the true Pareto front's 35 networks were evaluated.
- *Hypervolume*: in percent of the true front's, in the box from the front's best values to the
  worst of all networks; *above the median*: to the median accuracy.
- *Regret*: percent of accuracy that the best network found lacks.

"Ours, no ..." is the search without a kind of variation; the others keep their proportions. "Ours
less the best" pairs seeds with whichever peer has the best mean at that budget.
"""
RANKING = """
## Does the supernet rank networks?
Supernets of this space at a quarter of its widths, a sixteenth of the MACs, trained on 45,000
images of CIFAR-10 and scored on the 5,000 that were held out, statistics recalibrated on 2,000
training images. Kendall's tau-b and Spearman's rho with the published mean accuracy, of all 3,969
networks and of the better half.
"""
SAMPLED = """
On a sample of 1,000 networks, the same for all, with one change at a time:
"""
STABILIZERS = """
## Do stabilizers help?
SCARLET's claim: a skip upsets the training of a supernet, as its feature maps are unlike those of
the layer's other choices; a linear 1x1 convolution in its place (ELS) makes them alike, so that
training is stable and scores are better. Recipes `els` and `none` differ in nothing else; seeds
are paired.

- *Similarity*: cosine of the angle between the feature maps after a layer by two of its choices,
  in the mean over the layers, 8 random paths and 100 held-out images, with the statistics of the
  batch.
- *Loss*: in the mean over the last third of the training; its *spread*, the standard deviation of
  the change from one record of 50 steps to the next, over the square root of two.
- *Mean score* and tau are those of the sample of networks.
"""
PRECISION = """
## How many images does a score take?
Tau of {networks} networks of the sample by what their scores rest on: so many held-out images, and
statistics of batch norm that are the training's running ones, those of the scored batch (of 500),
or recalibrated for each network on so many batches of 500 training images. Recipe `base`,
{seeds} seeds.
"""
PAIRED = ("els", "none")
CHOICES = ("identity", "E3K3", "E6K5")
PAIRS = tuple(combinations(CHOICES, 2))


def page(results: Path) -> str:
    """The text, of what is in a folder of results."""
    found = json.loads((results / "nas_bench_macro_search.json").read_text())
    text = HEAD + SEARCH.format(seeds=len(found["searches"][OURS]))
    text += f"\n![Curves over evaluated networks]({PICTURES[0]})\n\n{_source(found)}\n"
    text += "".join(search_tables(found))
    ranking = json.loads((results / "nas_bench_macro_ranking.json").read_text())
    text += f"{RANKING}\n{_source(ranking)}\n\n{_lines(ranking_table(ranking, 'all'))}"
    text += f"{SAMPLED}\n{_lines(ranking_table(ranking, 'sample'))}"
    if runs := _measured(ranking):
        about = PRECISION.format(networks=ranking["precision"]["networks"], seeds=len(runs))
        text += f"{about}\n{_lines(precision_table(ranking))}"
    if seeds := paired_seeds(ranking):
        text += f"{STABILIZERS}\n![Similarity by layer, and loss]({PICTURES[1]})\n\n"
        text += f"{len(seeds)} seeds.\n\n{_lines(stabilizer_table(ranking))}"
    return text


def _measured(found: Mapping[str, Any]) -> list[Values]:
    """Tau by statistics and images, `[statistics, counts]` of each seed that has it."""
    runs = found["recipes"]["base"]["seeds"].values()
    return [np.array(run["precision"]) for run in runs if "precision" in run]


def precision_table(found: Mapping[str, Any]) -> Iterator[str]:
    """Means over the seeds, by lines."""
    about, values = found["precision"], np.array(_measured(found))
    yield f"| statistics | {' | '.join(f'{count:,} images' for count in about['images'])} |"
    yield "| --- " * (len(about["images"]) + 1) + "|"
    for (kind, batches), rows in zip(about["statistics"], values.swapaxes(0, 1), strict=True):
        name = f"recalibrated on {batches}" if kind == "recalibrated" else kind
        yield f"| {name} | {' | '.join(with_width(*interval(column)) for column in rows.T)} |"


def draw_stabilizers(results: Path) -> Figure | None:
    """Similarity of an identity to the other choices by layer, and loss; seeds as bands."""
    found = json.loads((results / "nas_bench_macro_ranking.json").read_text())
    seeds = paired_seeds(found)
    if not seeds:
        return None
    with matplotlib.rc_context(SETTINGS):
        figure = Figure(figsize=(9.0, 3.4), layout="constrained")
        left, right = figure.subplots(1, 2)
        for name, color in zip(PAIRED, ("#0072b2", "#d55e00"), strict=True):
            own = [found["recipes"][name]["seeds"][seed] for seed in seeds]
            skips = [number for number, pair in enumerate(PAIRS) if CHOICES[0] in pair]
            similarity = np.array([run["similarity"] for run in own])[:, :, skips].mean(axis=2)
            layers = np.arange(1, similarity.shape[1] + 1)
            _band(left, layers, similarity, name, color)
            losses = np.array([run["loss"] for run in own])  # [seeds, records, 2]
            _band(right, losses[0, :, 0], losses[:, :, 1], name, color)
        left.set_xlabel("layer")
        left.set_title("cosine similarity of identity and blocks", loc="left", fontsize=9.5)
        right.set_xlabel("step")
        right.set_title("training loss", loc="left", fontsize=9.5)
        left.legend(frameon=False)
    return figure


def _band(axes: Axes, x: Values, values: Values, name: str, color: str) -> None:
    """The mean over the first axis, and from its least to its most."""
    style = {"els": "-", "none": "--"}[name]
    axes.plot(x, values.mean(axis=0), style, color=color, label=name)
    axes.fill_between(x, values.min(axis=0), values.max(axis=0), color=color, alpha=0.15)


def paired_seeds(found: Mapping[str, Any]) -> list[str]:
    """The seeds that both recipes of stabilizers have; none if there are not two."""
    runs = [found["recipes"].get(name, {"seeds": {}})["seeds"] for name in PAIRED]
    seeds = [seed for seed in runs[0] if seed in runs[1]]
    return seeds if len(seeds) > 1 else []


def stabilizer_table(found: Mapping[str, Any]) -> Iterator[str]:
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


def _lines(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def draw_search(results: Path) -> Figure:
    """Means over the seeds with their intervals, against networks evaluated."""
    found = json.loads((results / "nas_bench_macro_search.json").read_text())
    with matplotlib.rc_context(SETTINGS):
        figure = Figure(figsize=(9.0, 3.6), layout="constrained")
        for axes, measure in zip(figure.subplots(1, 2), DRAWN, strict=True):
            for name, style in STYLES.items():
                cells = [interval(column) for column in _values(found, name, measure).T]
                mean, width = np.array(cells).T
                axes.plot(found["budgets"], mean, label=name, **style)
                axes.fill_between(
                    found["budgets"], mean - width, mean + width, color=style["color"], alpha=0.15
                )
            axes.set_xscale("log")
            axes.set_xticks(found["budgets"], map(str, found["budgets"]))
            axes.minorticks_off()
            axes.set_xlabel("networks evaluated")
            axes.set_title(f"{measure}, %", loc="left", fontsize=9.5)
        handles, labels = axes.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
    return figure


def _source(found: Mapping[str, Any]) -> str:
    machine = ", ".join(found["machine"][key] for key in ("processor", "cores", "python", "jax"))
    return f"`{found['command']}`, {machine}, commit {found['commit']}."


def _values(found: Mapping[str, Any], name: str, measure: str) -> NDArray[np.float64]:
    """`[seeds, budgets]`, in percent."""
    values = np.array(found["searches"][name])[:, :, found["measures"].index(measure)]
    return values if measure == "regret" else 100 * values


def search_tables(found: Mapping[str, Any]) -> Iterator[str]:
    """Of what `nas_bench_macro --search` has found, in pieces."""
    for measure in ("share of the front", "above the median", "hypervolume", "regret"):
        yield f"\n| {measure} | {' | '.join(map(str, found['budgets']))} |\n"
        yield "| --- " * (len(found["budgets"]) + 1) + "|\n"
        for name in found["searches"]:
            cells = [interval(column) for column in _values(found, name, measure).T]
            digits = 2 if measure == "regret" else 1
            row = " | ".join(f"{mean:.{digits}f} ± {width:.{digits}f}" for mean, width in cells)
            yield f"| {name} | {row} |\n"
        yield f"| **ours less the best of the others** | {' | '.join(_leads(found, measure))} |\n"


def _leads(found: Mapping[str, Any], measure: str) -> Iterator[str]:
    """By budget, how far ours is ahead of whichever peer is the best there, seeds paired."""
    peers = [name for name in found["searches"] if not name.startswith(OURS)]
    digits = 2 if measure == "regret" else 1
    for number in range(len(found["budgets"])):
        own = _values(found, OURS, measure)[:, number]
        others = [_values(found, name, measure)[:, number] for name in peers]
        choose = min if measure == "regret" else max
        mean, width = interval(own - choose(others, key=np.mean))
        yield f"**{mean:+.{digits}f} ± {width:.{digits}f}**"


def ranking_table(found: Mapping[str, Any], networks: str) -> Iterator[str]:
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


def main() -> None:
    PAGE.write_text(page(RESULTS))
    with matplotlib.rc_context({"svg.hashsalt": "scarlet"}):  # the same bytes every time
        for name, draw in zip(PICTURES, (draw_search, draw_stabilizers), strict=True):
            if (figure := draw(RESULTS)) is not None:
                figure.savefig(PAGE.parent / name, metadata={"Date": None})
    print(PAGE)


if __name__ == "__main__":
    main()
