"""Several processes on one machine give what one process gives with as many devices."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from unittest import mock

import emulators
import jax
import numpy as np
import pytest
import small

from scarlet_jax import devices, files, processes
from scarlet_jax.errors import InputError
from scarlet_jax.run.pipeline import run_pipeline
from scarlet_jax.run.setup import prepare
from scarlet_jax.run.supernet import load_supernet
from scarlet_jax.train import checkpoint, metrics

ROOT = Path(__file__).parent.parent
DEVICES = 8  # of all processes together, and of this one
STEPS = 60  # of the supernet: time to stop in
TOLERANCE = {"rel": 1e-4, "abs": 1e-6}
# Of what Python prints. Gloo prints past it, so that only in the first process ASCII may be ours.
ENCODINGS = ("utf-8", "utf-16-le")


XLA_LOG = "TF_CPP_MIN_LOG_LEVEL"  # which JAX has set in this process


def start(config, workdir, port, process_id, encoding="utf-8", launcher="pipeline", flags=(), of=2):
    return subprocess.Popen(
        [
            *(sys.executable, "-m", f"launch.{launcher}", f"--config={config}"),
            *(f"--workdir={workdir}", f"--coordinator=localhost:{port}"),
            *(f"--num_processes={of}", f"--process_id={process_id}", *flags),
            f"--cpu_devices={DEVICES // of}",
            f"--config.supernet.steps={STEPS}",
        ],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if name != XLA_LOG}
        | {"XLA_FLAGS": "--xla_backend_optimization_level=0"}
        | {"PYTHONIOENCODING": encoding},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def free_port():
    with socket.socket() as free:
        free.bind(("localhost", 0))
        return free.getsockname()[1]


def records(directory):
    lines = (directory / metrics.FILE_NAME).read_text().splitlines()
    return [json.loads(line) for line in lines]


@pytest.fixture(scope="module")
def config_file(tmp_path_factory):
    folder = tmp_path_factory.mktemp("config")
    small.write_images(folder / "images")
    (folder / "images" / "train" / "dark" / "broken.png").write_bytes(b"not an image")
    small.write_config(folder / "tiny_config.py", folder / "images", picks=1)
    return folder / "tiny_config.py"


@pytest.fixture(scope="module")
def both(config_file, tmp_path_factory):
    """The set-up of one process, and work directory and output of two."""
    directory = tmp_path_factory.mktemp("two")
    port = free_port()
    started = [start(config_file, directory, port, i, e) for i, e in enumerate(ENCODINGS)]
    config = small.config(config_file.parent / "images")
    config.search.picks = 1
    config.supernet.steps = STEPS
    one = prepare(config, tmp_path_factory.mktemp("one"))
    run_pipeline(one, command="scarlet pipeline")
    output = [process.communicate(timeout=300) for process in started]
    assert [process.returncode for process in started] == [0, 0], output
    return one, directory, [out for out, _ in output]


def test_the_same_front_and_scores(both):
    one, two, _ = both
    assert jax.device_count() == DEVICES
    assert (two / "front.json").read_text() == (one.workdir / "front.json").read_text()
    expected, result = (
        files.read_signed(workdir / "subnets/model-0/result.json")  # but for their digests
        for workdir in (one.workdir, two)
    )
    assert result.keys() == expected.keys()
    for name, value in expected.items():
        numeric = isinstance(value, float)
        assert result[name] == (pytest.approx(value, **TOLERANCE) if numeric else value)


@pytest.mark.parametrize(("part", "steps"), [("supernet", STEPS), ("subnets/model-0", 6)])
def test_the_same_metrics(both, part, steps):
    one, two, _ = both
    expected, found = records(one.workdir / part), records(two / part)
    assert [record["step"] for record in found] == [*range(2, steps + 1, 2)]
    for ours, theirs in zip(found, expected, strict=True):
        assert ours == pytest.approx(theirs, **TOLERANCE)


def test_one_process_reads_the_checkpoint_of_two(both):
    one, two, _ = both
    networks = [load_supernet(setup)[1:] for setup in (prepare(one.config, two), one)]
    for ours, theirs in zip(*map(jax.tree.leaves, networks), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-5)


def test_the_first_process_alone_prints_and_the_report_knows_both(both):
    _, two, (first, second) = both
    assert f"report: {two / 'report.html'}" in first.decode()
    assert "1 unreadable image: " in first.decode()
    # Every second byte of what the second process printed would be 0.
    assert b"[Gloo]" in second
    assert b"\0" not in second
    assert "broken.png" in (two / "report.html").read_text()
    assert len(list((two / "supernet").glob("events.*"))) == 1


@pytest.fixture(params=["folder", "s3"])
def shared(request, tmp_path):
    """Where all processes read and write: a folder, a bucket."""
    where = tmp_path if request.param == "folder" else emulators.bucket(request.param)
    return files.as_path(f"{where}/many")


def test_members_are_lost_in_every_phase_and_others_go_on(both, config_file, shared, tmp_path):
    """Two processes, of which one is preempted; four, of which one is lost in training, in the
    search, and in retraining the first; and then one: the end is that of one alone."""
    one, _, _ = both
    record = checkpoint.RECORD

    def begin(count, sign):
        port, flags = free_port(), [f"--compilation_cache={tmp_path / 'programs'}"]
        own = [start(config_file, shared, port, i, of=count, flags=flags) for i in range(count)]
        while not (shared / sign).exists():
            assert own[0].poll() is None, own[0].communicate()
            time.sleep(0.05)
        return own

    own = begin(2, f"supernet/checkpoints/2/{record}")
    own[1].send_signal(signal.SIGTERM)
    said = [process.communicate(timeout=60)[1].decode() for process in own]
    assert [process.returncode for process in own] == [143, 143], said
    step = checkpoint.steps(shared / "supernet" / checkpoint.DIRECTORY)[0]
    line = (
        f"stopped at step {step} of {STEPS} of supernet, which is saved; the same command goes on"
    )
    assert all(line in errors for errors in said)

    for victim, sign in (
        (3, f"supernet/checkpoints/{2 * (step // 2) + 4}/{record}"),
        (1, "search/search.npz"),
        (0, f"subnets/model-0/checkpoints/2/{record}"),
    ):
        own = begin(4, sign)
        own[victim].kill()
        said = [process.communicate(timeout=90)[1].decode() for process in own]
        expected = [-signal.SIGKILL if number == victim else 2 for number in range(4)]
        assert [process.returncode for process in own] == expected, said
        if victim:
            *warnings, line = said[0].splitlines()
            assert line.startswith("error: another process of the job has ended or cannot be reach")
            assert [w for w in warnings if "unreadable" not in w and "individuals" not in w] == []
        assert not (shared / "report.html").exists()

    run_pipeline(prepare(one.config, shared), command="scarlet pipeline")
    assert (shared / "front.json").read_text() == (one.workdir / "front.json").read_text()
    for part in ("supernet", "subnets/model-0"):
        pairs = zip(records(shared / part), records(one.workdir / part), strict=True)
        for ours, theirs in pairs:
            assert ours == pytest.approx(theirs, **TOLERANCE)


def test_nobody_is_waited_for_longer_than_told(config_file, tmp_path):
    """A coordinator that is not there, one that is something else, and a partner that is not."""
    with socket.socket() as other:
        other.bind(("localhost", 0))
        other.listen()
        ports = {"absent": free_port(), "foreign": other.getsockname()[1], "alone": free_port()}
        how = {"launcher": "train_supernet", "flags": ["--start_seconds=2"]}
        started = {
            name: start(config_file, tmp_path, port, int(name != "alone"), **how)
            for name, port in ports.items()
        }
        taken = start(config_file, tmp_path, ports["foreign"], 0, **how)
        said = {n: process.communicate(timeout=90)[1].decode() for n, process in started.items()}
        errors = taken.communicate(timeout=60)[1].decode()
    assert [process.returncode for process in (*started.values(), taken)] == [2] * 4
    for name, line in said.items():
        assert line.startswith(f"error: the processes of coordinator localhost:{ports[name]} did n")
        assert line.count("\n") == 1
    assert "as it cannot be reached (Connection refused)" in said["absent"]
    assert errors.startswith(f"error: port {ports['foreign']} of the coordinator cannot be used (")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("here", 2, 0), "coordinator is 'here'; allowed: HOST:PORT or auto"),
        (("auto", 2, 0), "num_processes and process_id go with a coordinator HOST:PORT"),
        (("host:1", 2, None), "with coordinator host:1, num_processes and process_id are needed"),
        (("host:1", 2, 2), "process_id is 2; allowed with 2 processes: 0 to 1"),
    ],
)
def test_what_does_not_fit_together_is_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        processes.join(*arguments, seconds=1)


def test_the_devices_of_a_process_are_side_by_side(monkeypatch):
    """On TPU slices neither ids nor the order in which JAX lists devices go by process."""
    listed = [
        mock.Mock(jax.Device, id=number, process_index=process)
        for number, process in enumerate((0, 0, 1, 1, 0, 0, 1, 1))
    ]
    monkeypatch.setattr(jax, "devices", lambda: listed)
    mesh = devices.make_mesh()
    assert [device.id for device in mesh.devices] == [0, 1, 4, 5, 2, 3, 6, 7]


def test_gathering_in_one_process_is_the_value_itself():
    assert processes.gather({"names": ["a"]}) == [{"names": ["a"]}]
