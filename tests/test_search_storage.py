"""Files that are whole at every moment, and scores that are never paid for twice."""

import logging
import multiprocessing
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scarlet_jax import search
from scarlet_jax.search import storage

ARRAYS = {"numbers": np.arange(6.0).reshape(2, 3), "text": np.array("abc")}
CONTEXT = {"supernet": "abc", "data": {"path": 1}}


def assert_holds(arrays, expected):
    assert arrays.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(arrays[name], array)


def test_what_is_written_is_read(tmp_path):
    path = tmp_path / "folder" / "file.npz"
    assert storage.read(path) is None
    storage.write(path, ARRAYS)
    assert_holds(storage.read(path), ARRAYS)
    storage.write(path, {"numbers": np.zeros(2)})
    assert_holds(storage.read(path), {"numbers": np.zeros(2)})
    assert sorted(p.name for p in path.parent.iterdir()) == ["file.npz", "file.npz.previous"]


@pytest.mark.parametrize("damage", ["bit", "cut", "empty", "text", "foreign", "gone"])
def test_damage_is_found_and_the_one_before_used(tmp_path, caplog, damage):
    path = tmp_path / "file.npz"
    storage.write(path, ARRAYS)
    storage.write(path, {"numbers": np.zeros(200)})
    content = bytearray(path.read_bytes())
    if damage == "bit":
        content[300] ^= 16  # among the zeros
        path.write_bytes(content)
    elif damage == "foreign":
        with open(path, "wb") as file:
            np.savez(file, numbers=np.zeros(200))
    elif damage == "gone":  # killed between the two renames
        path.unlink()
    else:
        path.write_bytes({"cut": content[:-50], "empty": b"", "text": b"not an archive"}[damage])
    with caplog.at_level(logging.WARNING, logger="absl"):
        assert_holds(storage.read(path), ARRAYS)
    assert (f"{path} is damaged and passed over" in caplog.text) == (damage != "gone")


def test_what_a_kill_kept_from_its_place_is_found(tmp_path):
    """Killed between the two renames, the new file is whole, under another name."""
    path = tmp_path / "file.npz"
    storage.write(path, {"numbers": np.zeros(2)})
    storage.write(path, ARRAYS)
    path.rename(tmp_path / "file.npz.partial")
    assert_holds(storage.read(path), ARRAYS)


def test_a_changed_array_in_a_valid_archive_does_not_fit_its_checksum(tmp_path, caplog):
    path = tmp_path / "file.npz"
    storage.write(path, ARRAYS)
    with np.load(path) as file:
        arrays = dict(file)
    arrays["numbers"] = arrays["numbers"] + 1
    with open(path, "wb") as file:
        np.savez(file, **arrays)
    with caplog.at_level(logging.WARNING, logger="absl"):
        assert storage.read(path) is None
    assert f"{path} is damaged and passed over: its checksum does not fit" in caplog.text


def test_two_damaged_files_are_both_named(tmp_path, caplog):
    path = tmp_path / "file.npz"
    for _ in range(2):
        storage.write(path, ARRAYS)
    for name in ("file.npz", "file.npz.previous"):
        (tmp_path / name).write_bytes(b"")
    with caplog.at_level(logging.WARNING, logger="absl"):
        assert storage.read(path) is None
    assert [record.getMessage().split(" is damaged")[0] for record in caplog.records] == [
        str(path),
        f"{path}.previous",
    ]


@settings(max_examples=300)
@given(st.binary(max_size=40), st.floats(0, 1), st.floats(0, 1))
def test_no_damage_is_used_or_ends_in_a_traceback(noise, begin, end):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "file.npz"
        storage.write(path, ARRAYS)
        content = path.read_bytes()
        first, last = sorted((int(begin * len(content)), int(end * len(content))))
        path.write_bytes(content[:first] + noise + content[last:])
        found = storage.read(path)
    if found is not None:
        assert_holds(found, ARRAYS)


class Scorer:
    def __init__(self, fail_at=None):
        self.calls, self.fail_at = [], fail_at

    def __call__(self, architectures):
        if len(self.calls) == self.fail_at:
            raise KeyboardInterrupt
        self.calls.append(architectures.tolist())
        return architectures @ np.array([1.0, 10.0])


def remember(scorer, directory, context=CONTEXT, **options):
    return search.remember(scorer, directory, context, **({"chunk": 2} | options))


def test_nothing_is_scored_twice(tmp_path):
    population = np.array([[1, 2], [3, 4], [1, 2], [5, 6]], np.int32)
    first = Scorer()
    expected = [21.0, 43.0, 21.0, 65.0]
    assert remember(first, tmp_path)(population).tolist() == expected
    assert first.calls == [[[1, 2], [3, 4]], [[5, 6]]]
    again = Scorer()
    scores = remember(again, tmp_path)
    assert scores(population[::-1]).tolist() == expected[::-1]
    assert scores(np.array([[5, 6], [7, 8]], np.int32)).tolist() == [65.0, 87.0]
    assert again.calls == [[[7, 8]]]
    other = Scorer()
    remember(other, tmp_path, CONTEXT | {"supernet": "abd"})(population)
    assert len(other.calls) == 2  # other weights, other scores


def test_a_killed_evaluation_keeps_the_chunks_before(tmp_path):
    population = np.arange(12, dtype=np.int32).reshape(6, 2)
    killed = Scorer(fail_at=2)
    with pytest.raises(KeyboardInterrupt):
        remember(killed, tmp_path)(population)
    resumed = Scorer()
    expected = (population @ [1.0, 10.0]).tolist()
    assert remember(resumed, tmp_path)(population).tolist() == expected
    assert resumed.calls == [population[4:].tolist()]


def search_alone(arguments):
    """One of several searches at the same time, in a process of its own: what it paid for."""
    directory, number, population = arguments
    scorer = Scorer()

    def slowly(architectures):
        time.sleep(0.02)
        return scorer(architectures)

    order = np.random.default_rng(number).permutation(population)
    scores = remember(slowly, directory)(order)
    assert scores.tolist() == (order @ [1.0, 10.0]).tolist()
    return [tuple(row) for call in scorer.calls for row in call]


def test_eight_searches_at_once_lose_nothing_and_share_what_they_have_paid_for(tmp_path):
    population = np.arange(200, dtype=np.int32).reshape(100, 2)
    everything = {tuple(row) for row in population.tolist()}
    with multiprocessing.get_context("spawn").Pool(8) as pool:
        jobs = [(str(tmp_path), number, population) for number in range(8)]
        paid = [row for rows in pool.map(search_alone, jobs) for row in rows]
    assert set(paid) == everything
    in_flight = 8 * 2  # each search's chunk
    assert len(paid) < len(everything) + in_flight * 8
    nobody = Scorer(fail_at=0)
    assert remember(nobody, tmp_path)(population).tolist() == (population @ [1.0, 10.0]).tolist()


def test_columns_of_scores_and_one_process_that_writes(tmp_path):
    def score(architectures):
        return np.stack([architectures[:, 0], -architectures[:, 1]], axis=1).astype(float)

    population = np.array([[1, 2], [3, 4]], np.int32)
    scores = remember(score, tmp_path, save=False)
    assert scores(population).tolist() == [[1, -2], [3, -4]]
    assert list(tmp_path.iterdir()) == []
    assert scores(population).tolist() == [[1, -2], [3, -4]]
