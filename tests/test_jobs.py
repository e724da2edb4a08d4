"""Whole jobs on a tiny problem: interrupted, resumed, refused."""

import functools
import json
import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
import pytest
import small
from hypothesis import given
from hypothesis import strategies as st

from scarlet_jax import jobs, subnet, workspace
from scarlet_jax.errors import DivergedError, InputError
from scarlet_jax.nn import functional
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
    setup = workspace.prepare(small.config(images), tmp_path_factory.mktemp("finished"))
    jobs.run_pipeline(setup, command="python -m launch.pipeline")
    return setup


class Interrupted(Exception):
    pass


def weights(directory):
    """Every array of the latest checkpoint, bytes and all."""
    manager = checkpoint.Checkpoints(directory / "checkpoints", {})._manager
    step = manager.latest_step()
    with manager:
        state = manager.restore(
            step, args=checkpoint.ocp.args.Composite(state=checkpoint.ocp.args.StandardRestore())
        ).state
    return step, jax.tree.leaves(state)


def test_the_main_job_leaves_what_it_promises(finished):
    workdir = finished.workdir
    front = json.loads((workdir / "front.json").read_text())
    picked = [model for model in front["front"] if model["picked"]]
    assert 1 <= len(picked) <= 2
    page = (workdir / "report.html").read_text()
    for number, model in enumerate(picked):
        result = json.loads((workdir / f"subnets/model-{number}/result.json").read_text())
        assert result["architecture"] == model["architecture"]
        assert result["test_images"] == 10
        assert result["macs"] == model["macs"]
        assert ",".join(map(str, model["architecture"])) in page
    assert "broken.png" in page
    assert len(finished.unreadable) == 1
    records = metrics.read(workdir / "supernet")
    assert [record["step"] for record in records] == [2, 4, 6]
    assert "validation_accuracy" in records[-1]


def test_interrupted_and_resumed_equals_uninterrupted(finished, images, tmp_path, monkeypatch):
    """Stopped in the middle of each stage, after a checkpoint and before the next."""
    shard, calls = loop.devices.shard, []

    def stop_at_step_5(mesh, tree):
        calls.append(1)
        if len(calls) == 5:
            raise Interrupted
        return shard(mesh, tree)

    with monkeypatch.context() as patch:
        patch.setattr(loop.devices, "shard", stop_at_step_5)
        with pytest.raises(Interrupted):
            jobs.run_pipeline(workspace.prepare(small.config(images), tmp_path), "")
    assert weights(tmp_path / "supernet")[0] == 4
    jobs.run_pipeline(workspace.prepare(small.config(images), tmp_path), "")
    for part in ("supernet", "subnets/model-0"):
        step, ours = weights(tmp_path / part)
        expected_step, expected = weights(finished.workdir / part)
        assert step == expected_step == 6
        for a, b in zip(ours, expected, strict=True):
            np.testing.assert_array_equal(a, b)
    for name in ("front.json", "subnets/model-0/result.json"):
        assert (tmp_path / name).read_text() == (finished.workdir / name).read_text()


def test_a_finished_run_is_not_trained_again(finished, monkeypatch):
    def forbidden(*_):
        raise AssertionError("a step was taken")

    monkeypatch.setattr(loop.devices, "shard", forbidden)
    network = jobs.train_supernet(finished)
    loaded = jobs.load_supernet(finished)
    for a, b in zip(jax.tree.leaves(network), jax.tree.leaves(loaded), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_loaded_supernet_is_made_of_plain_arrays(finished):
    """So that any program takes them, whatever devices they were trained on."""
    network = jobs.load_supernet(finished)
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
    setup = workspace.prepare(config, tmp_path)
    asked = []

    def score(setup, plan):
        original = scorer(setup, plan)
        return lambda params, stats, paths: asked.append(paths) or original(params, stats, paths)

    scorer = jobs._population_scorer
    monkeypatch.setattr(jobs, "_population_scorer", score)
    network = jobs.load_supernet(setup, source)
    state = jobs.search_supernet(setup, network, source)
    with np.load(source / "search" / "search.npz") as saved:
        known = {tuple(row) for row in saved["architectures"].tolist()}
    new = {tuple(row) for part in asked for row in part.tolist()}
    assert not new & known
    assert new | known >= {tuple(row) for row in state.architectures.tolist()}
    assert set(source.rglob("*")) - before <= set((source / "evaluations").iterdir())
    jobs.write_report(setup, state, "python -m launch.search", {})
    assert "model-0" in (tmp_path / "report.html").read_text()
    # Extended, it asks for nothing that it knows either.
    config.search.generations = 3
    asked.clear()
    longer = jobs.search_supernet(workspace.prepare(config, tmp_path), network, source)
    np.testing.assert_array_equal(longer.architectures[: len(state.born)], state.architectures)
    assert sum(map(len, asked)) <= len(longer.born) - len(state.born)


def test_picks_of_a_longer_search_do_not_clash_with_those_before(finished):
    setup, result = (
        finished,
        json.loads((finished.workdir / "subnets/model-0/result.json").read_text()),
    )
    same = np.array(result["architecture"], np.int32)
    assert jobs._model_name(setup, 0, same) == "model-0"
    other = (same + 1) % setup.space.num_choices
    assert re.fullmatch("model-0-[0-9a-f]{6}", jobs._model_name(setup, 0, other))
    assert jobs._model_name(setup, 9, other) == "model-9"


def test_a_supernet_of_another_space_is_refused(finished, images, tmp_path):
    config = small.config(images)
    config.space.kernels = (5,)
    setup = workspace.prepare(config, tmp_path)
    with pytest.raises(InputError, match=r"space.kernels \(now \[5\], was \[3\]\)"):
        jobs.load_supernet(setup, finished.workdir)


def test_scores_can_be_had_again(finished):
    result = json.loads((finished.workdir / "subnets/model-0/result.json").read_text())
    scores = jobs.evaluate_subnet(finished, "model-0")
    assert scores["accuracy"] == pytest.approx(result["test_accuracy"])
    front = json.loads((finished.workdir / "front.json").read_text())["front"]
    architectures = [np.array(model["architecture"], np.int32) for model in front]
    accuracies = jobs.evaluate_paths(finished, jobs.load_supernet(finished), architectures)
    np.testing.assert_allclose(accuracies, [model["accuracy"] for model in front])


def test_other_settings_are_refused_by_name(finished, images):
    changed = small.config(images)
    changed.supernet.learning_rate = 0.25
    changed.seed = 4
    changed.supernet.log_every = 1  # changes no weight, so it may differ
    setup = workspace.prepare(changed, finished.workdir)
    expected = re.escape("seed (now 4, was 0); supernet.learning_rate (now 0.25, was 0.05); take")
    with pytest.raises(InputError, match=expected):
        jobs.train_supernet(setup)


def test_a_damaged_checkpoint_is_named(finished, images, tmp_path):
    shutil.copytree(finished.workdir, tmp_path / "copy")
    for file in (tmp_path / "copy" / "supernet" / "checkpoints" / "6").rglob("*"):
        if file.is_file() and file.stat().st_size > 100:
            file.write_bytes(file.read_bytes()[:50])
    setup = workspace.prepare(small.config(images), tmp_path / "copy")
    with pytest.raises(InputError, match=r"checkpoints/6 cannot be read .* go on from the one"):
        jobs.train_supernet(setup)


def test_divergence_stops_with_advice(images, tmp_path):
    config = small.config(images)
    config.supernet.learning_rate = 1e30
    with pytest.raises(DivergedError, match=r"at step \d; .* lower learning_rate"):
        jobs.train_supernet(workspace.prepare(config, tmp_path))


def test_unfinished_or_absent_weights_are_said_so(finished, images, tmp_path):
    setup = workspace.prepare(small.config(images), tmp_path)
    with pytest.raises(InputError, match=r"0 of 6 steps; .* launch\.train_supernet"):
        jobs.load_supernet(setup)
    with pytest.raises(InputError, match="no trained subnet 'x'; there are: none"):
        jobs.evaluate_subnet(setup, "x")
    with pytest.raises(InputError, match="no trained subnet 'x'; there are: model-0"):
        jobs.evaluate_subnet(finished, "x")
    with pytest.raises(InputError, match=r"subnet name '\.\./x'; allowed: a plain folder name"):
        jobs.train_subnet(setup, np.array([0, 0], np.int32), "../x")


NAMES = st.one_of(
    st.text(st.characters(), max_size=300),
    st.text(st.sampled_from("./\\ a\0\n\udcff"), max_size=4),
    st.integers(80, 130).map(lambda count: "ä€"[count % 2] * count),
)


@given(name=NAMES)
def test_a_subnet_is_a_folder_of_its_own_or_refused_in_a_line(name, tmp_path_factory):
    setup = SimpleNamespace(workdir=tmp_path_factory.mktemp("names"))
    try:
        directory = jobs._subnet_directory(setup, name)
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
        jobs._subnet_directory(SimpleNamespace(workdir=Path("run")), name)


@pytest.mark.parametrize(
    ("section", "field", "value", "message"),
    [
        ("search.objectives.macs", "max", 1.0, "macs.max is 1, which no architecture"),
        ("search.objectives.macs", "weight", 0.7, "sum to 1.2"),
        ("search", "latency_table", "/nowhere", "/nowhere"),
        ("search", "statistics", "mean", "statistics 'mean'"),
        ("supernet", "sampler", "fair", "sampler 'fair'"),
        ("supernet", "batch_size", 9, "supernet.batch_size is 9"),
        ("model", "stabilizer", "els2", "stabilizer 'els2'"),
        ("data", "num_classes", 3, "3"),
        ("data", "validation", 0.0, "data.validation is 0.0, which holds out no image"),
        ("data", "path", "/nowhere", "/nowhere"),
    ],
)
def test_bad_settings_end_before_any_work(images, tmp_path, section, field, value, message):
    config = small.config(images)
    functools.reduce(getattr, section.split("."), config)[field] = value
    with pytest.raises(InputError, match=message):
        workspace.prepare(config, tmp_path / "new")
    assert not (tmp_path / "new").exists()


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
