"""The page of evidence is what its script makes of the results."""

import json

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
    return tmp_path


def test_ours_is_held_against_the_best_peer_at_each_budget(results):
    text = evidence.page(results)
    assert "| random | 40.0 ± 0.0 | 96.0 ± 0.0 |" in text
    assert "| **ours less the best of the others** | **+0.0 ± 0.0** | **-6.0 ± 0.0** |" in text
    assert "`run`, P, 2, 3, jax 0, commit abc." in text
    assert "Does the supernet rank" not in text  # nothing is scored yet
    assert len(evidence.draw(results).axes) == 2


def test_recipes_have_their_change_and_seeds(results):
    names = ("tau", "spearman", "tau_top", "spearman_top")
    ranking = json.loads((results / "nas_bench_macro_search.json").read_text())
    ranking |= {
        "baselines": {"MACs": dict.fromkeys(names, 0.5)},
        "recipes": {
            "one": {"settings": {}, "seeds": {"0": dict.fromkeys(names, 0.7)}},
            "two": {
                "settings": {"a.b": 3},
                "seeds": {"0": dict.fromkeys(names, 0.6), "1": dict.fromkeys(names, 0.8)},
            },
        },
    }
    (results / "nas_bench_macro_ranking.json").write_text(json.dumps(ranking))
    text = evidence.page(results)
    assert "| MACs | | | 0.500 | 0.500 | 0.500 | 0.500 |" in text
    assert "| supernet, one |  | 1 | 0.700 | 0.700 | 0.700 | 0.700 |" in text
    assert "| supernet, two | `a.b=3` | 2 | 0.700 ± 1.271 |" in text  # 12.706 * 0.1
