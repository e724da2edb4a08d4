"""What the page of evidence says."""

from collections.abc import Iterable

from benchmarks.evidence import tables
from benchmarks.evidence.tables import OURS, Found

# Beside the page.
PICTURES = (
    *("evidence_search.svg", "evidence_picks.svg"),
    *("evidence_retrained.svg", "evidence_stabilizers.svg"),
)
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
FOUND = """
## Are the networks good that it finds?
A search by the scores of each supernet `base`, with the settings that every space has by default,
and its five picks from the smallest network to the largest of the front; and the same search with
the number of layers that are no identity in place of the score. Accuracies are the published ones,
of the networks trained alone at full width. *Equals* are all networks within 5% of a pick's MACs:
their mean is what drawing one of them gives. The all-identity network has no equals and is left
out. Hypervolumes are as above, of the search's whole front by its published accuracies. All in
percent.
"""
RETRAINED = """
## And trained here?
What a search by the first supernet `base` picks, for each pick a network within 5% of its MACs
drawn at random, and the largest network, each trained alone at a quarter of the widths by one
recipe, for {steps:,} steps of 128 images; percent of the 10,000 test images, {seeds} seeds, paired.
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
{seeds}.
"""


def page(search: Found, ranking: Found, retrained: Found | None) -> str:
    """The text, of what `nas_bench_macro` has written of each job; the last may not have run."""
    text = HEAD + SEARCH.format(seeds=len(search["searches"][OURS]))
    text += f"\n![Curves over evaluated networks]({PICTURES[0]})\n\n{_source(search)}\n"
    text += "".join(tables.search_tables(search))
    text += f"{RANKING}\n{_source(ranking)}\n\n{_lines(tables.ranking_table(ranking, 'all'))}"
    text += f"{SAMPLED}\n{_lines(tables.ranking_table(ranking, 'sample'))}"
    if runs := tables.measured_precision(ranking):
        seeds = "one seed" if len(runs) == 1 else f"{len(runs)} seeds"
        about = PRECISION.format(networks=ranking["precision"]["networks"], seeds=seeds)
        text += f"{about}\n{_lines(tables.precision_table(ranking))}"
    text += f"{FOUND}\n![Picks and their equals]({PICTURES[1]})\n\n"
    text += _lines(tables.picks_table(ranking))
    if retrained:
        about = RETRAINED.format(
            steps=retrained["recipe"]["subnet.steps"],
            seeds=len({run["seed"] for run in retrained["runs"]}),
        )
        text += f"{about}\n![Accuracy and MACs]({PICTURES[2]})\n\n{_source(retrained)}\n\n"
        text += _lines(tables.retrained_table(retrained))
    if paired := tables.paired_seeds(ranking):
        text += f"{STABILIZERS}\n![Similarity by layer, and loss]({PICTURES[3]})\n\n"
        text += f"{len(paired)} seeds.\n\n{_lines(tables.stabilizer_table(ranking))}"
    return text


def _source(found: Found) -> str:
    machine = ", ".join(found["machine"][key] for key in ("processor", "cores", "python", "jax"))
    return f"`{found['command']}`, {machine}, commit {found['commit']}."


def _lines(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)
