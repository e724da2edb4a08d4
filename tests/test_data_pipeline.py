import itertools
import multiprocessing
import re
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
from absl import logging
from data_images import data_config, write_folder
from hypothesis import given, settings
from hypothesis import strategies as st

from scarlet_jax import data as datasets
from scarlet_jax.data.sources import ArraySource
from scarlet_jax.errors import InputError

AUGMENTED = {"crop": "pad", "crop_padding": 2, "flip": True, "jitter": 0.3}


def source_of(count, width=8):
    images = np.random.default_rng(0).integers(256, size=(count, 8, width, 3), dtype=np.uint8)
    return ArraySource(images, np.arange(count, dtype=np.int32) % 3, "train")


def take(source, data, count, **options):
    options = {"batch_size": 4, "seed": 0, "start_step": 0, **options}
    batches = datasets.train_batches(source, data, **options)
    taken = list(itertools.islice(batches, count))
    batches.close()
    return taken


def assert_same(batches, others):
    assert len(batches) == len(others)
    for batch, other in zip(batches, others, strict=True):
        for name in ("image", "label", "weight", "index"):
            assert batch[name].dtype == other[name].dtype
            np.testing.assert_array_equal(batch[name], other[name], err_msg=name)


@pytest.fixture
def warnings_logged(monkeypatch):
    messages = []
    monkeypatch.setattr(logging, "warning", lambda text, *args: messages.append(text % args))
    return messages


def test_shapes_dtypes_and_labels():
    source = source_of(10)
    (batch,) = take(source, data_config(**AUGMENTED), 1)
    assert batch["image"].shape == (4, 8, 8, 3)
    assert {name: array.dtype for name, array in batch.items()} == {
        "image": np.uint8,
        "label": np.int32,
        "weight": np.float32,
        "index": np.int32,
    }
    np.testing.assert_array_equal(batch["label"], source.labels()[batch["index"]])
    np.testing.assert_array_equal(batch["weight"], 1)


def test_images_are_those_of_the_index():
    source = source_of(10)
    for batch in take(source, data_config(), 5):
        np.testing.assert_array_equal(batch["image"], source.images[batch["index"]])


@settings(deadline=None, max_examples=10)
@given(st.integers(1, 12), st.integers(1, 20), st.integers(0, 2**32))
def test_every_epoch_has_every_image_once(count, batch_size, seed):
    steps = -(-3 * count // batch_size)
    batches = take(source_of(count), data_config(), steps, batch_size=batch_size, seed=seed)
    indices = np.concatenate([batch["index"] for batch in batches])[: 3 * count]
    for epoch in indices.reshape(3, count):
        assert sorted(epoch) == list(range(count))


def test_epochs_and_seeds_differ_in_order_and_augmentation():
    source, data = source_of(20), data_config(**AUGMENTED)
    first, second = take(source, data, 2, batch_size=20)
    (other,) = take(source, data, 1, batch_size=20, seed=1)
    for batch in (second, other):
        assert (first["index"] != batch["index"]).any()
        by_index = [b["image"][np.argsort(b["index"])] for b in (first, batch)]
        assert (by_index[0] != by_index[1]).any(axis=(1, 2, 3)).sum() > 10


@pytest.mark.parametrize("threads", [0, 1, 3])
def test_resuming_gives_the_batches_of_an_uninterrupted_run(threads):
    source, data = source_of(10), data_config(**AUGMENTED, threads=threads)
    whole = take(source, data_config(**AUGMENTED), 12)
    assert_same(take(source, data, 12), whole)
    assert_same(take(source, data, 5, start_step=7), whole[7:])


@settings(deadline=None, max_examples=10)
@given(st.sampled_from([1, 2, 3, 6]), st.integers(0, 5))
def test_processes_get_consecutive_parts_of_the_batch(count, start_step):
    source, data = source_of(10), data_config(**AUGMENTED)
    options = {"batch_size": 6, "start_step": start_step}
    whole = take(source, data, 3, **options)
    parts = [
        take(source, data, 3, process_index=i, process_count=count, **options) for i in range(count)
    ]
    joined = [
        {name: np.concatenate([part[name] for part in step]) for name in whole[0]}
        for step in zip(*parts, strict=True)
    ]
    assert_same(joined, whole)


@settings(deadline=None, max_examples=10)
@given(st.integers(0, 13), st.sampled_from([2, 4, 30]), st.sampled_from([1, 2]))
def test_evaluation_sees_every_image_once_and_pads(count, batch_size, processes):
    source = source_of(count)
    parts = [
        list(
            datasets.eval_batches(
                source,
                data_config(),
                batch_size=batch_size,
                process_index=i,
                process_count=processes,
            )
        )
        for i in range(processes)
    ]
    steps = -(-count // batch_size)
    assert [len(part) for part in parts] == [steps] * processes
    seen = []
    for batch in itertools.chain(*zip(*parts, strict=True)):
        assert batch["image"].shape == (batch_size // processes, 8, 8, 3)
        is_real = batch["index"] >= 0
        np.testing.assert_array_equal(batch["weight"], is_real)
        np.testing.assert_array_equal(
            batch["image"][is_real], source.images[batch["index"][is_real]]
        )
        seen += batch["index"][is_real].tolist()
    assert seen == list(range(count))


def test_evaluation_crops_the_middle_without_augmentation():
    source = source_of(3, width=12)
    (batch,) = datasets.eval_batches(source, data_config(**AUGMENTED), batch_size=3)
    np.testing.assert_array_equal(batch["image"][0], source.images[0, :, 2:10])


def test_wrong_batches():
    with pytest.raises(InputError, match="no training images"):
        take(source_of(0), data_config(), 1)
    with pytest.raises(InputError, match="batch_size is 4; allowed: a multiple of the 3"):
        take(source_of(3), data_config(), 1, process_count=3)
    with pytest.raises(InputError, match="batch_size is 0"):
        datasets.eval_batches(source_of(3), data_config(), batch_size=0)


def damaged_folder(root):
    write_folder(root, {"cat": 5, "dog": 5}, {"cat": 1, "dog": 1})
    (root / "train" / "cat" / "001.png").write_bytes(b"")
    (root / "train" / "dog" / "003.png").write_bytes(b"not an image")
    return data_config(path=str(root), **AUGMENTED)


def test_unreadable_images_are_reported_once_and_weigh_nothing(tmp_path, warnings_logged):
    data = damaged_folder(tmp_path)
    train = datasets.load(data, seed=0).train
    unreadable = datasets.Unreadable()
    assert str(unreadable) == "no unreadable images"
    for batch in take(train, data, 5, unreadable=unreadable):  # two epochs
        damaged = np.isin(batch["index"], [1, 8])
        np.testing.assert_array_equal(batch["weight"], ~damaged)
        np.testing.assert_array_equal(batch["image"][damaged], 128)
    assert set(unreadable.reasons) == {"train/cat/001.png", "train/dog/003.png"}
    list(datasets.eval_batches(train, data, batch_size=4, unreadable=unreadable))
    assert len(unreadable) == 2
    assert str(unreadable).startswith("2 unreadable images: train/")
    assert len(warnings_logged) == 2
    assert any("train/cat/001.png" in message for message in warnings_logged)


def test_one_unreadable_image(tmp_path, warnings_logged):
    data = damaged_folder(tmp_path)
    (tmp_path / "train" / "dog" / "003.png").unlink()
    unreadable = datasets.Unreadable()
    train = datasets.load(data, seed=0).train
    list(datasets.eval_batches(train, data, batch_size=4, unreadable=unreadable))
    assert re.fullmatch(r"1 unreadable image: train/cat/001.png \(.+\)", str(unreadable))


def test_reader_processes_change_nothing(tmp_path, warnings_logged):
    data = damaged_folder(tmp_path)
    train = datasets.load(data, seed=0).train
    here, there = datasets.Unreadable(), datasets.Unreadable()
    expected = take(train, data, 6, start_step=2, unreadable=here)
    data.workers, data.threads = 2, 1
    assert_same(take(train, data, 6, start_step=2, unreadable=there), expected)
    assert there.reasons == here.reasons
    assert len(there) == 2
    assert not multiprocessing.active_children()


def test_reader_processes_need_memory_for_their_batches(monkeypatch):
    data = data_config(workers=2, image_size=100)
    datasets.check_shared_memory(data, 1)
    free = SimpleNamespace(free=10**6)
    monkeypatch.setattr(datasets.pipeline.shutil, "disk_usage", lambda _: free)
    message = r"data.workers is 2, whose batches take 21.5 MB of /dev/shm, and 1.0 MB are free; "
    with pytest.raises(InputError, match=message):
        datasets.check_shared_memory(data, 32)
    data.workers = 0
    datasets.check_shared_memory(data, 32)


READ_AND_WAIT = """
import multiprocessing, sys, time
sys.path[:0] = {path!r}
from data_images import data_config
from scarlet_jax import data as datasets

if __name__ == "__main__":
    data = data_config(path={folder!r}, workers=1)
    train = datasets.load(data, seed=0).train
    batches = datasets.train_batches(train, data, batch_size=4, seed=0, start_step=0)
    next(batches)
    print(multiprocessing.active_children()[0].pid, flush=True)
    time.sleep(60)
"""


def test_reader_processes_end_when_the_run_is_killed(tmp_path):
    write_folder(tmp_path / "images", {"cat": 4}, {"cat": 1})
    script = tmp_path / "read.py"
    script.write_text(READ_AND_WAIT.format(path=sys.path, folder=str(tmp_path / "images")))
    with subprocess.Popen(
        [sys.executable, str(script)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as run:
        worker = int(run.stdout.readline())
        run.kill()
    deadline = time.monotonic() + 20
    while psutil.pid_exists(worker) and psutil.Process(worker).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline, "the reader process lives on"
        time.sleep(0.05)


def test_closing_ends_the_threads():
    before = set(threading.enumerate())
    batches = datasets.train_batches(
        source_of(9), data_config(threads=2), batch_size=4, seed=0, start_step=0
    )
    next(batches)
    threads = set(threading.enumerate()) - before
    assert threads
    batches.close()
    for thread in threads:
        thread.join(timeout=10)
        assert not thread.is_alive()
