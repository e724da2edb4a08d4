"""The page of evidence is what its script makes of the results."""

import numpy as np

from benchmarks.evidence import __main__ as evidence
from benchmarks.evidence import figures
from benchmarks.evidence.page import page

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


def pick(accuracy, mean, equals=3, beaten=0.5):
    values = {"macs": 10**7, "best": accuracy + 1, "equals": equals, "beaten": beaten}
    return {"accuracy": accuracy, "mean": mean, **values}


def found(*picks, share=0.8):
    return {"picks": picks, "front": {"hypervolume": share, "above the median": share / 2}}


def run(tau, similarity=0.5, loss=1.0, **more):
    """A supernet of two layers, whose loss has fallen in steps, then goes up and down."""
    losses = [9.0] * 8 + [loss - 0.1, loss + 0.1] * 2
    return {
        "sample": ranked(tau),
        "mean score": 0.6,
        "similarity": [[similarity, similarity, 0.9]] * 2,
        "loss": list(enumerate(losses)),
        "found": found(pick(92.0, 90.0)),
        **more,
    }


BASE = {"settings": {}, "seeds": {"0": run(0.7, all=ranked(0.6))}}


def ranking(base=BASE, others=(), **more):
    return {
        **ORIGIN,
        "baselines": {"all": {"MACs": ranked(0.5)}, "sample": {"MACs": ranked(0.4)}},
        "recipes": {"base": base, **dict(others)},
        "found by depth": {"0": found(pick(90.0, 90.0)), "1": found(pick(90.0, 90.0))},
        "largest": pick(93.0, 92.0),
        **more,
    }


def written(ranking, retrained=None):
    return page(SEARCH, ranking, retrained)


def seeds(*runs, **settings):
    return {"settings": settings, "seeds": {str(seed): run for seed, run in enumerate(runs)}}


def test_the_page_is_what_the_results_say():
    assert evidence.PAGE.read_text() == page(*evidence.load())


def test_ours_is_held_against_the_best_peer_at_each_budget():
    text = written(ranking())
    assert "| random | 40.0 ± 0.0 | 96.0 ± 0.0 |" in text
    assert "| **ours less the best of the others** | **+0.0 ± 0.0** | **-6.0 ± 0.0** |" in text
    assert "`run`, P, 2, 3, jax 0, commit abc." in text
    assert len(figures.draw_search(SEARCH).axes) == 2


def test_recipes_have_their_change_and_seeds():
    two = seeds(run(0.6), run(0.8), **{"a.b": 3})
    every, sample = written(ranking(others={"two": two})).split("On a sample")
    assert "| MACs | | | 0.500 | 0.500 | 0.500 | 0.500 |" in every
    assert "| supernet, base |  | 1 | 0.600 | 0.600 | 0.600 | 0.600 |" in every
    assert "supernet, two" not in every  # has not scored all
    assert "| MACs | | | 0.400 | 0.400 | 0.400 | 0.400 |" in sample
    assert "| supernet, base |  | 1 | 0.700 | 0.700 | 0.700 | 0.700 |" in sample
    assert "| supernet, two | `a.b=3` | 2 | 0.700 ± 1.271 |" in sample  # 12.706 * 0.1


def test_precision_is_the_mean_over_the_seeds_that_have_it():
    about = {"networks": 7, "images": [10, 2000], "statistics": [["batch", 1], ["recalibrated", 4]]}
    runs = [run(0.7, precision=[[0.1, 0.2], [0.3, tau]]) for tau in (0.4, 0.6)]
    text = written(ranking(seeds(*runs, run(0.7)), precision=about))
    assert "Tau of 7 networks" in text
    assert "Recipe `base`,\n2 seeds." in text
    assert "| statistics | 10 images | 2,000 images |" in text
    assert "| batch | 0.100 ± 0.000 | 0.200 ± 0.000 |" in text
    assert "| recalibrated on 4 | 0.300 ± 0.000 | 0.500 ± 1.271 |" in text
    assert "How many images" not in written(ranking())


def test_picks_are_held_against_their_equals():
    one = run(0.7, found=found(pick(45.0, 45.0, equals=1), pick(92.0, 90.0), pick(93.0, 92.0)))
    other = run(0.7, found=found(pick(91.0, 90.5, beaten=1.0), share=0.9))
    results = ranking(seeds(one, other))
    text = written(results)
    # (2 + 1) / 2 and 0.5, with a deviation of 0.707; 12.706 * 0.5.
    assert "| supernet's score | 2 | 1.0 ± 6.4 | 75.0 ± 317.7 | 85.0 ± 63.5 | 42.5 ± 31.8 |" in text
    assert "| layers that are no identity | 2 | 0.0 ± 0.0 | 50.0 ± 0.0 | 80.0 ± 0.0 |" in text
    assert len(figures.draw_picks(results).axes) == 1


def test_retrained_networks_are_compared_seed_by_seed():
    accuracies = {"picked-1": (0.8, 0.82), "random-1": (0.7, 0.74), "largest": (0.9, 0.9)}
    runs = [
        {"name": name, "seed": seed, "macs": 2 * 10**6, "accuracy": accuracy}
        for name, own in accuracies.items()
        for seed, accuracy in enumerate(own)
    ]
    found = {**ORIGIN, "recipe": {"subnet.steps": 3000}, "runs": runs}
    text = written(ranking(), found)
    assert "3,000 steps" in text
    assert "2 seeds, paired" in text
    # 10 and 8 percent apart, with a deviation of 1.414 and an error of 1; largest: no deviation.
    row = "| picked-1 | 2.00 | 81.00 ± 12.71 | 2.00 | 72.00 ± 25.41 | 9.00 ± 12.71 |"
    assert row in text
    assert "| mean | | | | | 9.00 ± 12.71 |" in text
    assert "| largest | 2.00 | 90.00 ± 0.00 | | | |" in text
    assert len(figures.draw_retrained(found).axes) == 1
    assert "And trained here?" not in written(ranking())


def test_stabilizers_are_compared_seed_by_seed():
    one = seeds(run(0.5), run(0.6))
    other = seeds(run(0.4, 0.2, 1.5), run(0.5, 0.3, 1.5), run(0.9))
    results = ranking(others={"els": one, "none": other})
    text = written(results)
    assert "2 seeds." in text  # the third has no partner
    assert "| tau | 0.550 ± 0.635 | 0.450 ± 0.635 | **+0.100 ± 0.000** |" in text
    assert "| similarity of identity and E3K3 | 0.500 ± 0.000 | 0.250 ± 0.635 |" in text
    assert "| loss | 1.000 ± 0.000 | 1.500 ± 0.000 | **-0.500 ± 0.000** |" in text
    spread = np.std([0.2, -0.2, 0.2]) / 2**0.5
    assert f"| spread of the loss | {spread:.3f} ± 0.000 |" in text
    assert len(figures.draw_stabilizers(results).axes) == 2
    alone = ranking(others={"els": one})
    assert "Do stabilizers help?" not in written(alone)
    assert figures.draw_stabilizers(alone) is None
