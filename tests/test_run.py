"""Whole jobs on a tiny problem: interrupted, resumed, refused."""

import dataclasses
import functools
import gc
import gzip
import itertools
import json
import logging
import os
import re
import shutil
import subprocess
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace

import board_reader
import jax
import numpy as np
import pytest
import small
from hypothesis import given
from hypothesis import strategies as st

from scarlet_jax import data, lock, subnet
from scarlet_jax.errors import DivergedError, InputError
from scarlet_jax.export import images as exported_images
from scarlet_jax.nn import functional
from scarlet_jax.run import commands, pipeline, supernet
from scarlet_jax.run import search as run_search
from scarlet_jax.run.pipeline import run_pipeline
from scarlet_jax.run.report import write_report
from scarlet_jax.run.search import search_supernet
from scarlet_jax.run.setup import prepare
from scarlet_jax.run.subnet import _subnet_directory, evaluate_subnet, train_subnet
from scarlet_jax.run.supernet import (
    evaluate_paths,
    load_supernet,
    path_model,
    right_images,
    train_supernet,
)
from scarlet_jax.train import checkpoint, loop, metrics


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    small.write_images(folder)
    (folder / "train" / "dark" / "broken.png").write_bytes(b"not an image")
    return folder


@pytest.fixture(scope="module")
def finished(images, tmp_path_factory):
    """An uninterrupted run of the main job."""
    workdir = tmp_path_factory.mktemp("finished")
    setup = prepare(small.config(images), workdir, profile=range(3, 5))
    run_pipeline(setup, command="scarlet pipeline")
    return setup


class Interrupted(Exception):
    pass


def weights(directory):
    """Every array of the latest checkpoint, bytes and all."""
    folder = directory / checkpoint.DIRECTORY
    step = checkpoint.steps(folder)[0]
    with checkpoint.ocp.StandardCheckpointer() as checkpointer:
        return step, jax.tree.leaves(checkpointer.restore(folder / str(step) / "state"))


def test_a_profile_names_steps_and_waits(finished):
    (trace,) = (finished.workdir / "supernet/plugins/profile").glob("*/*.trace.json.gz")
    events = json.loads(gzip.decompress(trace.read_bytes()))["traceEvents"]
    steps = [event["args"]["step_num"] for event in events if event.get("name") == "train"]
    assert steps == ["3", "4"]
    assert sum(event.get("name") == "wait for images" for event in events) == 2
    assert list(finished.workdir.glob("subnets/*/plugins"))


def test_rates_are_for_tensorboard_alone(finished):
    """A run with the same settings repeats its metrics to the last digit."""
    rates = {"images_per_second", "images_per_second_per_chip", "data_wait_share"}
    seen = board_reader.read(finished.workdir / "supernet")
    assert rates <= seen.keys()
    assert all(0 <= share <= 1 for share in seen["data_wait_share"].values())
    assert not rates & set((finished.workdir / "supernet/metrics.jsonl").read_text().split('"'))


def test_the_main_job_leaves_what_it_promises(finished):
    workdir = finished.workdir
    front = json.loads((workdir / "front.json").read_text())
    picked = [model for model in front["front"] if model["picked"]]
    assert len(picked) == 2
    with np.load(workdir / "search" / "search.npz") as saved:
        assert saved["born"].max() == 1  # there was something to search, and to tell apart
        assert len(np.unique(saved["accuracy"])) > 2
    page = (workdir / "report.html").read_text()
    for number, model in enumerate(picked):
        result = json.loads((workdir / f"subnets/model-{number}/result.json").read_text())
        assert result["architecture"] == model["architecture"]
        assert result["test_images"] == 10
        assert result["macs"] == model["macs"]
        assert ",".join(map(str, model["architecture"])) in page
    assert "trained model" in page
    assert "not retrained yet" not in page
    assert "broken.png" in page
    assert len(finished.unreadable) == 1
    lines = (workdir / "supernet" / metrics.FILE_NAME).read_text().splitlines()
    records = [json.loads(line) for line in lines]
    assert [record["step"] for record in records] == [2, 4, 6]
    assert "validation_accuracy" in records[-1]


def test_the_main_job_ends_with_its_models_and_what_to_do_with_the_best(capsys):
    trained = [
        {"name": "model-0", "macs": 999, "params": 90, "validation_accuracy": 0.5},
        {"name": "model-10", "macs": 1_234_567, "params": 5_000, "validation_accuracy": 0.75},
        {"name": "model-2", "macs": 2_234_567, "params": 5_001, "validation_accuracy": 0.75},
    ]
    pipeline._say_models(Path("my runs"), [model | {"test_accuracy": 0.625} for model in trained])
    assert capsys.readouterr().out.splitlines() == [
        "model              MACs   parameters  validation    test",
        "model-0             999           90      50.00%  62.50%",
        "model-10      1,234,567        5,000      75.00%  62.50%",
        "model-2       2,234,567        5,001      75.00%  62.50%",
        "best by validation: model-10; to use it",
        "  scarlet predict '--weights=my runs/subnets/model-10' --images=FOLDER",
        "  scarlet export '--weights=my runs/subnets/model-10' --format=onnx --out=model.onnx",
    ]


def test_python_to_copy_loads_a_model(finished, capsys):
    exec(commands.load(finished.workdir / "subnets" / "model-0"), {})
    assert capsys.readouterr().out.startswith("('dark', 'light') Preprocessing(image_size=8")


def test_without_a_pick_the_main_job_says_so(capsys):
    pipeline._say_models(Path("runs"), [])
    assert capsys.readouterr().out == "no model was picked, so none was trained\n"


def test_interrupted_and_resumed_equals_uninterrupted(finished, images, tmp_path, monkeypatch):
    """Stopped in the middle of both trainings, after a checkpoint and before the next."""
    shard = loop.devices.shard
    for part, saved in (("supernet", 4), ("subnets/model-0", 2)):  # the other has 2 steps to go
        calls = itertools.count(1)

        def stop_at_the_fifth(mesh, tree, calls=calls):
            if next(calls) == 5:
                raise Interrupted
            return shard(mesh, tree)

        with monkeypatch.context() as patch:
            patch.setattr(loop.devices, "shard", stop_at_the_fifth)
            with pytest.raises(Interrupted):
                run_pipeline(prepare(small.config(images), tmp_path), "")
        assert weights(tmp_path / part)[0] == saved
    run_pipeline(prepare(small.config(images), tmp_path), "")
    for part in ("supernet", "subnets/model-0"):
        step, ours = weights(tmp_path / part)
        expected_step, expected = weights(finished.workdir / part)
        assert step == expected_step == 6
        for a, b in zip(ours, expected, strict=True):
            np.testing.assert_array_equal(a, b)
    for name in (
        *("front.json", "supernet/metrics.jsonl", "subnets/model-0/metrics.jsonl"),
        *("subnets/model-0/result.json", "subnets/model-0/model.safetensors"),
    ):
        assert (tmp_path / name).read_bytes() == (finished.workdir / name).read_bytes()


def test_tensorboard_has_the_trainings(finished):
    supernet, model = (
        board_reader.read(finished.workdir / part) for part in ("supernet", "subnets/model-0")
    )
    for part in (supernet, model):
        assert list(part["loss"]) == [2, 4, 6]
        (pictures,) = part["first_batch"].values()
        assert pictures.shape == (8, 8 * 8, 3)  # 8 augmented images beside each other
        assert len(np.unique(pictures)) > 10
        assert "_hparams_/session_start_info" in part
        assert "_hparams_/experiment" not in part  # the first one's would hold for all
    (told,) = model["_hparams_/session_start_info"].values()
    assert b"subnet.learning_rate" in told
    assert b"sha256" not in told
    result = json.loads((finished.workdir / "subnets/model-0/result.json").read_text())
    expected = "".join(f"1. {block}\n" for block in result["blocks"])
    assert model["architecture/text_summary"] == {0: expected.rstrip()}


def test_tensorboard_has_the_search_and_is_told_nothing_twice(finished):
    directory = finished.workdir / "search"
    seen, files = board_reader.read(directory), list(directory.glob("events.*"))
    front = json.loads((finished.workdir / "front.json").read_text())
    assert list(seen["hypervolume"].values())[-1] == pytest.approx(front["hypervolume"])
    assert list(seen["front_size"].values())[-1] == len(front["front"])
    assert {"front", "evaluations", "_hparams_/session_start_info"} <= seen.keys()
    search_supernet(finished, load_supernet(finished))
    assert list(directory.glob("events.*")) == files


def test_a_finished_run_is_not_trained_again(finished, monkeypatch):
    def forbidden(*_):
        raise AssertionError("a step was taken")

    monkeypatch.setattr(loop.devices, "shard", forbidden)
    network = train_supernet(finished)
    loaded = load_supernet(finished)
    for a, b in zip(jax.tree.leaves(network), jax.tree.leaves(loaded), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_loaded_supernet_is_made_of_plain_arrays(finished):
    """So that any program takes them, whatever devices they were trained on."""
    network = load_supernet(finished)
    assert {len(leaf.devices()) for leaf in jax.tree.leaves(network[1:])} == {1}
    path = np.zeros(finished.space.depth, np.int32)
    network_of_path = subnet.extract(finished.space, network, path)
    logits, _ = functional.apply(*network_of_path, np.zeros((1, 8, 8, 1), np.float32))
    assert logits.shape == (1, 2)


def test_another_search_of_the_same_supernet_pays_for_nothing_twice(
    finished, images, tmp_path, monkeypatch
):
    """With other weights and more generations, in a work directory of its own."""
    source = finished.workdir
    before = set(source.rglob("*"))
    config = small.config(images)
    config.search.generations = 2
    config.search.objectives.accuracy.weight = 0.9
    config.search.objectives.macs.weight = 0.1
    setup = prepare(config, tmp_path, supernet_workdir=source)
    asked = []

    def score(setup, plan):
        evaluate, images = evaluator(setup, plan)
        return (lambda *given: asked.append(given[2]) or evaluate(*given)), images

    evaluator = supernet._evaluator
    monkeypatch.setattr(supernet, "_evaluator", score)
    network = load_supernet(setup)
    state = search_supernet(setup, network)
    with np.load(source / "search" / "search.npz") as saved:
        known = {tuple(row) for row in saved["architectures"].tolist()}
    new = {tuple(row) for part in asked for row in part.tolist()}
    assert new
    assert not new & known
    assert new | known >= {tuple(row) for row in state.architectures.tolist()}
    assert set(source.rglob("*")) - before <= set((source / "evaluations").iterdir())
    write_report(setup, network, state, "scarlet search", {})
    page = (tmp_path / "report.html").read_text()
    assert "None of the picked models has been retrained yet." in page
    assert "scarlet train_subnet --arch=" in page
    assert "No curve of the supernet" not in page
    assert f"tensorboard --logdir={source}" in page
    # Extended, it asks for nothing that it knows either.
    config.search.generations = 3
    asked.clear()
    setup = prepare(config, tmp_path, supernet_workdir=source)
    longer = search_supernet(setup, network)
    np.testing.assert_array_equal(longer.architectures[: len(state.born)], state.architectures)
    assert sum(map(len, asked)) <= len(longer.born) - len(state.born)


def test_a_supernet_of_another_space_is_refused(finished, images, tmp_path):
    config = small.config(images)
    config.space.kernels = (5,)
    setup = prepare(config, tmp_path, supernet_workdir=finished.workdir)
    with pytest.raises(InputError, match=r"space.kernels \(now \[5\], was \[3\]\)"):
        load_supernet(setup)


def test_scores_can_be_had_again(finished):
    result = json.loads((finished.workdir / "subnets/model-0/result.json").read_text())
    scores = evaluate_subnet(finished, "model-0")
    assert scores["accuracy"] == pytest.approx(result["test_accuracy"])
    front = json.loads((finished.workdir / "front.json").read_text())["front"]
    architectures = [np.array(model["architecture"], np.int32) for model in front]
    accuracies = evaluate_paths(finished, load_supernet(finished), architectures)
    np.testing.assert_allclose(accuracies, [model["accuracy"] for model in front])


def test_other_settings_are_refused_by_name(finished, images):
    changed = small.config(images)
    changed.supernet.learning_rate = 0.25
    changed.seed = 4
    changed.supernet.log_every = 1  # changes no weight, so it may differ
    setup = prepare(changed, finished.workdir)
    expected = re.escape("seed (now 4, was 0); supernet.learning_rate (now 0.25, was 0.05); ")
    with pytest.raises(InputError, match=expected):
        train_supernet(setup)


def flip(file):
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 16
    file.write_bytes(content)


def cut(file):
    file.write_bytes(file.read_bytes()[:50])


@pytest.fixture
def aftermath(monkeypatch):
    """What Orbax leaves behind, when a read fails, complains when it is collected: here."""
    monkeypatch.setattr(sys, "unraisablehook", lambda _: None)
    with warnings.catch_warnings(action="ignore", category=RuntimeWarning):  # never awaited
        yield
        for _ in range(3):
            gc.collect()


@pytest.mark.parametrize("damage", [flip, cut, Path.unlink])
def test_a_damaged_checkpoint_is_named_and_the_one_before_used(
    finished, images, tmp_path, caplog, damage, aftermath
):
    shutil.copytree(finished.workdir / "supernet", tmp_path / "supernet")
    setup = prepare(small.config(images), tmp_path)
    folder = tmp_path / "supernet" / checkpoint.DIRECTORY
    assert checkpoint.steps(folder) == [6, 4]
    for file in (folder / "6" / "state").rglob("d/*"):  # to some of them nothing may refer
        damage(file)
    with caplog.at_level(logging.WARNING, logger="absl"):
        with pytest.raises(InputError, match=r"has trained 4 of 6 steps"):
            load_supernet(setup)  # a reader, which leaves it as it is
        train_supernet(setup)
    assert f"{folder / '6'} is damaged and passed over" in caplog.text
    for ours, expected in zip(
        weights(tmp_path / "supernet")[1], weights(finished.workdir / "supernet")[1], strict=True
    ):
        np.testing.assert_array_equal(ours, expected)
    curve = "supernet/metrics.jsonl"
    assert (tmp_path / curve).read_bytes() == (finished.workdir / curve).read_bytes()


def test_no_checkpoint_that_is_whole_ends_the_job(finished, images, tmp_path):
    shutil.copytree(finished.workdir / "supernet", tmp_path / "supernet")
    folder = tmp_path / "supernet" / checkpoint.DIRECTORY
    for step in checkpoint.steps(folder):
        cut(folder / str(step) / "record" / "metadata")
    with pytest.raises(InputError, match=rf"no checkpoint of {folder} is whole; remove \[6, 4\]"):
        train_supernet(prepare(small.config(images), tmp_path))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ("rename", r"data.images.classes \(now \['bright', 'dark'\], was \['dark', 'light'\]\)"),
        ("swap", "data.images.train.sha256"),
        ("add", r"data.images.train.count \(now 27, was 25\)"),
    ],
)
def test_a_work_directory_does_not_answer_for_other_data(finished, images, tmp_path, change, named):
    folder = tmp_path / "images"
    shutil.copytree(images, folder)
    moved = prepare(small.config(folder), finished.workdir)
    assert load_supernet(moved)  # the same images in another folder
    for split in ("train", "test"):
        dark, light = folder / split / "dark", folder / split / "light"
        if change == "rename":
            light.rename(folder / split / "bright")
        elif change == "swap":
            dark.rename(folder / "aside")
            light.rename(dark)
            (folder / "aside").rename(light)
        elif split == "train":
            for number in range(2):
                small.Image.new("L", (8, 8)).save(light / f"more{number}.png")
    setup = prepare(small.config(folder), finished.workdir)
    before = (finished.workdir / "subnets/model-0/model.safetensors").read_bytes()
    for job in (load_supernet, lambda setup: run_pipeline(setup, "")):
        with pytest.raises(InputError, match=named):
            job(setup)
    with pytest.raises(InputError, match=named):
        evaluate_subnet(setup, "model-0")
    assert (finished.workdir / "subnets/model-0/model.safetensors").read_bytes() == before


def test_a_damaged_result_is_named_and_made_again(finished, images, tmp_path, caplog):
    shutil.copytree(finished.workdir, tmp_path / "run")
    setup = prepare(small.config(images), tmp_path / "run")
    result = tmp_path / "run" / "subnets" / "model-0" / "result.json"
    text = result.read_text()
    result.write_text(text.replace('"test_images": 10', '"test_images": 11'))
    with caplog.at_level(logging.WARNING, logger="absl"):
        run_pipeline(setup, "")
    assert f"{result} is damaged and passed over" in caplog.text
    assert result.read_text() == text


def test_a_full_disk_is_said_before_training_and_loses_nothing(
    finished, images, tmp_path, monkeypatch
):
    setup = prepare(small.config(images), tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
        with pytest.raises(OSError, match="No space left on device: a checkpoint needs") as caught:
            train_supernet(setup)
        assert caught.value.filename == str(tmp_path / "supernet" / checkpoint.DIRECTORY)
    train_supernet(setup)
    for ours, expected in zip(
        weights(tmp_path / "supernet")[1], weights(finished.workdir / "supernet")[1], strict=True
    ):
        np.testing.assert_array_equal(ours, expected)


def test_readers_leave_a_work_directory_as_it_is(finished, images, tmp_path):
    (tmp_path / "run").mkdir()
    setup = prepare(small.config(images), tmp_path / "run")
    saving = tmp_path / "run" / "supernet" / checkpoint.DIRECTORY / "2.orbax-checkpoint-tmp"
    saving.mkdir(parents=True)  # of a training that runs
    with pytest.raises(InputError):
        load_supernet(setup)
    with pytest.raises(InputError):
        evaluate_subnet(setup, "model-0")
    assert list(saving.parent.iterdir()) == [saving]
    before = {path: path.stat().st_mtime_ns for path in finished.workdir.rglob("*")}
    load_supernet(finished)
    evaluate_subnet(finished, "model-0")
    assert {path: path.stat().st_mtime_ns for path in finished.workdir.rglob("*")} == before


def test_one_writer_at_a_time(finished, images, tmp_path):
    code = (
        "import sys, pathlib; from scarlet_jax import lock\n"
        "with lock.hold(pathlib.Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    setup = prepare(small.config(images), tmp_path)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout.readline() == b"held\n"
        expected = rf"{tmp_path} is in use by process {other.pid} on .* since .*20\d\d; wait"
        with pytest.raises(InputError, match=expected):
            train_supernet(setup)
        other.kill()
    with lock.hold(tmp_path), lock.hold(tmp_path):  # what it left is no lock
        assert str(os.getpid()) in (tmp_path / lock.FILE_NAME).read_text()


def test_divergence_stops_with_advice(images, tmp_path):
    config = small.config(images)
    config.supernet.learning_rate = 1e30
    with pytest.raises(DivergedError, match=r"at step \d; .* lower learning_rate"):
        train_supernet(prepare(config, tmp_path))


def test_unfinished_or_absent_weights_are_said_so(finished, images, tmp_path):
    setup = prepare(small.config(images), tmp_path)
    with pytest.raises(InputError, match=r"no checkpoint in .* scarlet train_supernet"):
        load_supernet(setup)
    with pytest.raises(InputError, match=r"no trained subnet 'x' in .*; there are: none"):
        evaluate_subnet(setup, "x")
    with pytest.raises(InputError, match=r"no trained subnet 'x' in .*; there are: model-0"):
        evaluate_subnet(finished, "x")
    with pytest.raises(InputError, match=r"subnet name '\.\./x'; allowed: a plain folder name"):
        train_subnet(setup, np.zeros(4, np.int32), "../x")


NAMES = st.one_of(
    st.text(st.characters(), max_size=300),
    st.text(st.sampled_from("./\\ a\0\n\udcff"), max_size=4),
    st.integers(80, 130).map(lambda count: "ä€"[count % 2] * count),
)


@given(name=NAMES)
def test_a_subnet_is_a_folder_of_its_own_or_refused_in_a_line(name, tmp_path_factory):
    setup = SimpleNamespace(workdir=tmp_path_factory.mktemp("names"))
    try:
        directory = _subnet_directory(setup, name)
    except InputError as error:
        message = str(error)
        assert message.isprintable()
        assert len(message) < 200
    else:
        directory.mkdir(parents=True)
        assert [path.name for path in (setup.workdir / "subnets").iterdir()] == [name]


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "...", " ", "a/b", "/a", "a/", "a\\b", "a\0", "a\nb", "a\udcff", "ä" * 128],
)
def test_what_is_no_folders_name(name):
    with pytest.raises(
        InputError, match=r"subnet name .*; allowed: a plain folder name, printable"
    ):
        _subnet_directory(SimpleNamespace(workdir=Path("run")), name)


@pytest.mark.parametrize(
    ("section", "field", "value", "message"),
    [
        ("search.objectives.macs", "max", 1.0, "macs.max is 1, which no architecture"),
        ("search.objectives.macs", "weight", 0.7, "sum to 1.2"),
        ("search.objectives.energy", "table", "/nowhere", "/nowhere"),
        ("search", "statistics", "mean", "search.statistics is 'mean'"),
        ("supernet", "sampler", "fair", "supernet.sampler is 'fair'"),
        ("supernet", "batch_size", 9, "supernet.batch_size is 9"),
        ("model", "stabilizer", "els2", "model.stabilizer is 'els2'"),
        ("data", "num_classes", 3, "3"),
        ("data", "path", "/nowhere", "/nowhere"),
    ],
)
def test_bad_settings_end_before_any_work(images, tmp_path, section, field, value, message):
    config = small.config(images)
    functools.reduce(getattr, section.split("."), config)[field] = value
    with pytest.raises(InputError, match=message):
        prepare(config, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_without_validation_images_a_subnet_trains_on_all_and_a_supernet_not_at_all(
    images, tmp_path
):
    config = small.config(images)
    config.data.validation = 0.0
    setup = prepare(config, tmp_path)
    assert len(setup.splits.train) == 33  # with the broken one
    result = train_subnet(setup, np.array([0, 1, 0, 1], np.int32), "all")
    assert result["test_images"] == 10
    assert not any(name.startswith("validation") for name in result)
    for job in (train_supernet, load_supernet):
        with pytest.raises(InputError, match=r"data.validation is 0.0, which holds out no image"):
            job(setup)


@pytest.mark.parametrize("path", [[0, 1, 0, 1], [1, 0, 1, 1]])
def test_a_path_as_a_model_scores_as_in_the_search(finished, path):
    network, path = load_supernet(finished), np.array(path, np.int32)
    model = path_model(finished, network, path)
    section, unreadable = finished.config.data, data.Unreadable()
    (pixels, labels), *_ = exported_images.read(
        finished.splits.validation, section, 0, 100, unreadable
    )
    expected = right_images(finished, network)(path[np.newaxis])[0]
    np.testing.assert_array_equal(model(pixels).argmax(1) == labels, expected)
    half = dataclasses.replace(network.graphdef, dtype="bfloat16")
    exact = path_model(finished, network._replace(graphdef=half), path)
    np.testing.assert_array_equal(exact(pixels), model(pixels))  # whatever the supernet's dtype
    running = subnet.extract(finished.space, network, path)
    assert not np.array_equal(model(pixels), functional.apply(*running, pixels)[0])


def test_one_supernet_is_searched_with_another_seed_and_from_another_front(
    finished, images, tmp_path, caplog
):
    network = load_supernet(finished)
    config = small.config(images)
    config.search.update({"seed": 5, "start": str(finished.workdir)})
    setup = prepare(config, tmp_path, supernet_workdir=finished.workdir)
    state = search_supernet(setup, network)
    assert state.seed == 5
    front = json.loads((finished.workdir / "front.json").read_text())["front"]
    known = [model["architecture"] for model in front]
    assert state.architectures[: len(known)].tolist() == known
    problem = dataclasses.replace(setup.problem, start=((0, 0, 0, 0),) * 9)
    run_search._say_start(problem)
    assert "6 of 9 architectures of search.start are evaluated: 9 are within" in caplog.text
    config.search.start = str(tmp_path / "none")
    with pytest.raises(InputError, match=r"search.start is .*none, which cannot be read"):
        prepare(config, tmp_path)


def test_misspelt_settings_are_refused(images):
    with pytest.raises(AttributeError, match="population"):
        small.config(images).search.populaton = 3


def test_the_best_model_is_better_than_chance(finished):
    """The images are told apart by brightness alone: the scores must show it."""
    assert finished.splits.class_names == small.CLASSES
    results = [
        json.loads(path.read_text()) for path in finished.workdir.glob("subnets/*/result.json")
    ]
    assert max(result["test_accuracy"] for result in results) >= 0.8
