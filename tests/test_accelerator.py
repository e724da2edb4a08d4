"""The check of an accelerator ends in time, loses nothing, and its figures are what they say."""

import importlib
import json
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks.accelerator import parity, side, table
from benchmarks.measure import Prepared, Work

check = importlib.import_module("benchmarks.accelerator.__main__")


def test_the_first_compilation_has_the_machine_to_itself():
    ours, theirs = check.plan("imagenet_s2", 224, [64, 256])
    assert [(work.kind, work.batch_size) for work in ours[0]] == [("strict_fair", 64)]
    assert {work.batch_size for wave in ours for work in wave} == {64, 256}
    assert {work.how for wave in ours for work in wave} == {"masked", "branch"}
    assert all(len(wave) == 1 for wave in theirs)
    assert {work.how for (work,) in theirs} == {"eager", "compiled"}


def test_what_a_process_said_before_its_time_was_over_is_kept():
    program = "import time; print('chatter'); print('{\"a\": 1}', flush=True); time.sleep(60)"
    begin = time.monotonic()
    found = list(check.lines([sys.executable, "-c", program], seconds=2.0))
    assert found == [{"a": 1}]
    assert time.monotonic() - begin < 30


def works_of(*prepared):
    """A side whose works are those, or raise what is none."""
    waiting = dict(enumerate(prepared))

    def prepare(work, setup):
        own = waiting[work.batch_size]
        if isinstance(own, Exception):
            raise own
        return own

    return SimpleNamespace(prepare=prepare)


def test_a_work_without_memory_does_not_stop_the_others(monkeypatch):
    monkeypatch.setattr(side, "SECONDS", 0.01)
    calls = []
    fine = Prepared(lambda: calls.append(time.sleep(0.005)), lambda: 3_000_000_000)
    works = [Work("train", 0, batch_size=n) for n in range(2)]
    failed, measured = side.run(works_of(MemoryError("no room\nfor it"), fine), works)
    assert failed["error"] == "MemoryError: no room"
    assert (measured["kind"], measured["at_once"], measured["peak_gb"]) == ("train", 2, 3.0)
    assert len(calls) == 2 + len(measured["seconds"])  # the first two warm up
    assert len(measured["seconds"]) >= 3
    assert min(measured["seconds"]) > 0.004


def work(kind, how, seconds, **more):
    fields = {"kind": kind, "how": how, "batch_size": 64, "at_once": 1, **more}
    return {**fields, "seconds": seconds, "first_seconds": 100.0, "peak_gb": 2.5}


FOUND = {
    "machine": {"accelerator": "1 x chip"},
    "works": [
        work("train", "masked", [0.04, 0.9, 0.03], at_once=3),
        work("train", "eager", [0.06], first_seconds=5.0),
        work("random", "masked", [0.8]),
        {"kind": "score", "how": "branch", "batch_size": 64, "error": "no memory"},
    ],
    "agreement": {"device-masked-float32": {"logits": [1e-6, 2e-6], "gradients": [3e-5]}},
    "left_out": ["strict-fair step, masked, 256 images"],
}


def test_the_table_by_hand():
    lines = table.page(FOUND).splitlines()
    name = "step along one path"
    assert f"| {name}, masked, 64 images | 40.0 | 1,600 | 2.50 | 100 (2) | 1.50 |" in lines
    assert f"| {name}, PyTorch, eager, 64 images | 60.0 | 1,067 | 2.50 | 100 |  |" in lines
    assert (
        "| recalibrate and score 80 paths, masked, 64 images | 800.0 |  | 2.50 | 100 |  |" in lines
    )
    assert "| device-masked-float32 | 1.0e-06 2.0e-06 | 3.0e-05 |" in lines
    assert "Not measured: score one path, branch, 64 images: no memory." in lines
    assert "No time was left for: strict-fair step, masked, 256 images." in lines


def test_files_are_whole_after_every_line_and_name_what_is_missing(tmp_path, monkeypatch):
    works = [Work("train", 0, how="masked"), Work("score", 0, how="masked")]
    first = {**vars(works[0]), "at_once": 1, "first_seconds": 9.0, "seconds": [1.0], "peak_gb": 0}

    def said(command, seconds):
        assert json.loads(command[-2]) == [[vars(work) for work in works]]
        yield {"accelerator": "1 x chip"}
        yield first
        assert json.loads((tmp_path / "accelerator.json").read_text())["works"] == [first]

    monkeypatch.setattr(check, "lines", said)
    own = check.Check(tmp_path, minutes=1.0, command="this")
    own.measure("jax_supernet", [works], until=0.5)
    own.save()
    found = json.loads((tmp_path / "accelerator.json").read_text())
    assert found["machine"]["accelerator"] == "1 x chip"
    assert found["left_out"] == ["score one path, masked, 16 images"]
    assert (
        "| step along one path, masked, 16 images | 1000.0 |" in (tmp_path / "table.md").read_text()
    )


def test_differences_are_of_the_whole_norm():
    expected = {"logits 0": np.array([3.0, 4.0]), "gradients 0": np.array([10.0])}
    found = {"logits 0": np.array([3.0, 4.5]), "gradients 0": np.array([9.0])}
    assert parity.differences(found, expected) == {
        "logits": [pytest.approx(0.1)],
        "gradients": [pytest.approx(0.1)],
    }
