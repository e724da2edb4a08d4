"""How far a supernet is trusted: a sample is trained alone, as far as there is time."""

import dataclasses
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
from scarlet_jax.run.rank import load_record, rank_supernet, stratified_sample
from scarlet_jax.run.report import make_report
from scarlet_jax.run.search import search_supernet, undecided
from scarlet_jax.run.setup import prepare
from scarlet_jax.run.supernet import path_scorer, right_images, train_supernet


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    small.write_images(folder)
    return folder


def small_setup(images, workdir, **settings):
    config = small.config(images)
    config.rank.update({"architectures": 3, "share": 0.5, **settings})
    return prepare(config, workdir)


@pytest.fixture(scope="module")
def trained(images, tmp_path_factory):
    """A setup, its supernet, and what is known of its order."""
    setup = small_setup(images, tmp_path_factory.mktemp("ranked"))
    network = train_supernet(setup)
    return setup, network, rank_supernet(setup, network)


def test_every_network_is_scored_and_trained_briefly(trained):
    setup, network, record = trained
    assert (record["sample"], record["steps"], record["images"]) == (3, 3, 8)
    sample = stratified_sample(setup)
    assert [own["architecture"] for own in record["networks"]] == sample.tolist()
    scores = [own["score"] for own in record["networks"]]
    np.testing.assert_allclose(scores, path_scorer(setup, network)(sample))
    folders = sorted((setup.workdir / "rank" / "subnets").iterdir())
    results = [json.loads((folder / "result.json").read_text()) for folder in folders]
    assert {result["settings"]["subnet"]["steps"] for result in results} == {3}
    assert {result["settings"]["subnet"]["warmup_steps"] for result in results} == {1}
    accuracy = {str(r["architecture"]): r["validation_accuracy"] for r in results}
    assert accuracy == {
        str(own["architecture"]): own["validation_accuracy"] for own in record["networks"]
    }
    tau = record["kendall_tau"]
    assert list(tau) == ["supernet's score", "MACs", "parameters", "layers that are no skip"]
    macs = cost.costs(setup.space, sample, setup.size)[:, 0]
    assert [own["macs"] for own in record["networks"]] == macs.tolist()
    alone = [own["validation_accuracy"] for own in record["networks"]]
    expected = stats.kendalltau(macs, alone).statistic if len(set(alone)) > 1 else None
    assert tau["MACs"][0] == pytest.approx(expected)


def test_the_sample_is_of_all_sizes_and_within_the_bounds(images, tmp_path):
    config = small.config(images)
    config.space.update({"widths": (8,) * 5, "strides": (2, 1, 1, 1, 1), "kernels": (3, 5)})
    config.search.update({"population": 20})
    config.search.objectives.macs.max = 1.5e4
    config.rank.architectures = 10
    setup = prepare(config, tmp_path)
    sample = stratified_sample(setup)
    macs = cost.costs(setup.space, sample, setup.size)[:, 0]
    assert len(sample) == len({tuple(path) for path in sample.tolist()}) == 10
    assert macs.max() <= 1.5e4
    every = search.ask(setup.problem, search.init(setup.problem, 0)).architectures
    groups = np.array_split(np.sort(cost.costs(setup.space, every, setup.size)[:, 0]), 10)
    for own, group in zip(np.sort(macs), groups, strict=True):
        assert group[0] <= own <= group[-1]
    assert (np.diff(macs) < 0).any()  # in an order that says nothing of their size
    np.testing.assert_array_equal(sample, stratified_sample(setup))


def test_without_time_nothing_is_begun_and_nothing_written(trained, images, tmp_path):
    _, network, _ = trained
    setup = small_setup(images, tmp_path)
    assert rank_supernet(setup, network, minutes=0.0) is None
    assert not (tmp_path / "rank.json").exists()
    assert not (tmp_path / "rank").exists()


def test_more_time_goes_on_and_trains_nothing_twice(trained, images, tmp_path, monkeypatch):
    _, network, whole = trained
    setup = small_setup(images, tmp_path)
    clock = itertools.count(0, 60)  # every look at it takes a minute
    monkeypatch.setattr(rank, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    begun, train = [], rank.train_subnet
    monkeypatch.setattr(rank, "train_subnet", lambda *a: begun.append(a[2]) or train(*a))
    first = rank_supernet(setup, network, minutes=4.2)
    assert len(first["networks"]) == len(begun) == 2
    again = rank_supernet(setup, network, minutes=4.2)
    assert len(set(begun)) == len(begun) == 3
    assert again == whole


def test_a_longer_training_is_another_one(trained, images):
    setup, network, _ = trained
    longer = small_setup(images, setup.workdir, share=1.0)
    with pytest.raises(InputError, match=r"subnet.steps \(now 6, was 3\)"):
        rank_supernet(longer, network)


def test_the_page_shows_the_ranking_of_its_own_supernet_alone(trained):
    setup, network, record = trained
    assert load_record(setup, network) == json.loads(json.dumps(record))  # lists for tuples
    other = network._replace(params=jax.tree.map(lambda leaf: leaf + 1, network.params))
    assert load_record(setup, other) is None
    state = search.init(setup.problem, setup.config.seed)
    page = render(make_report(setup, state, "", {}, "", ranking=record))
    assert "3 networks, drawn from" in page
    assert "trained alone for 3 steps each" in page
    assert "8 validation images" in page
    assert ">supernet&#39;s score</th>" in page
    assert "<svg" in page.partition("How far the order can be trusted")[2]
    without = render(make_report(setup, state, "", {}, ""))
    assert "has not been measured: launch.rank does" in without


def test_picks_whose_order_is_not_known_are_named(trained, images, tmp_path, caplog):
    """8 images leave an error of a tenth or more."""
    _, network, _ = trained
    setup = small_setup(images, tmp_path)
    caplog.clear()
    state = search_supernet(setup, network)
    told = [record.getMessage() for record in caplog.records]
    picks = state.architectures[search.pick_indices(setup.problem, state)]
    right = right_images(setup, network)(picks).astype(float)
    order = np.argsort(-right.mean(axis=1), kind="stable")
    expected = 0
    for a, b in itertools.pairwise(order):
        gap = right[a] - right[b]
        expected += gap.mean() <= gap.std() / 8**0.5
    lines = undecided(setup, network, state)
    assert len(lines) == expected
    assert [line for line in told if "is better is not known" in line] == lines
    one = dataclasses.replace(setup, problem=dataclasses.replace(setup.problem, picks=1))
    assert undecided(one, network, state) == []
