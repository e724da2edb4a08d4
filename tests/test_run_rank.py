"""How far a supernet is trusted: a sample is trained alone, as far as there is time."""

import dataclasses
import html
import itertools
import json
from types import SimpleNamespace

import jax
import numpy as np
import pytest
import small
from scipy import stats

from scarlet_jax import cost, search
from scarlet_jax.errors import InputError
from scarlet_jax.report.page import render
from scarlet_jax.run import rank
from scarlet_jax.run import search as run_search
from scarlet_jax.run.rank import by_macs, load_record, rank_supernet
from scarlet_jax.run.report import make_report, write_report
from scarlet_jax.run.search import undecided
from scarlet_jax.run.setup import prepare
from scarlet_jax.run.supernet import path_scorer, train_supernet


def small_setup(image_folder, workdir, **settings):
    config = small.config(image_folder)
    config.rank.update({"architectures": 3, "share": 0.5, **settings})
    return prepare(config, workdir)


@pytest.fixture(scope="module")
def trained(image_folder, tmp_path_factory):
    """A setup, its supernet, and what is known of its order."""
    setup = small_setup(image_folder, tmp_path_factory.mktemp("ranked"))
    network = train_supernet(setup)
    return setup, network, rank_supernet(setup, network)


def test_every_network_is_scored_and_trained_briefly(trained):
    setup, network, record = trained
    assert (record["steps"], record["images"]) == (3, 8)
    paths = np.array([own["architecture"] for own in record["networks"]], np.int32)
    assert len(np.unique(paths, axis=0)) == 3
    scores = [own["score"] for own in record["networks"]]
    np.testing.assert_allclose(scores, path_scorer(setup, network)(paths))
    folders = sorted((setup.workdir / "rank" / "subnets").iterdir())
    results = [json.loads((folder / "result.json").read_text()) for folder in folders]
    for name, value in {"steps": 3, "warmup_steps": 1, "ema_decay": 0.5}.items():
        assert {result["settings"]["subnet"][name] for result in results} == {value}
    assert {str(own["architecture"]): own["validation_accuracy"] for own in results} == {
        str(own["architecture"]): own["validation_accuracy"] for own in record["networks"]
    }
    tau = record["kendall_tau"]
    assert list(tau) == ["supernet's score", "MACs", "parameters", "layers that are no skip"]
    macs = cost.costs(setup.space, paths, setup.size)[:, 0]
    assert [own["macs"] for own in record["networks"]] == macs.tolist()
    alone = [own["validation_accuracy"] for own in record["networks"]]
    expected = stats.kendalltau(macs, alone).statistic if len(set(alone)) > 1 else None
    assert tau["MACs"]["tau"] == [pytest.approx(expected), None, None]


def test_candidates_are_within_all_bounds_and_spread_by_macs(image_folder, tmp_path):
    config = small.config(image_folder)
    config.space.update({"widths": (8,) * 5, "strides": (2, 1, 1, 1, 1), "kernels": (3, 5)})
    config.search.update({"population": 20})
    config.search.objectives.macs.max = 1.5e4
    config.search.objectives.accuracy.min = 0.5
    setup = prepare(config, tmp_path)
    every = rank._feasible(setup, lambda paths: (paths[:, 0] == 0) * 0.9)
    assert len(every) > 10
    assert (every[:, 0] == 0).all()  # the others score less than is allowed
    ordered = by_macs(setup, every)
    assert sorted(map(tuple, ordered.tolist())) == sorted(map(tuple, every.tolist()))
    macs = cost.costs(setup.space, ordered, setup.size)[:, 0]
    assert macs.max() <= 1.5e4
    for count in (2, 4, 8):  # the first of each of so many equal parts
        firsts = np.arange(count) * len(macs) // count
        np.testing.assert_array_equal(np.sort(macs[:count]), np.sort(macs)[firsts])
    assert by_macs(setup, every[:0]).shape == (0, 5)


def test_where_none_is_within_the_bounds_it_is_said(
    image_folder, tmp_path, trained, monkeypatch, capsys, caplog
):
    config = small.config(image_folder)
    config.search.objectives.accuracy.min = 0.5
    monkeypatch.setattr(rank, "kept_scorer", lambda *_: lambda paths: np.zeros(len(paths)))
    assert rank_supernet(prepare(config, tmp_path), trained[1]) is None
    assert "0 are within its bounds; rank.architectures is 24" in capsys.readouterr().out
    assert caplog.messages == ["0 networks trained alone, too few to compare"]


def test_candidates_are_those_that_the_search_begins_with(image_folder, tmp_path):
    config = small.config(image_folder)
    config.space.update({"widths": (8,) * 5, "strides": (2, 1, 1, 1, 1), "kernels": (3, 5)})
    config.search.seed = 7
    setup = prepare(config, tmp_path)
    first = search.ask(setup.problem, search.init(setup.problem, 7)).architectures
    drawn = rank._feasible(setup, lambda paths: np.ones(len(paths)))
    np.testing.assert_array_equal(drawn, first)


def test_without_time_nothing_is_begun_and_nothing_written(trained, image_folder, tmp_path, caplog):
    _, network, _ = trained
    setup = small_setup(image_folder, tmp_path)
    assert rank_supernet(setup, network, minutes=-1.0) is None
    assert "0 networks trained alone, too few to compare: run it again with" in caplog.text
    assert not (tmp_path / "rank.json").exists()
    assert not (tmp_path / "rank").exists()


def test_more_time_goes_on_and_trains_nothing_twice(trained, image_folder, tmp_path, monkeypatch):
    _, network, whole = trained
    setup = small_setup(image_folder, tmp_path)
    clock = itertools.count(0, 60)  # every look at it takes a minute
    monkeypatch.setattr(rank, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    begun, train = [], rank.train_subnet
    monkeypatch.setattr(rank, "train_subnet", lambda *a: begun.append(a[2]) or train(*a))
    # It begins at 0; the first training is from 1 to 2, the second would be from 3 to 4.
    first = rank_supernet(setup, network, minutes=3.5)
    assert first is None
    assert len(begun) == 1
    again = rank_supernet(setup, network, minutes=100)
    assert len(set(begun)) == len(begun) == 3
    assert again == whole
    # A smaller one has all that is trained, and begins nothing.
    fewer = small_setup(image_folder, tmp_path, architectures=2)
    assert rank_supernet(fewer, network)["networks"] == whole["networks"]
    assert len(begun) == 3


def test_what_cannot_be_written_is_told_before_any_training(trained, image_folder, tmp_path):
    _, network, _ = trained
    (tmp_path / "rank.json").mkdir()
    with pytest.raises(InputError, match=r"rank.json cannot be written"):
        rank_supernet(small_setup(image_folder, tmp_path), network)
    assert not (tmp_path / "rank").exists()


def test_the_page_shows_the_ranking_of_its_own_supernet_alone(trained, image_folder):
    setup, network, record = trained
    loaded = load_record(setup, network)
    assert loaded == json.loads(json.dumps(record)) | {"differing": ""}  # lists for tuples
    other = network._replace(params=jax.tree.map(lambda leaf: leaf + 1, network.params))
    assert load_record(setup, other) is None
    state = search.init(setup.problem, setup.config.seed)
    page = render(make_report(setup, state, "", {}, "", ranking=loaded))
    assert "3 networks within the search's bounds" in page
    assert "trained alone for 3 steps each" in page
    assert "8 validation images" in page
    assert ">supernet&#39;s score</th>" in page
    assert "<svg" in page.partition("How far the order can be trusted")[2]
    assert "with other settings" not in page
    without = render(make_report(setup, state, "", {}, ""))
    assert "has not been measured: scarlet rank does" in without


def test_the_page_says_by_which_other_settings_it_was_ranked(trained, image_folder):
    setup, network, _ = trained
    config = small.config(image_folder)
    config.rank.update({"architectures": 2, "share": 0.25})
    config.subnet.learning_rate = 0.5
    config.search.objectives.macs.max = 2e6
    now = prepare(config, setup.workdir)
    differing = load_record(now, network)["differing"]
    assert differing == (
        "rank.share (now 0.25, was 0.5); search.objectives.macs.max (now 2000000.0, was 1000000.0);"
        " subnet.learning_rate (now 0.5, was 0.05)"
    )
    state = search.init(now.problem, now.config.seed)
    page = render(make_report(now, state, "", {}, "", ranking=load_record(now, network)))
    assert f"Measured with other settings than those below: {differing}." in page


def test_picks_whose_order_is_not_known_are_named(
    trained, image_folder, tmp_path, monkeypatch, capsys, caplog
):
    """Two errors apart or less: 1/8 with an error of sqrt(1/8 * 7/8 / 8), but not 3/4."""
    _, network, _ = trained
    setup = small_setup(image_folder, tmp_path)
    setup = dataclasses.replace(setup, problem=dataclasses.replace(setup.problem, picks=3))
    batch = search.ask(setup.problem, search.init(setup.problem, seed=0))
    macs = setup.problem.computed_values(batch.architectures)[:, 1]
    state = search.tell(setup.problem, search.init(setup.problem, seed=0), batch, macs / macs.max())
    right = np.array([[1, 0, 0, 0, 0, 0, 0, 0], [0, 1, 1, 1, 1, 1, 1, 1], [1] * 8], bool)
    monkeypatch.setattr(run_search, "right_images", lambda *_: lambda picks: right[: len(picks)])
    line = (
        "which of model-2 and model-1 is better is not known: on the supernet they get 100.00% and "
        "87.50% of 8 images right, within 2 standard errors of the difference, 11.69% each"
    )
    assert undecided(setup, network, state) == [line]
    caplog.clear()
    write_report(setup, network, state, "scarlet search", {})
    assert line in caplog.messages
    assert line[1:] in html.unescape((tmp_path / "report.html").read_text())
    one = dataclasses.replace(setup, problem=dataclasses.replace(setup.problem, picks=1))
    assert undecided(one, network, state) == []
