"""What the page of evidence says."""

import textwrap
from collections.abc import Iterable

import numpy as np

from benchmarks.evidence import tables
from benchmarks.evidence.figures import LEAST
from benchmarks.evidence.tables import BASE, OURS, SUPERNET
from benchmarks.intervals import interval, with_width
from benchmarks.nas_bench_macro import similarity
from benchmarks.nas_bench_macro.ranking import DEPTH, PUBLISHED, SUM
from benchmarks.nas_bench_macro.retrained import EQUAL
from benchmarks.record import Found, source
from scarlet_jax.configs import nas_bench_macro

# Beside the page.
PICTURES = (
    "evidence_search.svg",
    "evidence_found.svg",
    "evidence_retrained.svg",
    "evidence_stabilizers.svg",
)
HEAD = """# Evidence
Written by `python -m benchmarks.evidence` from the JSON in `benchmarks/results/`, which has the
numbers of all tables, with the command, machine and commit that put them together. ± is half of a
95% interval of the mean over seeds, by Student's t; of differences between searches, by Welch's.

NAS-Bench-Macro (Su et al., CVPR 2021, arXiv 2103.11922) has 8 layers of three choices: 0 is an
identity (a 1x1 convolution where width or stride change), 1 and 2 are inverted bottlenecks of
expansion 3 and kernel 3 (E3K3) or expansion 6 and kernel 5 (E6K5). Its authors published three test
accuracies on CIFAR-10 of each of its {networks:,} distinct networks, trained alone; their table is
not part of this repository. Encodings that differ only in where an identity stands among a stage's
equal layers are one network.
"""
SEARCH = """
## Does the search find the best networks?
{answer}

The published mean accuracy stands for the supernet's score, so that only the search is judged: MACs
against accuracy, {seeds} seeds, with the settings that every space has by default. A network costs
one evaluation, however many encodings of it a search asks for. pymoo's NSGA-II has uniform
crossover and mutation over unordered choices ("choices") or rounded SBX and polynomials
("integers"), with populations of 20 and 70; local search explores all neighbours of what is on its
front, from 10 random networks; aging evolution takes the best of 5 out of 20 as parent. The sizes
are the best of a few that were tried for pymoo and local search. Each goes on until it has seen
{most:,} networks, for which some of pymoo's took up to 24,000 encodings.

**Not independent**: two settings of ours were chosen on this table, the size of the population in
so small a space, and how often neighbours of the front are evaluated. And ours begins with networks
spread evenly over the MACs, as it always does; the others begin with random ones.

- *Share of the front*: so many percent of the true Pareto front's {front} networks were evaluated.
- *Hypervolume*: in percent of the true front's; its reference point is the worst accuracy and MACs
  of all networks, or, *above the median*, the median accuracy and the worst MACs.
- *Regret*: percentage points of accuracy by which the best network found is below the best of all.

"Ours, no ..." is the search without one of its kinds of variation, which SCARLET's table 1 names;
the others keep their proportions. (Random mutants of the front still stand in, in turns, for
children that are known or out of bounds.) "Ours less the best" is the difference to whichever peer
has the best mean at that budget.
"""
RANKING = """
## Does the supernet rank networks?
{answer}

Supernets of this space are trained on 90% of CIFAR-10's training images, and scored on the rest,
which a seed draws, with statistics of batch norm recalibrated for each network on {calibration:,}
training images. Recipe `base`, for a CPU core, has {width:g} of the widths, {steps:,} steps of
{batch} images with every choice of every layer once (strict fairness), and skips that are the
published identities: some 18 minutes of training, and 25 to score all networks, on an AMD EPYC (no
record has the times). Kendall's tau-b and Spearman's rho with the published mean accuracy, of all
{networks:,} networks and of the better half.

Trained by `--train --data=DIR --only=base`, on a core each of {processors}, and then
"""
CHANGES = """
## What changes how well a supernet ranks?
{answer}

Recipe `base` with one change at a time, but for `none`, which adds one to `els`, and `full`, for a
GPU, which changes widths, dtype, batch size and schedule together. `uniform` trains one path in a
step instead of three, and so as many paths in three times the steps, on three times the images.
`averaged` still has 5% of the initial weights in its averages, which later code has not. All
rank the same sample of {sample:,} networks, by `--train --sample --data=DIR --only=RECIPE`, on
{processors}. There MACs have a tau of {macs:.3f}, layers that are no identity {depth:.3f}, the sum
of choices {sum:.3f} ({sum_top:.3f} in the better half), and one published run {published:.3f} with
the mean of the two others.

A recipe is held against `base` in pairs of runs of one seed and processor, a mean where there are
several: a seed draws the held-out images, and runs of a processor are of one jax (0.11 on the GPU,
else 0.10) and about one code. What trains is not known to have changed but in how training images
are decoded: 1b33fb8 made colours of blocks of 2 x 2 pixels, and by it `base` and `averaged` are one
training, scored without averages and with them.

Small differences grow: {same} runs of `base` with seed 0 begin with losses of {first} over {every}
steps, end with {last}, and have taus of {taus}. On a GPU, where sums have no fixed order, even
`base` and `averaged` part, which train alike. Nothing is concluded where the interval of a
difference has zero in it, or from fewer than {least} pairs.
"""
PRECISION = """
## How many images does a score take?
{answer}

Tau of {networks} networks of the sample by what their scores rest on: so many held-out images (in
the mean of as many disjoint sets as there are), and statistics of batch norm that are the
training's running ones, those of the scored batch (of {batch}), or recalibrated for each network on
so many batches of {batch} training images. Recipe `base`, {seeds}; by `--precision --only=base`.
"""
FOUND = """
## Are the networks good that it finds?
{answer}

Searches by the scores of each supernet `base` that has scored all networks, with the settings that
every space has by default: some {evaluated} networks are scored. Of the front that a search ends
with, the network with the best score within a budget of MACs is what its user would take; the table
has its published accuracy, that of the network trained alone at full width. Beside it are searches
by what costs nothing: the numbers of parameters and of layers that are no identity, and the sum of
the choices, 0 to 2. *The networks there* are those within 5% under the budget. Hypervolumes are as
above, of the whole front. The picture begins at {least}%, and has what lies above.
"""
RETRAINED = """
## And trained here?
{answer}

Networks are trained alone by one short recipe: at {width:g} of the widths, for {steps:,} steps of
{batch} images, on {processors}. They are what a search by each of these supernets picks, for each
pick a random network within {equal:.0%} of its MACs at full width, and the largest network; picks
without such a network, as the smallest, are left out. The table has percent of the 10,000 test
images, by averages of the weights (a decay of 0.999 from the first step on) that have 5% of the
initial weights left in them, and do worse than they might; later code averages over fewer steps at
first. There are {seeds} seeds, each with its own supernet, search and random networks, so that
intervals cover all of these.
"""
STABILIZERS = """
## Do stabilizers help?
{answer}

SCARLET's claim: a skip upsets the training of a supernet, as its feature maps are unlike those of
the layer's other choices; a linear 1x1 convolution in its place (ELS) makes them alike, so that
training is stable and scores are better. Recipes `els` and `none` differ in nothing else; seeds
are paired. Where a layer changes width or stride, `none` skips by taking every other pixel and
filling up channels with zeros, and `els` by its convolution, without batch norm. The published
identity is a convolution there, too, as in `base`: a better tau of `els` would in part be that.

- *Similarity*: cosine similarity of a layer's output by its identity and by another choice, in the
  mean of the other choices, {paths} random paths and {images} held-out images, with the statistics
  of the batch.
- *Loss*: in the mean over the last third of the training; its *spread*, the standard deviation of
  the change from one record of 50 steps to the next, over the square root of two.
- *Mean score* and tau are those of the sample of networks.

Lines in the picture are means, bands go from the least to the most of {seeds} seeds.
"""
CONCLUSIVE = 3  # pairs, without which a change is not told in a sentence
# Of what is compared with stabilizers and without.
TOLD = (tables.RESHAPED, tables.UNCHANGED, "loss", "mean score", "tau")


def page(search: Found, ranking: Found, retrained: Found | None) -> str:
    """The text, of what `nas_bench_macro` has written of each job; the last may not have run."""
    told = {
        name: textwrap.fill(f"**{answer}**", 100)
        for name, answer in answers(search, ranking, retrained).items()
    }
    parts = [
        HEAD.format(networks=ranking["networks"]["all"]),
        _search_part(told["search"], search, ranking),
        _ranking_part(told["ranking"], ranking),
    ]
    if "changes" in told:
        parts.append(_changes_part(told["changes"], ranking))
    if "precision" in told:
        parts.append(_precision_part(told["precision"], ranking))
    parts.append(_found_part(told["found"], ranking))
    if retrained:
        parts.append(_retrained_part(told["retrained"], retrained, ranking))
    if "stabilizers" in told:
        parts.append(_stabilizers_part(told["stabilizers"], ranking))
    return "".join(parts)


def _search_part(answer: str, search: Found, ranking: Found) -> str:
    text = SEARCH.format(
        answer=answer,
        seeds=len(search["searches"][OURS]),
        front=len(ranking["front"]),
        most=search["budgets"][-1],
    )
    text += f"\n![Curves over evaluated networks]({PICTURES[0]})\n\n{source(search)}\n"
    return text + "".join(tables.search_tables(search))


def _ranking_part(answer: str, found: Found) -> str:
    base, section = found["base"], nas_bench_macro.get_config()
    text = RANKING.format(
        answer=answer,
        calibration=base["search.batch_size"] * section.search.calibration_batches,
        steps=base["supernet.steps"],
        networks=found["networks"]["all"],
        processors=_processors(run for run in found["recipes"][BASE]["runs"] if "all" in run),
        **_size(found),
    )
    return text + f"{source(found)}\n\n{_lines(tables.ranking_table(found))}"


def _size(found: Found) -> dict[str, float]:
    """Of recipe `base`, which what is trained alone shares."""
    batch = nas_bench_macro.get_config().supernet.batch_size
    return {"width": found["base"]["space.width_multiplier"], "batch": batch}


def _changes_part(answer: str, found: Found) -> str:
    known = {name: own["tau"] for name, own in found["baselines"]["sample"].items()}
    same = [run for run in found["recipes"][BASE]["runs"] if run["seed"] == 0]
    losses = np.array([run["loss"] for run in same])  # [runs, records, step and loss]
    text = CHANGES.format(
        answer=answer,
        processors=_processors(tables.supernets(found)),
        sample=found["networks"]["sample"],
        macs=known["MACs"],
        depth=known[DEPTH],
        sum=known[SUM],
        sum_top=found["baselines"]["sample"][SUM]["tau_top"],
        published=known[PUBLISHED],
        same=len(same),
        first=_span(losses[:, 0, 1]),
        every=round(losses[0, 0, 0]),
        last=_span(losses[:, -1, 1]),
        taus=_span(run["sample"]["tau"] for run in same),
        least=CONCLUSIVE,
    )
    return text + f"\n{_lines(tables.changes_table(found))}"


def _precision_part(answer: str, found: Found) -> str:
    text = PRECISION.format(
        answer=answer,
        networks=found["precision"]["networks"],
        batch=found["base"]["search.batch_size"],
        seeds=_seeds(len(tables.measured_precision(found))),
    )
    return text + f"\n{_lines(tables.precision_table(found))}"


def _found_part(answer: str, found: Found) -> str:
    evaluated = np.mean([run["evaluated"] for run in tables.searches(found)[SUPERNET]])
    text = FOUND.format(answer=answer, evaluated=round(evaluated), least=LEAST)
    text += f"\n![Accuracy and MACs of what is found]({PICTURES[1]})\n\n"
    return text + _lines(tables.found_table(found))


def _retrained_part(answer: str, retrained: Found, ranking: Found) -> str:
    text = RETRAINED.format(
        answer=answer,
        equal=EQUAL,
        steps=retrained["recipe"]["subnet.steps"],
        seeds=tables.count_seeds(retrained),
        processors=_processors(retrained["runs"]),
        **_size(ranking),
    )
    text += f"\n![Accuracy and MACs]({PICTURES[2]})\n\n{source(retrained)}\n\n"
    return text + _lines(tables.retrained_table(retrained))


def _stabilizers_part(answer: str, found: Found) -> str:
    text = STABILIZERS.format(
        answer=answer,
        paths=similarity.PATHS,
        images=similarity.IMAGES,
        seeds=len(tables.paired(found)[tables.PAIRED[0]]),
    )
    text += f"\n![Similarity by layer, and loss]({PICTURES[3]})\n\n"
    return text + _lines(tables.stabilizer_table(found))


def answers(search: Found, ranking: Found, retrained: Found | None) -> dict[str, str]:
    """A sentence for each question that something is measured of; README quotes them."""
    found = {
        "search": _search(search),
        "ranking": _ranking(ranking),
        "found": _found(ranking),
    }
    if len(ranking["recipes"]) > 1 and len(ranking["recipes"][BASE]["runs"]) > 1:
        found["changes"] = _changes(ranking)
    if tables.measured_precision(ranking):
        found["precision"] = _precision(ranking)
    if retrained:
        gain = with_width(tables.mean_gain(retrained), 1, "+")
        seeds = _seeds(tables.count_seeds(retrained))
        found["retrained"] = (
            "Test accuracy of picks, trained alone, less that of random networks of about their "
            f"MACs, is {gain} percentage points in the mean of {seeds}."
        )
    if tables.paired(ranking):
        found["stabilizers"] = _stabilizers(ranking)
    return found


def _search(found: Found) -> str:
    measure, parts = "share of the front", []
    for number, budget in enumerate(found["budgets"]):
        own = tables.search_values(found, OURS, measure)[:, number].mean()
        other = tables.best_peer(found, measure, number).mean()
        parts.append(f"{own:.0f}% after {budget:,} ({other:.0f}%)")
    return (
        "Of the true front's networks the search has found, after so many evaluations (in brackets "
        f"the best of its peers there), {_listed(parts)}."
    )


def _ranking(found: Found) -> str:
    runs = found["recipes"][BASE]["runs"]
    taus = [run["all"]["tau"] for run in runs if "all" in run]
    known = {name: f"{own['tau']:.3f}" for name, own in found["baselines"]["all"].items()}
    published = known.pop(PUBLISHED)
    answer = (
        f"Kendall's tau with the published accuracy is {with_width(interval(taus))} for a "
        f"supernet's scores ({_seeds(len(taus))}), "
        f"{_listed(f'{tau} for the {name}' for name, tau in known.items())}; one published "
        f"training has {published} with the mean of the two others."
    )
    if len(more := tables.sampled(found, BASE, "tau")) > len(taus):
        those = np.mean([run["sample"]["tau"] for run in runs if "all" in run])
        answer += (
            f" On a sample of {found['networks']['sample']:,} networks, {len(more)} supernets of "
            f"{_seeds(len({run['seed'] for run in runs}))} have {with_width(interval(more))} (from "
            f"{_span(more)}; {those:.3f} in the mean of those that scored all), and the {DEPTH} "
            f"{found['baselines']['sample'][DEPTH]['tau']:.3f}."
        )
    return answer


def _changes(found: Found) -> str:
    """How far runs differ anyway, and what is told by pairs enough and an interval without zero."""
    told, tried = [], 0
    for name in found["recipes"]:
        changes = tables.changes_of(found, name, "tau")
        if name == BASE or len(changes) < CONCLUSIVE:
            continue
        tried += 1
        mean, width = change = interval(changes)
        if abs(mean) > width:
            settings = tables.changed_settings(found, name)
            told.append(f"{with_width(change, sign='+')} with {name} ({settings})")
    spread = np.std(tables.sampled(found, BASE, "tau"), ddof=1)
    return (
        f"Runs of `base` differ by a standard deviation of {spread:.3f} in tau. Of {tried} changes "
        f"with {CONCLUSIVE} pairs or more, these make a difference, by intervals that are not "
        f"corrected for their number: {_listed(told) if told else 'none'}."
    )


def _precision(found: Found) -> str:
    about, taus = found["precision"], np.mean(tables.measured_precision(found), axis=0)
    by_kind: dict[str, list[str]] = {}
    for (kind, _), tau in zip(about["statistics"], taus[:, -1], strict=True):
        by_kind.setdefault(kind, []).append(f"{tau:.3f}")
    kinds = [f"{_listed(own)} with {kind} statistics" for kind, own in by_kind.items()]
    batch = found["base"]["search.batch_size"]
    calibration = [
        f"{batches * batch:,}" for kind, batches in about["statistics"] if kind == "recalibrated"
    ]
    counts = [f"{count:,}" for count in about["images"]]
    return (
        f"On {counts[-1]} images tau is {_listed(kinds)}, on {_listed(calibration)} images. "
        f"Recalibrated on {calibration[-1]}, it is {_listed(f'{tau:.3f}' for tau in taus[-1])} on "
        f"{_listed(counts)} images."
    )


def _found(found: Found) -> str:
    budgets = found["budgets"][::2]
    parts = [
        f"{_numbers(tables.mean_within(runs, most) for most in budgets)} by the {name}"
        for name, runs in tables.searches(found).items()
    ]
    best = _numbers([tables.best_within(found, most) for most in budgets])
    return (
        f"Within {_listed(map(str, budgets))} million MACs, what a search takes for the best has a "
        f"published accuracy of {'; '.join(parts)}; the best there have {best}."
    )


def _stabilizers(found: Found) -> str:
    measures = tables.stabilizer_measures(found)
    pairs = len(measures["tau"][0])
    changes = [
        f"{name} by {with_width(interval(own - other), sign='+')}"
        for name, (own, other) in measures.items()
        if name in TOLD
    ]
    return f"In {pairs} pairs of supernets, stabilizers change the {_listed(changes)}."


def _numbers(values: Iterable[float]) -> str:
    return f"{_listed(f'{value:.1f}' for value in values)}%"


def _processors(runs: Iterable[Found]) -> str:
    return _listed(sorted({run["processor"] for run in runs}))


def _span(values: Iterable[float]) -> str:
    ordered = sorted(values)
    return f"{ordered[0]:.3f} to {ordered[-1]:.3f}"


def _listed(parts: Iterable[str]) -> str:
    *others, last = parts
    return f"{', '.join(others)} and {last}" if others else last


def _seeds(count: int) -> str:
    return "one seed" if count == 1 else f"{count} seeds"


def _lines(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)
