"""Paths may be in buckets: storage servers of this machine stand in for those of clouds."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import emulators
import numpy as np
import pytest
import small
from launched import finish, start

from scarlet_jax import buckets, copies, files, lease, lock
from scarlet_jax.errors import InputError
from scarlet_jax.search import storage


@pytest.fixture(scope="module", params=["s3", "gs"])
def bucket(request):
    return emulators.bucket(request.param)


@pytest.fixture
def folder(bucket, request):
    """A folder of the test's own."""
    return files.as_path(f"{bucket}/{request.node.originalname}")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "scarlet_jax" / "copies"


def names(folder):
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


def test_what_is_written_is_read_back(folder):
    files.write_signed(folder / "a.json", {"name": "a"})
    assert files.read_signed(folder / "a.json") == {"name": "a"}
    assert files.read_signed(folder / "b.json") is None
    storage.write(folder / "scores" / "a.npz", {"values": np.arange(3)})
    storage.write(folder / "scores" / "a.npz", {"values": np.arange(4)})
    np.testing.assert_array_equal(storage.read(folder / "scores" / "a.npz")["values"], range(4))
    assert storage.read(folder / "scores" / "b.npz") is None
    assert names(folder) == ["a.json", "scores"]
    assert abs(files.written(folder / "a.json") - time.time()) < 60


def test_a_failed_write_leaves_the_old_file_and_no_other(folder):
    files.replace_text(folder / "a.txt", "old")

    def stopped():
        with files.replacing(folder / "a.txt") as partial:
            partial.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    assert ((folder / "a.txt").read_text(), names(folder)) == ("old", ["a.txt"])


def test_damage_is_named_and_passed_over(folder, caplog):
    files.write_signed(folder / "a.json", {"name": "a"})
    (folder / "a.json").write_text((folder / "a.json").read_text().replace("a", "b"))
    assert files.read_signed(folder / "a.json") is None
    assert f"{folder}/a.json is damaged and passed over" in caplog.text


def test_a_bucket_out_of_reach_is_no_damage(folder, monkeypatch):
    """Else a search would start anew, or good checkpoints be passed over and removed."""
    files.write_signed(folder / "a.json", {"name": "a"})
    storage.write(folder / "a.npz", {"values": np.arange(3)})

    def unreachable(*_, **__):
        raise OSError("no route to host")

    monkeypatch.setattr(buckets.system(folder), "info", unreachable, raising=False)
    for read, name in ((files.read_signed, "a.json"), (storage.read, "a.npz")):
        with pytest.raises(OSError, match="no route to host") as caught:
            read(folder / name)
        assert caught.value.filename == f"{folder}/{name}"


def test_what_can_be_written_is_known_before(folder, bucket):
    files.check_writable(folder / "a.txt")
    assert names(folder) == []
    files.replace_text(folder / "b" / "a.txt", "text")
    with pytest.raises(InputError, match=r"b cannot be written.* not in the place of a folder"):
        files.check_writable(folder / "b")
    other = f"{bucket}-of-nobody/a.txt"
    with pytest.raises(InputError, match=re.escape(f"{other} cannot be written")):
        files.check_writable(other)
    with pytest.raises(FileNotFoundError) as caught:
        files.replace_text(files.as_path(other), "text")
    assert caught.value.filename == other


def test_a_scheme_without_its_package_is_refused(bucket, monkeypatch):
    monkeypatch.setattr(buckets.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(InputError, match=r"needs .*pip install 'scarlet-jax\[cloud\]'"):
        files.as_path(f"{bucket}/a")


def test_what_grows_is_in_the_bucket_when_it_is_closed(folder):
    staged = buckets.Staged(folder / "a.txt")
    staged.local.write_text("one\n")
    staged.copy_if_due()  # which it is not
    assert names(folder) == []
    with staged.local.open("a") as file:
        file.write("two\n")
    staged.close()
    assert (folder / "a.txt").read_text() == "one\ntwo\n"


def test_data_are_copied_once_and_follow_the_bucket(folder, cache):
    for name, text in (("train/a/1.txt", "one"), ("train/b/2.txt", "two"), ("train-old/3.txt", "")):
        files.replace_text(folder / name, text)
    source = folder / "train"
    copy = copies.fetched(source)
    assert copy.is_relative_to(cache)
    one, two = copy / "a" / "1.txt", copy / "b" / "2.txt"
    assert (one.read_text(), two.read_text()) == ("one", "two")
    one.write_text("own")  # what has not changed there is not looked at
    copies.fetched(source)
    assert one.read_text() == "own"
    files.replace_text(source / "b" / "2.txt", "new")  # as long, and within the same second
    files.replace_text(source / "c" / "4.txt", "four")
    buckets.remove(source / "a" / "1.txt")
    copies.fetched(source)
    assert not one.parent.exists()  # nor a class without images
    assert (two.read_text(), (copy / "c" / "4.txt").read_text()) == ("new", "four")
    assert not copy.with_name("train-old").exists()
    assert copies.fetched(source / "c" / "4.txt").read_text() == "four"
    assert copies.fetched(cache) == cache  # no copy of what is here
    with pytest.raises(InputError, match=r"there is nothing at .*/none"):
        copies.fetched(source / "none")


def test_a_copy_follows_where_a_file_becomes_a_folder_and_back(folder):
    source = folder / "train"
    for there, gone in (("a", "b/1"), ("a/2", "a"), ("a", "a/2")):
        buckets.remove(source / gone)
        files.replace_text(source / there, there)
        copy = copies.fetched(source)
        assert (copy / there).read_text() == there
        assert [path for path in copy.rglob("*") if path.is_file()] == [copy / there]


@pytest.mark.parametrize("name", ["copy", "lock", "partial", "versions.jsonl"])
def test_a_copy_may_have_any_name(folder, name):
    for _ in range(2):
        files.replace_text(folder / name / "a.txt", "a")
        assert (copies.fetched(folder / name) / "a.txt").read_text() == "a"
    assert copies.fetched(folder / name / "a.txt").read_text() == "a"


def test_a_name_that_leads_out_of_the_copy_is_refused(folder, monkeypatch, cache):
    monkeypatch.setattr(buckets, "listed", lambda _: {"a/../../../evil": (1, "1")})
    with pytest.raises(InputError, match=r"has 'a/\.\./\.\./\.\./evil', which cannot be copied"):
        copies.fetched(folder)


def test_a_copy_that_was_stopped_goes_on(folder, monkeypatch):
    for number in range(3):
        files.replace_text(folder / f"{number}.txt", str(number))
    monkeypatch.setattr(copies, "AT_ONCE", 1)
    system, got = buckets.system(folder), []

    def get(sources, targets):
        if len(got) == 2:
            Path(targets[0]).write_text("half")
            raise KeyboardInterrupt
        got.extend(sources)
        return type(system).get(system, sources, targets)

    monkeypatch.setattr(system, "get", get, raising=False)
    with pytest.raises(KeyboardInterrupt):
        copies.fetched(folder)
    monkeypatch.delattr(system, "get")
    monkeypatch.setattr(copies, "Progress", counted := Counted())
    copy = copies.fetched(folder)
    assert counted.totals == [1]
    assert [(copy / f"{number}.txt").read_text() for number in range(3)] == ["0", "1", "2"]
    assert len(list(copy.iterdir())) == 3


class Counted:
    """In the place of `Progress`: what was to be done."""

    def __init__(self):
        self.totals = []

    def __call__(self, label, total, unit):
        self.totals.append(total)
        return self

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def update(self, done):
        pass


@pytest.fixture
def hasty(monkeypatch):
    """Leases that are renewed, and end, within moments."""
    monkeypatch.setattr(lease, "SECONDS", 1.0)
    monkeypatch.setattr(lease, "RENEW_SECONDS", 0.1)
    monkeypatch.setattr(lease, "POLL_SECONDS", 0.3)
    monkeypatch.setattr(lease, "SETTLE_SECONDS", 0.1)


ELSEWHERE = {"host": "elsewhere", "process": 7, "since": "noon"}


def test_one_writer_at_a_time(folder, hasty):
    in_use = f"{folder} is in use by process 7 on elsewhere since noon; wait for it to end"
    with lease.hold(folder / lock.FILE_NAME, ELSEWHERE), pytest.raises(InputError, match=in_use):
        lock.hold(folder).__enter__()
    with lock.hold(folder), lock.hold(folder):  # the same process may do so again
        assert names(folder) == [lock.FILE_NAME]
    assert names(folder) == []


def test_a_lease_that_is_not_renewed_is_taken(folder, hasty):
    files.replace_text(folder / lock.FILE_NAME, json.dumps({**ELSEWHERE, "lease": "theirs"}))
    began = time.monotonic()
    with lock.hold(folder):
        assert time.monotonic() - began >= lease.SECONDS


def test_of_a_process_of_this_machine_that_is_gone_at_once(folder):
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    for process in (gone.pid, os.getpid()):  # as a later process may have it
        about = {**ELSEWHERE, "process": process, "machine": lease._machine(), "lease": "theirs"}
        files.replace_text(folder / lock.FILE_NAME, json.dumps(about))
        began = time.monotonic()
        with lock.hold(folder):
            assert time.monotonic() - began < lease.SECONDS / 2


def test_numbers_of_processes_mean_nothing_in_another_container(folder, hasty):
    about = {**ELSEWHERE, "machine": "same-boot pid:[1]", "process": os.getpid(), "lease": "theirs"}
    for record in (about, {**about, "machine": None}, {}):  # or a lock that is damaged
        files.replace_text(folder / lock.FILE_NAME, json.dumps(record))
        began = time.monotonic()
        with lock.hold(folder):
            assert time.monotonic() - began >= lease.SECONDS


def test_of_two_that_take_a_lease_at_once_one_has_it(folder, hasty):
    held, refused = [], []
    both = threading.Barrier(2)

    def take(host):
        both.wait()
        try:
            with lease.hold(folder / lock.FILE_NAME, {**ELSEWHERE, "host": host}):
                held.append(host)
                time.sleep(1)
        except lease.Taken as taken:
            refused.append(taken.record["host"])

    threads = [threading.Thread(target=take, args=(host,)) for host in ("a", "b")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(held), refused) == (1, held)


HOLDER = """
import sys, time
from scarlet_jax import buckets, files, lease
def unreachable(*_, **__):
    raise OSError("no route to host")
lease.SECONDS, lease.RENEW_SECONDS, lease.SETTLE_SECONDS = 1, 0.1, 0.1
path, reachable = files.as_path(sys.argv[1]), sys.argv[2] == "True"
with lease.hold(path, {"host": "here", "process": 1}):
    if not reachable:
        buckets.system(path).info = unreachable
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize(
    ("reachable", "reason"),
    [(True, "is held by another process by now"), (False, "could not be renewed for 1 s")],
)
def test_who_loses_a_lease_ends(folder, reachable, reason):
    path = folder / lock.FILE_NAME
    command = [sys.executable, "-c", HOLDER, str(path), str(reachable)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    if reachable:
        files.replace_text(path, json.dumps({**ELSEWHERE, "lease": "theirs"}))
    _, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert f"error: {path} {reason}; this process ends" in err
    buckets.remove(path)


def results(workdir):
    record = files.read_signed(workdir / "subnets" / "model-0" / "result.json")
    curves = [
        (workdir / part / "metrics.jsonl").read_text() for part in ("supernet", "subnets/model-0")
    ]
    return record, json.loads((workdir / "front.json").read_text()), curves


def test_killed_in_every_phase_and_the_same_command_again(folder, tmp_path):
    """Data and work directory are in the bucket. The result is that of a run on the disk."""
    small.write_images(tmp_path / "images")
    buckets.upload(tmp_path / "images", folder / "images")
    near, far = tmp_path / "near.py", tmp_path / "far.py"
    small.write_config(near, tmp_path / "images")
    small.write_config(far, f"{folder}/images")

    def begin(config, workdir):
        return start("pipeline", f"--config={config}", f"--workdir={workdir}")

    local = begin(near, tmp_path / "run")
    record = Path("record", "metadata")
    for sign in (
        f"supernet/checkpoints/2/{record}",
        "search/search.npz",
        f"subnets/model-0/checkpoints/4/{record}",
    ):
        process = begin(far, folder / "run")
        while process.poll() is None and not (folder / "run" / sign).exists():
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL
    (code, out, err), (local_code, _, local_err) = finish(begin(far, folder / "run"), local)
    assert (code, local_code) == (0, 0), (err, local_err)
    assert f"report: {folder}/run/report.html" in out
    assert results(folder / "run") == results(tmp_path / "run")
    assert (folder / "run" / "report.html").read_text().rstrip().endswith("</html>")
    assert any("events" in name for name in names(folder / "run" / "supernet"))
    assert not (folder / "run" / lock.FILE_NAME).exists()
