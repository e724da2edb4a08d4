"""Samplers, losses, metrics files and progress: what needs no network."""

import io
import json
import math
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scarlet_jax import progress
from scarlet_jax.errors import InputError
from scarlet_jax.space import S1, S2
from scarlet_jax.train import loop, losses, metrics, sampler


@given(st.integers(0, 2**31 - 1))
def test_strict_fairness_takes_every_choice_once_a_layer(seed):
    paths = sampler.sample_paths("strict_fair", S2, jax.random.key(seed))
    assert paths.shape == (13, 19)
    np.testing.assert_array_equal(np.sort(paths, axis=0), np.arange(13)[:, None].repeat(19, 1))


def test_layers_are_permuted_independently():
    keys = jax.random.split(jax.random.key(0), 2000)
    paths = jax.vmap(lambda key: sampler.sample_paths("strict_fair", S1, key))(keys)
    agree = (paths[:, :, 0] == paths[:, :, 1]).mean()
    # Two independent permutations of 7 agree at a place with probability 1 / 7.
    assert abs(agree - 1 / 7) < 5 * math.sqrt(1 / 7 * 6 / 7 / (2000 * 7))


def test_uniform_sampling_takes_one_path():
    keys = jax.random.split(jax.random.key(0), 2000)
    paths = jax.vmap(lambda key: sampler.sample_paths("uniform", S2, key))(keys)
    assert paths.shape == (2000, 1, 19)
    counts = np.bincount(np.asarray(paths).ravel(), minlength=13)
    expected = 2000 * 19 / 13
    assert np.abs(counts - expected).max() < 5 * math.sqrt(expected)


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


def test_metrics_go_on_from_a_checkpoints_records(tmp_path):
    """What a killed run wrote after its last checkpoint is dropped, and written again."""
    records = [{"step": step, "loss": 1.0 / step} for step in (10, 20, 30)]
    with metrics.MetricsWriter(tmp_path, [], 0) as writer:
        for record in records:
            writer.write(record, rate=5.0)
    path = tmp_path / metrics.FILE_NAME
    with path.open("a") as file:
        file.write('{"step": 40, "lo')  # as a kill leaves it
    with metrics.MetricsWriter(tmp_path, records[:2], 20) as writer:
        writer.write({"step": 30, "loss": 5.0}, rate=5.0)
    expected = [*records[:2], {"step": 30, "loss": 5.0}]
    assert [json.loads(line) for line in path.read_text().splitlines()] == expected
    assert any("tfevents" in path.name for path in tmp_path.iterdir())


def test_a_window_goes_on_as_if_it_had_not_been_interrupted():
    steps = [{"loss": np.float32(value)} for value in (0.1, 0.7, 0.4)]
    whole, first = loop.Window(8), loop.Window(8)
    for step in steps:
        whole.add(step)
    first.add(steps[0])
    resumed = loop.Window(8, json.loads(json.dumps(first.values())))
    for step in steps[1:]:
        resumed.add(step)
    assert resumed.summary()[0] == whole.summary()[0]
    assert whole.values() == []


def test_progress_in_a_log_has_rate_and_time_left(capsys, monkeypatch):
    clock = iter([0.0, 60.0, 62.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    with progress.Progress("supernet", 100, "step", start=10) as bar:
        bar.update(11)  # after a minute of compiling, which is no part of the rate
        bar.update(21, "loss 1.0")
    assert capsys.readouterr().out == "supernet: step 21/100, loss 1.0, 5 steps/s, 00:15 left\n"


def test_progress_on_a_terminal_is_a_bar(monkeypatch):
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    monkeypatch.setattr(sys, "stderr", terminal)
    with progress.Progress("search", 4, "generation") as bar:
        bar.update(4, "front of 7")
    assert "search: 100%" in terminal.getvalue()
    assert "4/4" in terminal.getvalue()
