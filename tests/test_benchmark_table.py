"""The table of architectures: exact counts, files that keep up with it, one supernet for all."""

import csv
import json
from dataclasses import asdict, replace

import numpy as np
import pytest
import small
from launched import check_refused, finish, start
from searches import every_path

from scarlet_jax import benchmark, benchmark_table, cost
from scarlet_jax import space as spaces
from scarlet_jax.benchmark import Timing
from scarlet_jax.errors import InputError
from scarlet_jax.network_size import NetworkSize
from scarlet_jax.run.setup import prepare
from scarlet_jax.run.supernet import evaluate_paths, load_supernet, train_supernet

SPACE = spaces.make_space(**small.CHANGES["space"])
SIZE = NetworkSize(image_size=8, num_classes=2, channels=1)
TIMING = Timing(dtype="float32", batch_size=2, repeats=2)
EVERY = every_path(SPACE.allowed)
TITLES = "MACs parameters latency p50 ms p95 ms images/s memory MB architecture"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A work directory with a trained supernet, and its images beside it."""
    folder = tmp_path_factory.mktemp("trained")
    small.write_images(folder / "images")
    setup = prepare(small.config(folder / "images"), folder / "run")
    train_supernet(setup)
    return setup


@pytest.fixture
def paths(tmp_path):
    return {"csv_path": tmp_path / "table.csv", "json_path": tmp_path / "table.json"}


def read_csv(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def as_text(row):
    """A row in the words of a CSV file."""
    return {
        name: ",".join(map(str, value)) if isinstance(value, list) else str(value)
        for name, value in row.items()
    }


def test_the_files_hold_what_is_on_the_screen(paths, capsys):
    architectures = [("all-identity", EVERY[-1]), ("0,1", EVERY[1]), ("0,1", EVERY[1])]
    accuracies = np.array([0.25, 0.5, 0.5])
    record = benchmark_table.run(SPACE, architectures, SIZE, TIMING, accuracies=accuracies, **paths)
    assert json.loads(paths["json_path"].read_text()) == record
    assert read_csv(paths["csv_path"]) == [as_text(row) for row in record["rows"]]
    assert record["space"] == "small"
    assert record.items() >= (asdict(SIZE) | asdict(TIMING)).items()
    header, *lines, last = capsys.readouterr().out.splitlines()
    assert (
        header.split() == TITLES.replace("architecture", "supernet accuracy architecture").split()
    )
    for (arch, path), score, row, line in zip(
        architectures, accuracies, record["rows"], lines, strict=True
    ):
        macs, params = cost.costs(SPACE, path, SIZE)
        assert (row["arch"], row["macs"], row["params"]) == (arch, macs, params)
        assert row["architecture"] == path.tolist()
        assert row["blocks"] == spaces.to_names(SPACE, path)
        assert row["supernet_accuracy"] == score
        assert 0 < row["latency_p50_ms"] <= row["latency_p95_ms"]
        assert row["images_per_second"] > 0
        assert line.split()[:2] == [f"{macs:,}", f"{params:,}"]
        assert line.split()[-2:] == [f"{score:.4f}", arch]
        assert line.index(arch) == header.index("architecture")
    assert last == f"3 of 3 rows: {paths['csv_path']} and {paths['json_path']}"


def test_memory_is_that_of_weights_images_and_what_is_between():
    measure = {
        batch_size: benchmark.measure(SPACE, EVERY[0], SIZE, replace(TIMING, batch_size=batch_size))
        for batch_size in (1, 64)
    }
    weights = 4 * measure[1]["params"]
    images = 4 * 8 * 8
    assert measure[1]["memory_bytes"] > weights + images
    assert measure[64]["memory_bytes"] - measure[1]["memory_bytes"] > 63 * images


def test_a_stopped_run_leaves_the_rows_that_it_has(paths, capsys, monkeypatch):
    found = {
        "macs": 1234567,
        "params": 1,
        "latency_p50_ms": 1.0,
        "latency_p95_ms": 2.0,
        "images_per_second": 3.0,
        "memory_bytes": 2_500_000,
    }
    answers = iter([found, found])

    def measure(*_, **__):
        for answer in answers:
            return answer
        raise KeyboardInterrupt

    monkeypatch.setattr(benchmark, "measure", measure)
    architectures = [(spaces.to_text(path), path) for path in EVERY]
    with pytest.raises(KeyboardInterrupt):
        benchmark_table.run(SPACE, architectures, SIZE, TIMING, **paths)
    rows = json.loads(paths["json_path"].read_text())["rows"]
    assert [row["arch"] for row in rows] == ["0,0,0,0", "0,0,0,1"]
    assert read_csv(paths["csv_path"]) == [as_text(row) for row in rows]
    assert "supernet_accuracy" not in rows[0]
    header, first, _, last = capsys.readouterr().out.splitlines()
    assert header.split() == TITLES.split()
    assert first.split() == ["1,234,567", "1", "1.00", "2.00", "3.0", "2.5", "0,0,0,0"]
    assert last.startswith("2 of 16 rows: ")
    # Stopped before it has any, it leaves what was there.
    with pytest.raises(KeyboardInterrupt):
        benchmark_table.run(SPACE, architectures, SIZE, TIMING, **paths)
    assert json.loads(paths["json_path"].read_text())["rows"] == rows
    assert len(capsys.readouterr().out.splitlines()) == 1


def test_other_architectures_compile_nothing_in_the_supernet(trained, compilations, monkeypatch):
    network = load_supernet(trained)
    monkeypatch.setattr(benchmark_table, "load_supernet", lambda _: network)
    setup = prepare(trained.config, trained.workdir)  # shares no program with training
    before = compilations()
    first = benchmark_table.score(setup, EVERY[:1], SIZE)
    compiled = compilations()
    assert compiled > before
    rest = benchmark_table.score(setup, EVERY[1:], SIZE)
    again = benchmark_table.score(setup, [*EVERY, EVERY[0]], SIZE)
    assert compilations() == compiled
    assert again.tolist() == [*first, *rest, *first]


@pytest.mark.parametrize(("name", "value"), [("image_size", 16), ("num_classes", 3)])
def test_a_supernet_of_another_size_is_refused(trained, name, value):
    own = getattr(SIZE, name)
    message = f"^{name} is {value}; allowed with the supernet of {trained.workdir}: {own}$"
    with pytest.raises(InputError, match=message):
        benchmark_table.score(trained, EVERY, replace(SIZE, **{name: value}))


def test_bad_flags_end_before_any_work(tmp_path):
    own, table = ("benchmark", "--space=s1", "--arch=all-identity"), ("benchmark", "--table=t")
    bad = {
        ("benchmark", "--space=s1"): "--arch or --table, not both, must be given",
        (*table, "--csv=u"): "--csv goes with --arch, not with --table",
        (*table, "--supernet=u"): "--supernet goes with --arch, not with --table",
        (*own, "--blocks=u"): "--blocks=u goes with --table=FILE",
        (*own, "--force"): "--force goes with --table, not with --arch",
        (*own, "--csv=t", "--json=t"): "--csv and --json are both t; allowed: two files",
        (*own, "--csv=/nonexistent/t.csv"): "/nonexistent/t.csv cannot be written; allowed: a file",
        (*own, "--json=/"): "/ cannot be written; allowed: a file",
        (*own, "--supernet=runs/x"): "--supernet=runs/x needs --config=FILE",
        (*own, "--arch=0,6"): "architecture of shape [2]; space 's1' takes [19]",
        (*own, "--image_size=31"): "31; space 's1' has a stride of 32, so allowed: 32 or",
    }
    check_refused(bad, tmp_path)


def test_the_command_scores_with_the_supernet(trained, tmp_path):
    images = trained.workdir.parent / "images"
    config = tmp_path / "tiny_config.py"
    small.write_config(config, images)
    command = ["benchmark", f"--config={config}", "--arch=all-identity", "--arch=E2K3,E2K3,E2K3,1"]
    command += ["--repeats=2", "--batch_size=2", f"--json={tmp_path / 'table.json'}"]
    (code, out, err), (refused, nothing, why) = finish(
        start(*command, f"--supernet={trained.workdir}"),
        start(*command, f"--supernet={tmp_path / 'none'}"),
    )
    assert code == 0, err
    scores = evaluate_paths(trained, load_supernet(trained), [EVERY[-1], EVERY[1]])
    record = json.loads((tmp_path / "table.json").read_text())
    assert [row["supernet_accuracy"] for row in record["rows"]] == scores.tolist()
    assert record.items() >= asdict(SIZE).items()
    about, description, *_, last = out.splitlines()
    assert about == f"supernet of {trained.workdir}: scoring on 8 validation images"
    assert description.startswith("space small, 8 pixels, batch 2, float32, ")
    assert last == f"2 of 2 rows: {tmp_path / 'table.json'}"
    assert (refused, nothing) == (2, "")
    assert "none/supernet; train one by scarlet train_supernet" in why
