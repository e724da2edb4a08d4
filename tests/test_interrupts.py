"""Signals save and end a job, lost streams do not: in real processes."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest
import small

from scarlet_jax import interrupts, lock, processes
from scarlet_jax.run.search import search_supernet
from scarlet_jax.run.setup import prepare
from scarlet_jax.run.supernet import train_supernet
from scarlet_jax.train import checkpoint, metrics

ROOT = Path(__file__).parent.parent


def python(code, *arguments, **options):
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.Popen(command, cwd=ROOT, text=True, stderr=subprocess.PIPE, **options)


PRINT = """
import pathlib, sys
from scarlet_jax.launch import streams
streams.guard()
for number in range(5000):
    print("a line of a log", number, flush=number % 100 == 0)
print("an error", file=sys.stderr)
pathlib.Path(sys.argv[1]).write_text(open(0).read() + "done")
"""


@pytest.mark.parametrize("how", ["| head -1", ">&- 2>&-", ">/dev/full 2>/dev/full", "<&- >&-"])
def test_lost_streams_neither_stop_a_job_nor_reach_its_files(tmp_path, how):
    """A file that is opened while 1 is closed would get what is printed."""
    command = f"set -o pipefail; '{sys.executable}' -c '{PRINT}' '{tmp_path / 'file'}' {how}"
    result = subprocess.run(
        ["bash", "-c", command],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    assert result.returncode == 0
    assert (tmp_path / "file").read_text() == "done"


STUCK = """
import sys, time
from scarlet_jax import interrupts
interrupts.install()
if sys.argv[1] != "before":
    interrupts.begin(float(sys.argv[2]), "stopped; go on")
greeting = "installed"
while True:
    try:
        if greeting:
            print(greeting, flush=True)
        greeting = ""
        time.sleep(60)
    except BaseException:
        if sys.argv[1] != "swallows":
            raise
        print("swallowed", flush=True)
"""


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["Ctrl-C", "SIGTERM"]
)
@pytest.mark.parametrize(("job", "grace"), [("before", "60"), ("swallows", "0.2")])
def test_a_signal_ends_a_process_whatever_it_does(job, grace, number, code):
    """Before the job has begun; and in it, where a library swallows the exception."""
    with python(STUCK, job, grace, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == "installed\n"
        process.send_signal(number)
        assert process.wait(30) == code
        assert process.stderr.read().strip() == ("stopped" if job == "before" else "stopped; go on")


def test_a_second_ctrl_c_ends_a_process_at_once():
    with python(STUCK, "swallows", "600", stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == "installed\n"
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline() == "swallowed\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130


@pytest.fixture(scope="module")
def steady(image_folder, tmp_path_factory):
    """The work directory and the supernet of a training that nobody stopped."""
    setup = prepare(small.config(image_folder), tmp_path_factory.mktemp("steady"))
    return setup.workdir, train_supernet(setup)


@pytest.mark.parametrize("stop_after", [1, 3])
def test_a_stopped_training_is_saved_and_goes_on_to_the_same_end(
    image_folder, steady, tmp_path, monkeypatch, stop_after
):
    """Between two checkpoints, and between two records of the metrics."""
    questions = iter(range(1, 100))
    with monkeypatch.context() as patch:
        patch.setattr(processes, "must_stop", lambda: next(questions) == stop_after)
        with pytest.raises(
            interrupts.Stopped, match=f"stopped at step {stop_after} of 6 of supern"
        ):
            train_supernet(prepare(small.config(image_folder), tmp_path))
    saved = tmp_path / "supernet" / checkpoint.DIRECTORY
    assert checkpoint.steps(saved)[0] == stop_after
    workdir, expected = steady
    resumed = train_supernet(prepare(small.config(image_folder), tmp_path))
    for ours, theirs in zip(*map(jax.tree.leaves, (resumed[1:], expected[1:])), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    curves = [folder / "supernet" / metrics.FILE_NAME for folder in (tmp_path, workdir)]
    assert curves[0].read_bytes() == curves[1].read_bytes()


def test_a_stopped_search_keeps_its_scores(image_folder, steady, tmp_path, monkeypatch):
    config = small.config(image_folder)
    config.search.chunk = 2
    setup, (_, network) = prepare(config, tmp_path), steady
    questions = iter(range(1, 100))
    with monkeypatch.context() as patch:
        patch.setattr(processes, "must_stop", lambda: next(questions) == 2)
        with pytest.raises(interrupts.Stopped, match="in the search, whose scores are kept"):
            search_supernet(setup, network)
    (scores,) = (tmp_path / "evaluations").glob("*.npz")
    with np.load(scores) as saved:
        assert len(saved["scores"]) == setup.config.search.chunk
    search_supernet(setup, network)
    stopped = (tmp_path / "front.json").read_bytes()
    for folder in ("search", "evaluations"):
        shutil.rmtree(tmp_path / folder)
    search_supernet(setup, network)
    assert (tmp_path / "front.json").read_bytes() == stopped


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_launcher_ends_with_a_line_and_a_checkpoint(image_folder, tmp_path, number, code):
    config = tmp_path / "tiny_config.py"
    small.write_config(config, image_folder)
    command = [
        *(sys.executable, "-m", "launch.train_supernet", f"--config={config}"),
        *(f"--workdir={tmp_path / 'run'}", "--config.supernet.steps=1000000"),
    ]
    environment = os.environ | {"XLA_FLAGS": "--xla_backend_optimization_level=0"}
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, text=True, stdout=-1, stderr=-1
    ) as process:
        while "step 2/" not in process.stdout.readline():
            assert process.poll() is None
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == code
    step = checkpoint.steps(tmp_path / "run" / "supernet" / checkpoint.DIRECTORY)[0]
    assert errors == (
        f"stopped at step {step} of 1000000 of supernet, which is saved; the same command goes on "
        "from there\n"
    )
    about = json.loads((tmp_path / "run" / "lock").read_text())
    assert about["process"] == process.pid  # the file stays, the lock does not
    deadline = time.monotonic() + 1
    with lock.hold(tmp_path / "run"):
        assert time.monotonic() < deadline
