"""Samplers, losses, metrics files and progress: what needs no network."""

import io
import json
import math
import re
import sys
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import board_reader
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scarlet_jax import progress
from scarlet_jax.errors import InputError
from scarlet_jax.space import S1, S2, make_space
from scarlet_jax.train import losses, metrics, profile, sampler, window
from scarlet_jax.train.window import Window

# Layers of 1, 2, 3 and all 5 choices.
OWN = make_space(
    name="own",
    widths=(8, 8, 8, 8),
    strides=(1, 1, 1, 1),
    expansions=(2, 3),
    kernels=(3, 5),
    layer_choices=(("E3K5",), ("E2K5", "identity"), ("E2K3", "E3K3", "E3K5"), ()),
)


@partial(jax.jit, static_argnums=(0, 1))
def paths_of_steps(kind, space, seed, steps):
    """The paths of a run's steps `int32[S]`, `int32[S, Q, L]`."""
    key = jax.random.key(seed)
    return jax.vmap(lambda step: sampler.sample_paths(kind, space, key, step))(steps)


@given(st.integers(0, 2**31 - 1), st.integers(0, 2**31 - 1))
def test_strict_fairness_takes_every_choice_once_a_layer(seed, step):
    (paths,) = paths_of_steps("strict_fair", S2, seed, np.array([step], np.int32))
    assert paths.dtype == np.int32
    np.testing.assert_array_equal(np.sort(paths, axis=0), np.arange(13)[:, None].repeat(19, 1))


@given(st.integers(0, 2**31 - 1))
def test_a_layer_of_fewer_choices_takes_each_as_often_at_any_time(seed):
    paths = paths_of_steps("strict_fair", OWN, seed, np.arange(120, dtype=np.int32))
    assert paths.shape == (120, 5, 4)
    for layer, own in zip(paths.reshape(-1, 4).T, OWN.allowed, strict=True):
        counts = (layer[:, None] == np.flatnonzero(own)).cumsum(axis=0)  # [paths so far, choices]
        assert (counts.sum(axis=1) == np.arange(1, 601)).all()  # nothing but its own
        assert np.ptp(counts, axis=1).max() <= 1
        assert (counts[-1] == 600 // own.sum()).all()


@given(st.integers(0, 2**31 - 1), st.integers(0, 2**31 - 13))
def test_fairness_holds_to_the_last_step_that_can_be_counted(seed, first):
    """Every n paths from a multiple of n on are a permutation, also beyond what 32 bits hold."""
    steps = range(first, first + 12)
    paths = paths_of_steps("strict_fair", OWN, seed, np.array(steps, np.int32)).reshape(-1, 4)
    for layer, own in zip(paths.T, OWN.allowed, strict=True):
        n, number = own.sum(), 5 * first  # of the first path
        whole = layer[-number % n :]
        blocks = whole[: len(whole) // n * n].reshape(-1, n)
        np.testing.assert_array_equal(
            np.sort(blocks), np.tile(np.flatnonzero(own), (len(blocks), 1))
        )


def test_every_order_of_a_block_is_as_likely():
    paths = paths_of_steps("strict_fair", OWN, 0, np.arange(3600, dtype=np.int32))
    orders = np.asarray(paths)[..., 2].reshape(-1, 3)
    _, counts = np.unique(orders, axis=0, return_counts=True)
    assert len(counts) == 6
    assert np.abs(counts - 1000).max() < 5 * math.sqrt(1000)


def test_layers_and_steps_are_permuted_independently():
    paths = paths_of_steps("strict_fair", S1, 0, np.arange(2000, dtype=np.int32))
    # Two independent permutations of 7 agree at an index with probability 1 / 7.
    for one, other in ((paths[..., 0], paths[..., 1]), (paths[1:, :, 0], paths[:-1, :, 0])):
        assert abs((one == other).mean() - 1 / 7) < 5 * math.sqrt(1 / 7 * 6 / 7 / (2000 * 7))


def test_uniform_sampling_takes_one_path():
    paths = paths_of_steps("uniform", S2, 0, np.arange(2000, dtype=np.int32))
    assert paths.shape == (2000, 1, 19)
    counts = np.bincount(np.asarray(paths).ravel(), minlength=13)
    expected = 2000 * 19 / 13
    assert np.abs(counts - expected).max() < 5 * math.sqrt(expected)


def test_uniform_sampling_draws_among_each_layers_own():
    paths = paths_of_steps("uniform", OWN, 0, np.arange(3000, dtype=np.int32))
    for layer, own in zip(np.asarray(paths)[:, 0].T, OWN.allowed, strict=True):
        counts, expected = np.bincount(layer, minlength=5), 3000 / own.sum()
        assert (counts[~own] == 0).all()
        assert np.abs(counts[own] - expected).max() < 5 * math.sqrt(expected)


def test_as_many_paths_a_step_as_the_most_choices():
    fewer = replace(OWN, layers=OWN.layers[:3])
    assert sampler.paths_per_step("strict_fair", fewer) == 3
    assert sampler.paths_per_step("strict_fair", OWN) == 5
    assert sampler.paths_per_step("uniform", OWN) == 1


def test_unknown_sampler():
    with pytest.raises(InputError, match="sampler 'fair'; allowed: strict_fair, uniform"):
        sampler.paths_per_step("fair", S1)


def test_cross_entropy_by_hand():
    logits = np.array([[2.0, 0.0, -1.0]])
    log_probabilities = logits[0] - math.log(sum(math.exp(x) for x in logits[0]))
    target = np.array([0.1 / 3, 0.1 / 3, 0.9 + 0.1 / 3])
    loss = losses.cross_entropy(jnp.asarray(logits), jnp.array([2]), 0.1)
    np.testing.assert_allclose(loss, [-(target * log_probabilities).sum()], rtol=1e-6)
    np.testing.assert_array_equal(losses.correct(jnp.asarray(logits), jnp.array([0])), [1.0])


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.9])
def test_the_least_loss_is_that_of_logits_that_were_fitted(smoothing):
    least = losses.least_cross_entropy(5, smoothing)
    targets = np.full(5, smoothing / 5) + (1 - smoothing) * np.eye(5)[2]
    logits = np.log(np.maximum(targets, 1e-30), dtype=np.float32)  # softmax gives the targets
    fitted = losses.cross_entropy(jnp.asarray(logits[None]), jnp.array([2]), smoothing)
    np.testing.assert_allclose(least, fitted[0], atol=1e-6)
    others = np.random.default_rng(0).normal(logits, 0.1, (50, 5))
    assert (losses.cross_entropy(jnp.asarray(others), jnp.full(50, 2), smoothing) >= least).all()


def test_metrics_go_on_from_a_checkpoints_records(tmp_path):
    """What a killed run wrote after its last checkpoint is dropped, and written again."""
    records = [{"step": step, "loss": 1.0 / step} for step in (10, 20, 30)]
    with metrics.MetricsWriter(tmp_path, [], 0) as writer:
        for record in records:
            writer.write(record, {"images_per_second": 5.0})
    path = tmp_path / metrics.FILE_NAME
    with path.open("a") as file:
        file.write('{"step": 40, "lo')  # as a kill leaves it
    with metrics.MetricsWriter(tmp_path, records[:2], 20) as writer:
        writer.write({"step": 30, "loss": 5.0}, {"images_per_second": 5.0})
    expected = [*records[:2], {"step": 30, "loss": 5.0}]
    assert [json.loads(line) for line in path.read_text().splitlines()] == expected
    seen = board_reader.read(tmp_path)
    assert seen["loss"] == pytest.approx({10: 0.1, 20: 0.05, 30: 5.0})
    assert seen["images_per_second"] == {10: 5.0, 20: 5.0, 30: 5.0}


def test_a_window_goes_on_as_if_it_had_not_been_interrupted():
    steps = [{"loss": np.float32(value)} for value in (0.1, 0.7, 0.4)]
    whole, first = (Window(8, 1.0, jax.devices()) for _ in range(2))
    for step in steps:
        whole.add(step)
    first.add(steps[0])
    resumed = Window(8, 1.0, jax.devices(), json.loads(json.dumps(first.values())))
    for step in steps[1:]:
        resumed.add(step)
    assert resumed.summary()[0] == whole.summary()[0]
    assert whole.values() == []


def test_rates_of_a_window_by_hand(monkeypatch):
    """Four steps of 8 images in 10 seconds, of which 2 wait for images, and a pause of 5."""
    clock = iter([0.0, 1.0, 3.0, 4.0, 9.0, 15.0, 15.0])
    monkeypatch.setattr(window.time, "monotonic", lambda: next(clock))
    chips = [SimpleNamespace(device_kind="TPU v5 lite")] * 2
    own = Window(batch_size=8, macs=1e12, devices=chips)
    with own.waiting():
        pass
    with own.paused():
        pass
    for _ in range(4):
        own.add({"loss": np.float32(1)})
    assert own.summary() == (
        {"loss": 1.0},
        {
            "images_per_second": 3.2,
            "images_per_second_per_chip": 1.6,
            "data_wait_share": 0.2,
            "model_flops_utilization": pytest.approx(1.6e12 * 6 / 197e12),
        },
    )


def test_a_chip_whose_peak_is_not_known_has_no_utilisation():
    own = Window(8, 1.0, jax.devices())
    own.add({"loss": np.float32(1)})
    assert "model_flops_utilization" not in own.summary()[1]


@pytest.mark.parametrize("text", ["5", "5:5", "7:5", "0:5", "a:b", "1:-2", ":", "1.5:3"])
def test_steps_to_profile_that_are_none(text):
    with pytest.raises(InputError, match=f"--profile is '{text}'; allowed: steps from 1 on"):
        profile.parse(text)


def test_steps_to_profile():
    assert profile.parse("20:25") == range(20, 25)


def test_progress_in_a_log_has_rate_and_time_left(capsys, monkeypatch):
    clock = iter([0.0, 60.0, 62.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    with progress.Progress("supernet", 100, "step", start=10) as bar:
        bar.update(11)  # after a minute of compiling, which is no part of the rate
        bar.update(21, "loss 1.0")
    assert capsys.readouterr().out == "supernet: step 21/100, loss 1.0, 5 steps/s, 00:15 left\n"


def test_progress_tells_a_slow_rate_by_the_unit_and_none_of_the_first(capsys, monkeypatch):
    clock = iter([0.0, 60.0, 100.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    with progress.Progress("search", 21, "generation") as bar:
        bar.update(1, "10 evaluated")
        bar.update(3, "20 evaluated")
    assert capsys.readouterr().out.splitlines() == [
        "search: generation 1/21, 10 evaluated",
        "search: generation 3/21, 20 evaluated, 20 s/generation, 06:00 left",
    ]


def test_progress_on_a_terminal_is_a_bar_under_lines(monkeypatch, capsys):
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("COLUMNS", "80")
    detail = "439 evaluated, 90% feasible, hypervolume 0.812, best accuracy 0.947"
    with progress.Progress("search", 4, "generation", start=2) as bar:
        assert "search:  50%" in terminal.getvalue()
        bar.update(4, detail)
    text = terminal.getvalue()
    assert "search: 100%" in text
    assert "4/4" in text
    assert capsys.readouterr().out == f"search: generation 4/4, {detail}\n"
    assert max(len(line) for line in re.split(r"[\r\n]", text)) <= 80
