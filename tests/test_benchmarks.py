"""The peer of the benchmarks is the same network, and their ratios are what they say."""

import json
import subprocess
from dataclasses import replace

import numpy as np
import pytest

from benchmarks import offspring, speed
from benchmarks.measure import OURS, TORCH, TORCH_SAME, Setup, Work, set_up
from benchmarks.search_peers import POPULATION
from scarlet_jax import release, subnet
from scarlet_jax import space as spaces
from scarlet_jax.blocks import InvertedBottleneckChoice
from scarlet_jax.configs import base

MODULES = {theirs: ours for ours, theirs in release.MODULES.items()}
BLOCK_MODULES = {theirs: ours for ours, theirs in release.BLOCK_MODULES.items()}


def to_torch(values, shape):
    """Our kernel `[k, k, in, out]`, or with fewer axes, as PyTorch's `[out, in, k, k]`."""
    if len(shape) == 1:
        return values
    order = (*range(2, len(shape)), 1, 0)
    return values.reshape([shape[axis] for axis in order]).transpose(np.argsort(order))


def release_path(name):
    """Where an array of the PyTorch supernet is in our stand-alone network."""
    module, leaf = name.rsplit(".", 1)
    leaf = leaf.removeprefix("running_")
    if not module.startswith("mb_module."):
        return (*MODULES[module].split("."), leaf)
    _, layer, _, *part = module.split(".", 3)
    return ("blocks", int(layer), *(BLOCK_MODULES[part[0]].split(".") if part else ()), leaf)


def load_path(module, network, path):
    """Gives the PyTorch supernet the weights of a path of ours."""
    import torch

    state = module.state_dict()
    for name, tensor in state.items():
        parts = name.split(".")
        shared = parts[0] != "mb_module"
        if name.endswith("num_batches_tracked") or not (
            shared or path[int(parts[1])] == int(parts[2])
        ):
            continue
        *keys, leaf = release_path(name)
        found = network.stats if leaf in ("mean", "var") else network.params
        for key in keys:
            found = found[key]
        ours = found["kernel" if tensor.ndim > 1 else "scale" if leaf == "weight" else leaf]
        tensor.copy_(torch.from_numpy(to_torch(np.array(ours), tuple(tensor.shape))))


def is_known_to_the_peer(choice):
    return choice.is_skip or isinstance(choice, InvertedBottleneckChoice)


# A widening skip, both expansions, squeeze-and-excitation, a residual skip.
@pytest.mark.parametrize("path", [[9, 7, 9], [2, 9, 5]])
@pytest.mark.parametrize("tiny_supernet", ["els"], indirect=True)
def test_the_peer_gives_the_logits_of_our_supernet(tiny, tiny_supernet, forward, images, path):
    torch = pytest.importorskip("torch")
    from benchmarks import torch_supernet

    known = [n for n, choice in enumerate(tiny.choices) if is_known_to_the_peer(choice)]
    space = replace(tiny, choices=tuple(tiny.choices[n] for n in known))
    module, own = torch_supernet.Supernet(space, num_classes=5).eval(), [*map(known.index, path)]
    load_path(module, subnet.extract(tiny, tiny_supernet, path), own)
    with torch.no_grad():
        theirs = module(torch.from_numpy(images.transpose(0, 3, 1, 2)), own).numpy()
    ours = forward(tiny_supernet.params, tiny_supernet.stats, images, np.array(path, np.int32))
    np.testing.assert_allclose(ours, theirs, atol=1e-5 * np.abs(theirs).max())


@pytest.mark.parametrize(("kind", "trained"), [("score", 0), ("train", 1), ("strict_fair", 9)])
def test_the_peer_trains_the_paths_and_nothing_else(tiny, monkeypatch, kind, trained):
    """Blocks off the path get no gradient, so momentum and decay leave them alone."""
    torch = pytest.importorskip("torch")
    from benchmarks import torch_supernet

    space = replace(tiny, choices=tuple(filter(is_known_to_the_peer, tiny.choices)))
    made = []
    monkeypatch.setattr(
        torch_supernet,
        "Supernet",
        lambda *args, create=torch_supernet.Supernet: made.append(create(*args)) or made[0],
    )
    threads = torch.get_num_threads()
    setup = Setup(base.get_config(), space, np.array([0, 8, 5], np.int32), 5, 3, 0.9)
    call = torch_supernet.prepare(Work(kind, 1, image_size=8, batch_size=2, cores=threads), setup)
    before = [[p.detach().clone() for p in block.parameters()] for block in made[0].mb_module[0]]
    call()
    changed = [
        any((old != new).any() for old, new in zip(block, choice.parameters(), strict=True))
        for block, choice in zip(before, made[0].mb_module[0], strict=True)
    ]
    assert sum(changed) == trained
    assert trained != 1 or changed[0]


def test_fair_paths_take_every_choice_once():
    torch_supernet = pytest.importorskip("benchmarks.torch_supernet")
    paths = np.array(torch_supernet.fair_paths(13, 19))
    assert paths.shape == (13, 19)
    np.testing.assert_array_equal(np.sort(paths, axis=0), np.arange(13)[:, None].repeat(19, 1))


def test_offspring_are_those_of_a_late_generation():
    setup = set_up("cifar10")
    found = offspring.search(setup)
    assert found.shape == (POPULATION, 19)
    assert len(np.unique(found, axis=0)) == len(found)
    drawn = spaces.sample(setup.space, np.random.default_rng(0), len(found))
    # A search that has come so far repeats itself; a random population does not.
    assert len(np.unique(found[:, :5], axis=0)) < 0.6 * len(np.unique(drawn[:, :5], axis=0))


def measurement(seconds, first=9.0, peak=2.0):
    return {
        "seconds": seconds,
        "first_seconds": [first],
        "start_seconds": [first + 1],
        "peak_gb": [peak],
    }


MEMORY = speed.Row("memory", "peak memory", "peak_gb", speed.with_torch(speed.TRAIN))


def test_table_has_the_medians_and_the_ratios_to_ours():
    train, compilation = (row for row in speed.ROWS if row.name in ("train", "compile_train"))
    rows = [train, MEMORY, compilation]
    results = {
        (speed.TRAIN, OURS): measurement([0.5, 0.8, 0.4], first=61.04),
        (speed.TRAIN, TORCH): measurement([1.0, 1.5, 9.0, 1.25], peak=5.0),
        (speed.TRAIN, TORCH_SAME): measurement([0.25], peak=1.0),
    }
    found = json.loads(json.dumps(speed.figures(rows, results)))
    _, _, step, memory, first_step = speed.table(found).splitlines()
    assert step == "| training step, one path | 0.500 s | 1.38 s | 2.75 | 0.250 s | 0.50 |"
    assert memory == "| peak memory | 2.00 GB | 5.00 GB | 2.50 | 1.00 GB | 0.50 |"
    assert first_step == "| first training step, cold | 61.0 s |  |  |  |  |"
    assert [figure["median"] for figure in found["rows"][0]["figures"]] == [0.5, 1.375, 0.25]
    assert found["measurements"][1]["seconds"] == [1.0, 1.5, 9.0, 1.25]


def test_a_population_is_held_against_one_by_one():
    (row,) = (row for row in speed.ROWS if row.name == "population")
    results = {
        (speed.POPULATION, OURS): measurement([10.0]),
        (speed.ONE_BY_ONE, OURS): measurement([123.4]),
    }
    line = speed.table(speed.figures([row], results)).splitlines()[-1]
    assert "| 10.0 s | 123 s (ours, one by one) | 12.34 |" in line


def test_pytorch_runs_before_and_after_ours():
    score, *_ = speed.ROWS
    sides = [side for _, side in speed.schedule([score])]
    assert sides == [TORCH, TORCH_SAME, OURS, TORCH_SAME, TORCH]
    assert speed.schedule([speed.without_torch(score)]) == [(speed.SCORE, OURS)]


def test_measurements_of_one_work_are_pooled(monkeypatch, capsys):
    monkeypatch.setattr(speed, "measure", lambda work, side: measurement([1.0, 2.0]))
    (train,) = (row for row in speed.ROWS if row.name == "train")
    results = speed.run([train, MEMORY])
    assert results[speed.TRAIN, TORCH]["seconds"] == [1.0, 2.0, 1.0, 2.0]
    assert results[speed.TRAIN, OURS]["seconds"] == [1.0, 2.0]
    assert capsys.readouterr().out.count("\n") == 5


def test_a_failed_process_is_reported_and_left_out(monkeypatch, capsys):
    def fails_for_torch(work, side):
        if side is not OURS:
            raise subprocess.CalledProcessError(137, "benchmarks.measure")
        return measurement([1.0])

    monkeypatch.setattr(speed, "measure", fails_for_torch)
    assert list(speed.run(speed.ROWS[:1])) == [(speed.SCORE, OURS)]
    assert capsys.readouterr().out.count("PyTorch: failed with exit code 137") == 2
