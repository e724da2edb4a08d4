"""docs/figures.md is what was measured, and says it in the units of its tables."""

import pytest

from benchmarks import record
from benchmarks.figures import __main__ as command_line
from benchmarks.figures import jobs, page


def table(name, own):
    return "\n".join(page.PARTS[name][1](own))


def test_the_page_is_of_what_is_recorded():
    results = {name: record.read(name) for name in page.PARTS}
    text = page.page(results)
    assert command_line.PAGE.read_text() == text
    for own in results.values():
        assert f"`{own['command']}`, {own['machine']['processor']}" in text


def test_the_main_jobs_best_model_and_ranks_are_told():
    front = [
        {"architecture": [number], "accuracy": accuracy}
        for number, accuracy in enumerate((0.5, 0.7, 0.6))
    ]
    results = [
        {"architecture": [number], "validation_accuracy": accuracy}
        for number, accuracy in enumerate((0.8, 0.9, 0.95))
    ]
    own = {
        "seconds": 90.0,
        "models": 3,
        "best": {"name": "model-2", "macs": 1200, "test_accuracy": 0.932, "test_images": 1000},
        "evaluations": 1439,
        "supernet_accuracy": 0.7,
        "tau": {"validation": jobs.tau(front, results, "validation")},
    }
    text = table("main", own)
    assert "| minutes | 1.5 |" in text
    assert "93.2% of 1,000" in text
    assert "| architectures evaluated | 1,439 |" in text
    # Of three pairs, one is the other way round.
    assert "supernet score and validation accuracy | 0.33 |" in text


def test_latency_tables_are_in_percent_and_minutes():
    check = {"median_error": 0.022, "worst_error": 0.046, "kendall_tau": 0.917, "seconds": 300.0}
    text = table("tables", dict.fromkeys(jobs.TABLES, check))
    assert "| `--space=s2` | 2.2% | 4.6% | 0.92 | 5.0 |" in text


def test_files_are_in_megabytes_and_those_of_jax_take_all_threads():
    own = {kind: {"bytes": 21_700_000, "ms": [6.94, 4.5]} for kind in jobs.FORMATS}
    own["stablehlo float32"]["ms"] = [10.4]
    text = table("exported", own)
    assert "| onnx float32 | 21.7 | 6.9 | 4.5 |" in text
    assert "| stablehlo float32 | 21.7 |  | 10.4 |" in text


def test_a_search_is_in_percent_of_the_true_front():
    own = {
        "reached": {"S2": {"ours": 0.9941, "random": 0.611}},
        "sorting": {"ranks and crowding": [1.21, 1.75]},
        "bookkeeping": [0.61, 1.27],
    }
    text = table("search", own)
    assert "| | ours | random |" in text
    assert "| S2 | 99.4 | 61.1 |" in text
    assert "take 1.21 ms, pymoo's 1.75" in text
    assert "0.6 to 1.3 s" in text


@pytest.mark.parametrize("printed", ["nothing", "accuracy on these test images: nothing"])
def test_an_export_that_tells_no_accuracy_ends_the_job(monkeypatch, tmp_path, printed):
    monkeypatch.setattr(jobs, "scarlet", lambda command, folder: printed)
    with pytest.raises(ValueError, match="printed no accuracy"):
        jobs.quantised("onnx", "--weights=x", tmp_path)
    line = "accuracy on these test images: 96.60%, in JAX 96.70%\n"
    monkeypatch.setattr(jobs, "scarlet", lambda command, folder: line)
    assert jobs.quantised("onnx", "--weights=x", tmp_path) == {"file": 96.6, "JAX": 96.7}
