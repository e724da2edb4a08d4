"""The page of evidence is what its script makes of the results."""

import numpy as np

from benchmarks.evidence import __main__ as evidence
from benchmarks.evidence import figures, tables
from benchmarks.evidence.page import answers, page
from benchmarks.nas_bench_macro.ranking import PUBLISHED

ORIGIN = {
    "command": "run",
    "commit": "abc",
    "machine": {"processor": "P", "cores": "2", "python": "3", "jax": "jax 0", "torch": ""},
}
# Two budgets, two seeds; all find 50% and 90% in both, chance 40% and 96%.
ROWS = {name: [[0.5] * 3 + [1.0], [0.9] * 3 + [0.1]] for name in figures.STYLES}
ROWS["random"] = [[0.4] * 3 + [2.0], [0.96] * 3 + [0.5]]
SEARCH = {
    **ORIGIN,
    "budgets": [50, 100],
    "measures": ["hypervolume", "above the median", "share of the front", "regret"],
    "searches": {name: [row, row] for name, row in ROWS.items()},
}


def ranked(tau):
    return dict.fromkeys(("tau", "spearman", "tau_top", "spearman_top"), tau)


def found(*front, share=0.8):
    reached = {"hypervolume": share, "above the median": share / 2}
    return {"front": front, "evaluated": 7, "reached": reached}


FRONT = ([10e6, 0.5, 85.0], [20e6, 0.7, 92.0], [50e6, 0.8, 91.0])  # MACs, score, accuracy


def run(tau, similarity=(0.5, 0.5), loss=1.0, **more):
    """A supernet of two layers, whose loss has fallen in steps, then goes up and down.

    Similarities of an identity to both blocks, by layer.
    """
    losses = [9.0] * 8 + [loss - 0.1, loss + 0.1] * 2
    return {
        "seed": 0,
        "processor": "P",
        "code": "new",
        "jax": "jax 0",
        "sample": ranked(tau),
        "mean score": 0.6,
        "similarity": [[own + 0.1, own - 0.1, 0.9] for own in similarity],
        "loss": list(enumerate(losses)),
        "found": found(*FRONT),
        **more,
    }


BASE = {"settings": {}, "runs": [run(0.7, all=ranked(0.6))]}


def ranking(base=BASE, others=(), **more):
    baselines = {
        "MACs": ranked(0.5),
        "layers that are no identity": ranked(0.6),
        "sum of choices": ranked(0.65),
        PUBLISHED: ranked(0.9),
    }
    return {
        **ORIGIN,
        "networks": {"all": 3969, "sample": 40},
        "choices": ["identity", "E3K3", "E6K5"],
        "reshapes": [True, False],
        "baselines": {"all": baselines, "sample": baselines | {"MACs": ranked(0.4)}},
        "front": [[10e6, 90.0], [45e6, 95.0]],
        "budgets": [15, 20, 60],
        "drawn": [80.0, 81.0, 82.0],
        "found by": {"sum of choices": found([10e6, 0.5, 85.0])},
        "base": {"search.batch_size": 500, "space.width_multiplier": 0.25, "supernet.steps": 3000},
        "recipes": {"base": base, **dict(others)},
        **more,
    }


def written(ranking, retrained=None):
    return page(SEARCH, ranking, retrained)


def seeds(*runs, **settings):
    return {"settings": settings, "runs": [run | {"seed": n} for n, run in enumerate(runs)]}


def test_the_page_is_what_the_results_say():
    assert evidence.PAGE.read_text() == page(*evidence.load())


def test_readme_quotes_what_the_results_say():
    told = answers(*evidence.load())
    readme = " ".join((evidence.ROOT / "README.md").read_text().split())
    for question in ("search", "ranking", "found", "stabilizers"):
        assert told[question] in readme


def test_ours_is_held_against_the_best_peer_at_each_budget():
    text = written(ranking())
    assert "50% after 50 (50%) and 90% after 100 (96%)." in " ".join(text.split())
    assert "| random | 40.0 ± 0.0 | 96.0 ± 0.0 |" in text
    assert "| **ours less the best of the others** | **+0.0 ± 0.0** | **-6.0 ± 0.0** |" in text
    assert "`run`, P, 2, 3, jax 0, commit abc." in text
    assert len(figures.draw_search(SEARCH).axes) == 2


def test_supernets_rank_beside_what_costs_nothing():
    base = seeds(run(0.7, all=ranked(0.6)), run(0.8, processor="Q"))
    two = seeds(run(0.6), run(0.8, processor="R"))
    text = written(ranking(base, {"two": two}))
    assert "| MACs | | 0.500 | 0.500 | 0.500 | 0.500 |" in text
    assert "| supernet, base | 1 | 0.600 | 0.600 | 0.600 | 0.600 |" in text
    assert "supernet, two" not in text  # has not scored all
    assert "on a core each of P, and then" in text  # what has scored all
    assert "On a sample of 40 networks" not in written(ranking())
    assert (
        "On a sample of 40 networks, 2 supernets of 2 seeds have 0.750 ± 0.635 (from 0.700 to "
        "0.800; 0.700 in the mean of those that scored all), and the layers that are no identity "
        "0.600.**"
    ) in " ".join(text.split())
    assert ", on P, Q and R. There MACs have" in " ".join(text.split())


def test_recipes_are_held_against_base_by_seed_and_processor():
    base = seeds(run(0.5, all=ranked(0.6)), run(0.7), run(0.9), run(0.2, processor="Q"))
    three = seeds(run(0.6), run(0.7), run(0.8), run(0.9), **{"a.b": 3})
    one = seeds(run(0.9, code="old"))
    text = written(
        ranking(base, {"three": three, "one": one, "alone": seeds(run(1, processor="R"))})
    )
    words = " ".join(text.split())
    assert "There MACs have a tau of 0.400, layers that are no identity 0.600, the sum of" in words
    # The fourth runs have no partner. Differences of 0.1, 0 and -0.1: 4.303 * 0.0577.
    assert "| base |  | 4 | 0.575 ± 0.475 | 0.575 ± 0.475 |  |  |  |" in text
    assert "| three | `a.b=3` | 4 | 0.750 ± 0.205 | 0.750 ± 0.205 | 3 | +0.000 ± 0.248 |" in text
    assert "| one |  | 1 | 0.900 | 0.900 | 1 | +0.400 | +0.400 |" in text
    assert "| alone |  | 1 | 1.000 | 1.000 |  |  |  |" in text
    assert "What changes" not in written(ranking())


def test_of_several_runs_of_a_seed_and_processor_the_mean_is_paired():
    base = seeds(run(0.5, all=ranked(0.6)), run(0.7))
    again = {**base, "runs": [*base["runs"], run(0.7) | {"code": "later"}]}
    text = written(ranking(again, {"other": seeds(run(0.8), run(0.9))}))
    assert "| other |  | 2 | 0.850 ± 0.635 | 0.850 ± 0.635 | 2 | +0.200 ± 0.000 |" in text


def test_runs_of_one_seed_are_held_against_each_other():
    base = seeds(run(0.5, all=ranked(0.6)), run(0.9))
    again = run(0.7, processor="Q") | {"loss": [[50, 9.5], [100, 1.0]]}
    first = {**base["runs"][0], "loss": [[50, 9.0], [100, 2.0]]}
    other = {**base["runs"][1], "loss": [[50, 1.0], [100, 0.5]]}
    text = written(ranking({**base, "runs": [first, other, again]}, {"other": base}))
    assert (
        "2 runs of `base` with seed 0 begin with losses of 9.000 to 9.500 over 50 steps, end with "
        "1.000 to 2.000, and have taus of 0.500 to 0.700."
    ) in " ".join(text.split())


def test_what_a_change_does_is_told_by_three_pairs_and_an_interval_without_zero():
    base = seeds(*[run(tau, all=ranked(0.6)) for tau in (0.5, 0.6, 0.7)])
    others = {
        # Differences of 0.3, 0.3 and 0.2: 4.303 * 0.0333.
        "clear": seeds(run(0.8), run(0.9), run(0.9, code="other"), **{"a.b": 3, "c": "d"}),
        "hazy": seeds(run(0.6), run(0.5), run(0.8)),
        "few": seeds(run(0.7), run(0.8), run(0.9, processor="Q")),
    }
    spread = (
        "Runs of `base` differ by a standard deviation of 0.100 in tau. Of {tried} changes with 3 "
        "pairs or more, these make a difference, by intervals that are not corrected for their "
        "number: {told}."
    )
    text = " ".join(written(ranking(base, others)).split())
    clear = "+0.267 ± 0.143 with clear (`a.b=3`, `c=d`)"
    assert f"**{spread.format(tried=2, told=clear)}**" in text
    del others["clear"]
    text = " ".join(written(ranking(base, others)).split())
    assert f"**{spread.format(tried=1, told='none')}**" in text


def test_precision_is_the_mean_over_the_seeds_that_have_it():
    about = {"networks": 7, "images": [10, 2000], "statistics": [["batch", 1], ["recalibrated", 4]]}
    runs = [run(0.7, all=ranked(0.6), precision=[[0.1, 0.2], [0.3, tau]]) for tau in (0.4, 0.6)]
    text = written(ranking(seeds(*runs, run(0.7)), precision=about))
    assert "Tau of 7 networks" in text
    assert "Recipe `base`, 2 seeds;" in text
    assert (
        "On 2,000 images tau is 0.200 with batch statistics and 0.500 with recalibrated "
        "statistics, on 2,000 images. Recalibrated on 2,000, it is 0.300 and 0.500 on 10 and 2,000 "
        "images."
    ) in " ".join(text.split())
    assert "| statistics | 10 images | 2,000 images |" in text
    assert "| batch | 0.100 ± 0.000 | 0.200 ± 0.000 |" in text
    assert "| recalibrated on 4 | 0.300 ± 0.000 | 0.500 ± 1.271 |" in text
    assert "How many images" not in written(ranking())


def test_what_is_found_is_the_best_by_its_score_within_a_budget():
    # Two networks of one score, one of them twice.
    equals = [10e6, 0.5, 86.0], [10e6, 0.5, 88.0], [10e6, 0.5, 88.0]
    front = found(*equals, [20e6, 0.9, 90.0], [50e6, 0.8, 99.0])
    runs = [run(0.7, all=ranked(0.6), found=own) for own in (found(*FRONT), front)]
    results = ranking(seeds(*runs))
    text = written(results)
    row = "| supernet's score | 2 | 86.0 ± 12.7 | 91.0 ± 12.7 | 90.5 ± 6.4 | 80.0 ± 0.0 | 40.0 ±"
    assert row in text
    assert "| sum of choices | 1 | 85.0 | 85.0 | 85.0 | 80.0 | 40.0 |" in text
    assert "| mean of the networks there | | 80.0 | 81.0 | 82.0 | | |" in text
    assert "| the best there | | 90.0 | 90.0 | 95.0 | 100.0 | 100.0 |" in text
    assert "some 7 networks are scored" in text
    assert (
        "86.0 and 90.5% by the supernet's score; 85.0 and 85.0% by the sum of choices"
        in " ".join(text.split())
    )
    assert len(figures.draw_found(results).axes) == 1


def test_retrained_networks_are_compared_seed_by_seed():
    accuracies = {"picked-1": (0.8, 0.82), "random-1": (0.7, 0.74), "largest": (0.9, 0.9)}
    runs = [
        {"name": name, "seed": seed, "processor": "P", "macs": 2 * 10**6, "accuracy": accuracy}
        for name, own in accuracies.items()
        for seed, accuracy in enumerate(own)
    ]
    found = {**ORIGIN, "recipe": {"subnet.steps": 3000}, "runs": runs}
    text = written(ranking(), found)
    assert "3,000 steps" in text
    words = " ".join(text.split())
    assert "There are 2 seeds, each with its own supernet" in words
    assert "is +9.0 ± 12.7 percentage points in the mean of 2 seeds.**" in words
    # 10 and 8 percent apart, with a deviation of 1.414 and an error of 1; largest: no deviation.
    row = "| picked-1 | 2.00 | 81.00 ± 12.71 | 2.00 | 72.00 ± 25.41 | +9.00 ± 12.71 |"
    assert row in text
    assert "| mean | | | | | +9.00 ± 12.71 |" in text
    assert "| largest | 2.00 | 90.00 ± 0.00 | | | |" in text
    assert len(figures.draw_retrained(found).axes) == 1
    assert "And trained here?" not in written(ranking())


def test_stabilizers_are_compared_seed_by_seed():
    one = seeds(run(0.5, (0.5, 0.5)), run(0.6, (0.5, 0.5)))
    other = seeds(run(0.4, (0.2, 0.5), 1.5), run(0.5, (0.3, 0.6), 1.5), run(0.9))
    results = ranking(others={"els": one, "none": other})
    text = written(results)
    assert "most of 2 seeds." in text  # the third has no partner
    assert "| tau | 0.550 ± 0.635 | 0.450 ± 0.635 | **+0.100 ± 0.000** |" in text
    assert f"| {tables.RESHAPED} | 0.500 ± 0.000 | 0.250 ± 0.635 |" in text
    assert "| similarity elsewhere | 0.500 ± 0.000 | 0.550 ± 0.635 |" in text
    assert "In 2 pairs of supernets, stabilizers change the similarity of" in " ".join(text.split())
    assert "| loss | 1.000 ± 0.000 | 1.500 ± 0.000 | **-0.500 ± 0.000** |" in text
    spread = np.std([0.2, -0.2, 0.2]) / 2**0.5
    assert f"| spread of the loss | {spread:.3f} ± 0.000 |" in text
    assert len(figures.draw_stabilizers(results).axes) == 2
    alone = ranking(others={"els": one})
    assert "Do stabilizers help?" not in written(alone)
    assert figures.draw_stabilizers(alone) is None
