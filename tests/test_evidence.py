"""The page of evidence is what its script makes of the results."""

import json

import numpy as np
import pytest

from benchmarks import evidence


def test_the_page_is_what_the_results_say():
    assert evidence.PAGE.read_text() == evidence.page(evidence.RESULTS)


@pytest.fixture
def results(tmp_path):
    """Two budgets, two seeds; ours finds 50% and 90% in both, the peer 40% and 96%."""
    machine = {"processor": "P", "cores": "2", "python": "3", "jax": "jax 0", "torch": ""}
    measures = ["hypervolume", "above the median", "share of the front", "regret"]
    rows = {name: [[0.5] * 3 + [1.0], [0.9] * 3 + [0.1]] for name in evidence.STYLES}
    rows["random"] = [[0.4] * 3 + [2.0], [0.96] * 3 + [0.5]]
    found = {
        "command": "run",
        "commit": "abc",
        "machine": machine,
        "budgets": [50, 100],
        "measures": measures,
        "searches": {name: [row, row] for name, row in rows.items()},
    }
    (tmp_path / "nas_bench_macro_search.json").write_text(json.dumps(found))
    found["baselines"] = {"all": {"MACs": ranked(0.5)}, "sample": {"MACs": ranked(0.4)}}
    found["recipes"] = {"base": recipe({"0": run(0.7) | {"all": ranked(0.6)}})}
    (tmp_path / "nas_bench_macro_ranking.json").write_text(json.dumps(found))
    return tmp_path


def ranked(tau):
    return dict.fromkeys(("tau", "spearman", "tau_top", "spearman_top"), tau)


def recipe(seeds, **settings):
    return {"settings": settings, "seeds": seeds}


def run(tau, similarity=0.5, loss=1.0):
    """A supernet of two layers, whose loss has fallen in steps, then goes up and down."""
    losses = [9.0] * 8 + [loss - 0.1, loss + 0.1] * 2
    return {
        "sample": ranked(tau),
        "mean score": 0.6,
        "similarity": [[similarity, similarity, 0.9]] * 2,
        "loss": list(enumerate(losses)),
    }


def with_recipes(results, **more):
    path = results / "nas_bench_macro_ranking.json"
    found = json.loads(path.read_text())
    path.write_text(json.dumps(found | {"recipes": found["recipes"] | more}))
    return evidence.page(results)


def test_ours_is_held_against_the_best_peer_at_each_budget(results):
    text = evidence.page(results)
    assert "| random | 40.0 ± 0.0 | 96.0 ± 0.0 |" in text
    assert "| **ours less the best of the others** | **+0.0 ± 0.0** | **-6.0 ± 0.0** |" in text
    assert "`run`, P, 2, 3, jax 0, commit abc." in text
    assert len(evidence.draw_search(results).axes) == 2


def test_recipes_have_their_change_and_seeds(results):
    text = with_recipes(results, two=recipe({"0": run(0.6), "1": run(0.8)}, **{"a.b": 3}))
    every, sample = text.split("On a sample")
    assert "| MACs | | | 0.500 | 0.500 | 0.500 | 0.500 |" in every
    assert "| supernet, base |  | 1 | 0.600 | 0.600 | 0.600 | 0.600 |" in every
    assert "supernet, two" not in every  # has not scored all
    assert "| MACs | | | 0.400 | 0.400 | 0.400 | 0.400 |" in sample
    assert "| supernet, base |  | 1 | 0.700 | 0.700 | 0.700 | 0.700 |" in sample
    assert "| supernet, two | `a.b=3` | 2 | 0.700 ± 1.271 |" in sample  # 12.706 * 0.1


def test_precision_is_the_mean_over_the_seeds_that_have_it(results):
    assert "How many images" not in evidence.page(results)
    path = results / "nas_bench_macro_ranking.json"
    statistics = [["running", 1], ["recalibrated", 4]]
    about = {"networks": 7, "images": [10, 2000], "statistics": statistics}
    path.write_text(json.dumps(json.loads(path.read_text()) | {"precision": about}))
    seeds = [run(0.7) | {"precision": [[0.1, 0.2], [0.3, tau]]} for tau in (0.4, 0.6)]
    text = with_recipes(results, base=recipe({"0": seeds[0], "1": seeds[1], "2": run(0.7)}))
    assert "Tau of 7 networks" in text
    assert "Recipe `base`,\n2 seeds." in text
    assert "| statistics | 10 images | 2,000 images |" in text
    assert "| running | 0.100 ± 0.000 | 0.200 ± 0.000 |" in text
    assert "| recalibrated on 4 | 0.300 ± 0.000 | 0.500 ± 1.271 |" in text


def test_stabilizers_are_compared_seed_by_seed(results):
    one = recipe({"0": run(0.5), "1": run(0.6)})
    assert "Do stabilizers help?" not in with_recipes(results, els=one)
    other = recipe({"0": run(0.4, 0.2, 1.5), "1": run(0.5, 0.3, 1.5), "2": run(0.9)})
    text = with_recipes(results, els=one, none=other)
    assert "2 seeds." in text  # the third has no partner
    assert "| tau | 0.550 ± 0.635 | 0.450 ± 0.635 | **+0.100 ± 0.000** |" in text
    assert "| similarity of identity and E3K3 | 0.500 ± 0.000 | 0.250 ± 0.635 |" in text
    assert "| loss | 1.000 ± 0.000 | 1.500 ± 0.000 | **-0.500 ± 0.000** |" in text
    spread = np.std([0.2, -0.2, 0.2]) / 2**0.5
    assert f"| spread of the loss | {spread:.3f} ± 0.000 |" in text
    assert len(evidence.draw_stabilizers(results).axes) == 2
