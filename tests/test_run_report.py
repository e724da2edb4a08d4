"""What a report tells of a work directory: nothing that is picked or trained is left out.

Results are written by hand, and scores are made up: nothing is trained.
"""

import dataclasses
import os
import re
import shlex
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import board_reader
import jax.numpy as jnp
import numpy as np
import pytest
import small
from launch_flags import flags_of

from scarlet_jax import cost, files, search
from scarlet_jax import space as spaces
from scarlet_jax.errors import InputError
from scarlet_jax.export import job as export
from scarlet_jax.report.page import render
from scarlet_jax.run import board
from scarlet_jax.run.report import make_report
from scarlet_jax.run.setup import prepare, training_settings
from scarlet_jax.run.subnet import RESULT, evaluate_subnet, model_name, results
from scarlet_jax.train import checkpoint
from scarlet_jax.train.step import TrainState

ROOT = Path(__file__).parent.parent
COMMAND = "scarlet search --config=c.py --workdir=w --resume"
RETRAIN = "scarlet train_subnet --config=c.py --workdir=w"
# By the number of blocks, which are equal: all of a front where more blocks are more accurate.
EARLY = [[0, 1, 0, 0, 0], [0, 1, 1, 0, 0], [0, 1, 1, 1, 0]]
LATE = [[0, 0, 0, 0, 1], [0, 0, 0, 1, 1], [0, 0, 1, 1, 1]]


@pytest.fixture
def setup(image_folder, tmp_path):
    config = small.config(image_folder)
    config.space.update({"widths": (8,) * 5, "strides": (2, 1, 1, 1, 1), "kernels": (3, 5)})
    config.search.update({"population": 8, "picks": 3})
    return prepare(config, tmp_path)


def searched(setup, architectures, accuracies=None):
    """A search that has evaluated just these architectures."""
    paths = np.array(architectures, np.int32)
    scores = np.linspace(0.5, 0.9, len(paths)) if accuracies is None else np.array(accuracies)
    state = search.init(setup.problem, seed=0)
    batch = search.ask(setup.problem, state)
    origin = np.zeros(len(paths), np.int8)
    batch = dataclasses.replace(batch, architectures=paths, origin=origin)
    columns = np.stack([scores] * len(setup.problem.evaluated), axis=1)
    return search.tell(setup.problem, state, batch, columns)


def write_result(setup, name, path, **fields):
    """As training leaves it, but for the weights."""
    directory = setup.workdir / "subnets" / name
    directory.mkdir(parents=True)
    result = {
        "name": name,
        "architecture": path,
        "settings": training_settings(setup, "subnet", {"architecture": path}),
        "blocks": spaces.to_names(setup.space, path),
        "validation_accuracy": 0.8,
        "test_accuracy": 0.75,
        "test_images": 10,
        **fields,
    }
    files.write_signed(directory / RESULT, result)


def report_of(setup, state):
    return make_report(setup, state, COMMAND, {}, RETRAIN)


def test_a_longer_search_forgets_nothing_that_is_trained(setup):
    for number, architecture in enumerate(EARLY):
        write_result(setup, f"model-{number}", architecture)
    write_result(setup, "best", [0] * 5, validation_accuracy=0.9)
    longer = searched(setup, EARLY + LATE, [0.5, 0.6, 0.7, 0.55, 0.65, 0.75])
    report = report_of(setup, longer)
    picks, others = report.models[:3], report.models[3:]
    assert [model.architecture for model in picks] == LATE
    assert [model.index for model in picks] == [3, 4, 5]
    assert [model.name for model in others] == ["best", "model-0", "model-1", "model-2"]
    assert [model.index for model in others] == [None, 0, 1, 2]
    for model in report.models:
        assert model.is_picked == (model in picks)
        assert model.is_trained == (model in others)
    lines = [
        f"{RETRAIN} --arch={spaces.to_text(model.architecture)} --name={model.name}"
        for model in picks
    ]
    assert report.retrain == [*lines, COMMAND]
    page = render(report)
    assert "<b>best</b> is the best of 4 trained models, chosen by validation accuracy" in page
    assert "\n".join(report.retrain) in page
    assert all(f"{model.name}</h3>" in page for model in report.models)


def test_once_all_is_trained_there_is_nothing_to_run(setup):
    for number, architecture in enumerate(EARLY):
        write_result(setup, f"model-{number}", architecture)
    report = report_of(setup, searched(setup, EARLY))
    assert [model.name for model in report.models] == ["model-0", "model-1", "model-2"]
    assert report.retrain == []


def test_commands_to_copy_are_of_the_best_model_and_have_flags_that_there_are(setup):
    assert [command.text for command in report_of(setup, searched(setup, EARLY)).commands] == [
        COMMAND,
        f"tensorboard --logdir={setup.workdir}",
    ]
    workdir = setup.workdir / "a run"
    setup = dataclasses.replace(setup, workdir=workdir, supernet_workdir=workdir)
    write_result(setup, "model-0", EARLY[0])
    write_result(setup, "model-1", EARLY[1], validation_accuracy=0.9)
    first, load, *launched, board = report_of(setup, searched(setup, EARLY)).commands
    assert (first.text, board.text) == (COMMAND, f"tensorboard '--logdir={workdir}'")
    assert f'models.load("{workdir}/subnets/model-1")' in load.text.replace("'", '"')
    assert [command.text.split()[1] for command in launched] == ["predict", "export"]
    for command in launched:
        _, name, *arguments = shlex.split(command.text)
        given = dict(argument.removeprefix("--").split("=") for argument in arguments)
        defined, required = flags_of(name)
        assert required <= given.keys() <= defined
        assert given["weights"] == f"{workdir}/subnets/model-1"
        assert given.get("format", "onnx") in export.FORMATS


def test_the_page_has_the_date_of_the_latest_result_however_often_it_is_written(setup):
    assert report_of(setup, searched(setup, EARLY)).date == ""
    for part, hour in (("supernet/checkpoints/6", 9), ("search/search.npz", 11)):
        path = setup.workdir / part
        path.parent.mkdir(parents=True)
        path.touch()
        seconds = datetime(2026, 11, 27, hour, tzinfo=UTC).timestamp()
        os.utime(path, (seconds, seconds))
    assert report_of(setup, searched(setup, EARLY)).date == "2026-11-27 11:00 UTC"


def test_settings_are_told_beside_their_defaults(setup):
    own = {
        setting.name: setting[1:] for setting in report_of(setup, searched(setup, EARLY)).settings
    }
    assert own["search.population"] == ("8", "0")
    assert own["space.strides"][0] == "(2, 1, 1, 1, 1)"
    assert own["supernet.optimizer.name"] == ("'sgd'", "'sgd'")
    setup.config.unlock()
    setup.config.subnet.optimizer = {"name": "adamw", "kwargs": {"b1": 0.8}}
    own = {
        setting.name: setting[1:] for setting in report_of(setup, searched(setup, EARLY)).settings
    }
    assert own["subnet.optimizer.kwargs.b1"] == ("0.8", "–")
    assert own["subnet.optimizer.kwargs.momentum"] == ("–", "0.9")


def test_tensorboard_has_every_generation_once_after_a_kill_too(setup, tmp_path):
    directory = tmp_path / "search"
    setup.config.unlock()
    problem = dataclasses.replace(setup.problem, generations=8)
    setup = dataclasses.replace(setup, problem=problem)

    def run(stop_after):
        """Until a generation was saved, and not told."""

        def on_generation(state):
            if state.generation == stop_after:
                raise KeyboardInterrupt
            board.tell(events, problem, state)

        arguments = {"seed": 0, "directory": directory, "context": {}}
        begun = search.load(problem, **arguments)
        with board.begin(setup, begun, directory) as events, suppress(KeyboardInterrupt):
            score = lambda paths: 0.5 + paths.sum(axis=1) / 100  # noqa: E731
            state = search.run(problem, score, on_generation=on_generation, **arguments)
            board.show(events, problem, state)
            return state
        return None

    assert run(stop_after=1) is run(stop_after=5) is None
    state = run(stop_after=99)
    seen = board_reader.read(directory)
    assert list(seen["hypervolume"]) == list(seen["front_size"]) == list(range(9))
    assert seen["hypervolume"][8] == pytest.approx(search.hypervolume(problem, state))
    assert seen["evaluations"][8] == state.evaluations
    assert seen["best_accuracy"][8] == pytest.approx(state.values[:, 0].max())
    assert list(seen["front"]) == [0, 2, 4, 6, 8]
    assert all(picture.shape == (470, 600, 3) for picture in seen["front"].values())
    (told,) = seen["_hparams_/session_start_info"].values()
    assert b"search.mutation_ratio" in told


def test_a_pick_keeps_its_trained_model_whatever_its_number_is_now(setup):
    first, second, third = np.array(EARLY, np.int32)
    write_result(setup, "model-0", second.tolist())
    assert model_name(setup, 1, second) == "model-0"
    assert re.fullmatch("model-0-[0-9a-f]{6}", model_name(setup, 0, first))
    assert model_name(setup, 2, third) == "model-2"
    report = report_of(setup, searched(setup, EARLY))
    assert [model.is_trained for model in report.models] == [False, True, False]
    write_result(setup, "model-1", second.tolist())
    assert model_name(setup, 1, second) == "model-1"


def test_a_pick_that_a_user_trained_is_trained_and_the_main_job_trains_its_own(setup):
    """The user's may be of other settings, with which the main job could not go on."""
    write_result(setup, "mine", EARLY[0])
    report = report_of(setup, searched(setup, EARLY))
    assert [model.name for model in report.models] == ["mine", "model-1", "model-2"]
    assert [model.is_picked for model in report.models] == [True] * 3
    assert len(report.retrain) == 3
    assert model_name(setup, 0, np.array(EARLY[0], np.int32)) == "model-0"


def test_of_a_model_outside_of_the_history_all_is_told_that_can_be_computed(setup):
    accuracy, macs = setup.problem.objectives
    objectives = (
        accuracy,
        search.Objective("latency", "min", compute=lambda paths: paths.sum(axis=1) / 4),
        dataclasses.replace(macs, weight=0.0),
        search.Objective("robustness", "max", weight=0.5),
    )
    problem = dataclasses.replace(setup.problem, objectives=objectives)
    setup = dataclasses.replace(setup, problem=problem)
    state = searched(setup, EARLY)
    write_result(setup, "outside", LATE[2])
    *inside, outside = report_of(setup, state).models
    macs, params = cost.costs(setup.space, np.array(LATE[2]), setup.size)
    computed = {"latency": 0.75, "macs": macs, "params": params}
    unknown = {"accuracy": np.nan, "robustness": np.nan}
    assert outside.values == pytest.approx({**computed, **unknown}, nan_ok=True)
    assert list(outside.values) == [*problem.names, "params"]
    for model, row in zip(inside, state.values, strict=True):
        assert list(model.values.values())[:4] == row.tolist()


def test_a_search_by_latency_shows_latency(setup):
    section = setup.config.search
    section.objectives.update({"macs": {"goal": "none", "weight": 0.0, "max": np.inf}})
    section.objectives.update({"latency": {"goal": "min", "weight": 0.5}})
    section.pick_by = "latency"
    macs = cost.tables(setup.space, setup.size).macs
    table = dataclasses.replace(
        macs, stem=1.0, layers=macs.layers * 1e-3, head=macs.head * 0.0, unit="us"
    )
    objectives = search.built_in(setup.space, section.objectives, setup.size, {"latency": table})
    problem = search.make_problem(setup.space.allowed, objectives, section)
    setup = dataclasses.replace(setup, problem=problem)
    state = searched(setup, EARLY)
    write_result(setup, "outside", LATE[2])
    page = render(report_of(setup, state))
    *inside, took = [
        f"{value:.3g}\u202fus" for value in table(np.array([*EARLY, LATE[2]], np.int32))
    ]
    assert f"<dt>latency</dt><dd>{took}</dd>" in page
    assert f"runs in {took}" in page
    assert re.findall(r"<span>latency <b>(.*?)</b>", page) == [*inside, took]  # the cards


def test_counts_are_those_of_the_network_that_was_trained(setup):
    write_result(setup, "folded", LATE[0], macs=123_456, params=7_890, skip="folded")
    model = report_of(setup, searched(setup, EARLY)).models[-1]
    assert (model.values["macs"], model.values["params"]) == (123_456, 7_890)


@pytest.mark.parametrize(
    ("section", "field", "value"),
    [("space", "kernels", (5, 3)), ("space", "widths", (8,)), ("data", "image_size", 9)],
)
def test_subnets_of_another_space_or_other_data_are_named_and_not_shown(
    setup, section, field, value
):
    settings = training_settings(setup, "subnet", {"architecture": LATE[0]})
    settings[section] = {**settings[section], field: value}
    write_result(setup, "other", LATE[0], settings=settings)
    report = report_of(setup, searched(setup, EARLY))
    assert "other" not in [model.name for model in report.models]
    assert report.notes == ["Subnets of another space or other data are not shown: other"]


def test_a_pick_does_not_take_the_name_of_a_training_that_was_not_finished(setup):
    folder = setup.workdir / "subnets" / "model-0" / checkpoint.DIRECTORY
    folder.mkdir(parents=True)  # killed before its first checkpoint
    assert model_name(setup, 0, np.array(EARLY[0], np.int32)) == "model-0"
    settings = training_settings(setup, "subnet", {"architecture": LATE[0]})
    state = TrainState(jnp.int32(2), jnp.zeros(2), None, None, None)
    with checkpoint.Writer(folder, settings, keep=1) as writer:
        writer.save(checkpoint.Progress(state))
    assert model_name(setup, 0, np.array(LATE[0], np.int32)) == "model-0"
    other = model_name(setup, 0, np.array(EARLY[0], np.int32))
    assert re.fullmatch("model-0-[0-9a-f]{6}", other)


def test_results_are_by_name(setup):
    assert results(setup.workdir) == {}
    for name in ("b", "a"):
        write_result(setup, name, LATE[0])
    assert [(k, v["name"]) for k, v in results(setup.workdir).items()] == [
        ("a", "a"),
        ("b", "b"),
    ]
    with pytest.raises(InputError, match=r"no trained subnet 'x' in .*; there are: a, b"):
        evaluate_subnet(setup, "x")
