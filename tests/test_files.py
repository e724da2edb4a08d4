"""Files are written whole or not at all, and never in the place of anything else."""

import errno
import json
import os
import re
import socket
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scarlet_jax import files
from scarlet_jax.errors import InputError
from scarlet_jax.search import storage


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path):
    path = tmp_path / "a.txt"
    files.replace_text(path, "old")

    def stopped():
        with files.replacing(path) as partial:
            partial.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    "text",
    [
        "file:///x",
        "https://bucket/x",
        "gs://",
        "s3:///x",
        "s3:/bucket/x",
        "a\0b",
        "a\nb",
        "~nobody-here/x",
    ],
)
def test_what_is_no_path_here(text):
    with pytest.raises(InputError, match=re.escape(repr(text))):
        files.as_path(text)


def test_a_path_may_begin_at_home(monkeypatch):
    monkeypatch.setenv("HOME", "/home/someone")
    assert files.as_path("~/x") == Path("/home/someone/x")
    assert files.as_path("a/~/b") == Path("a/~/b")


def test_a_full_disk_is_said_with_the_files_name(tmp_path, monkeypatch):
    def write_text(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")  # as the system does: no name

    monkeypatch.setattr(Path, "write_text", write_text)
    with pytest.raises(OSError, match="No space left") as caught:
        files.replace_text(tmp_path / "a.txt", "new")
    assert caught.value.filename == str(tmp_path / "a.txt")


RECORD = {"name": "a", "numbers": [1, 0.1, None], "more": {"x": True}}


def test_a_signed_record_is_read_back(tmp_path):
    path = tmp_path / "a.json"
    assert files.read_signed(path) is None
    files.write_signed(path, RECORD)
    assert files.read_signed(path) == RECORD
    assert json.loads(path.read_text())["numbers"] == RECORD["numbers"]


@settings(max_examples=300)
@given(share=st.floats(0, 1, exclude_max=True), noise=st.binary(max_size=3), cut=st.booleans())
def test_a_damaged_record_is_never_used(share, noise, cut):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.json"
        files.write_signed(path, RECORD)
        content = path.read_bytes()
        offset = int(share * len(content))
        path.write_bytes(
            content[:offset] + noise + (b"" if cut else content[offset + len(noise) :])
        )
        assert files.read_signed(path) in (None, RECORD)


def test_where_a_file_can_go(tmp_path):
    files.check_writable(tmp_path / "new.json")
    for path in (tmp_path, tmp_path / "none" / "t.json"):
        with pytest.raises(InputError, match=f"{path} cannot be written; allowed: a file in a"):
            files.check_writable(path)


def make_socket(path):
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))


KINDS = {"folder": os.mkdir, "FIFO": os.mkfifo, "socket": make_socket}


@pytest.mark.parametrize("is_link", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_only_a_file_is_replaced(tmp_path, monkeypatch, kind, is_link):
    monkeypatch.chdir(tmp_path)  # the name of a socket must be short
    KINDS[kind]("special")
    if is_link:
        os.symlink("special", "link")
    path = "link" if is_link else "special"
    before = os.stat("special")
    message = f"{path} cannot be written; allowed: a file in .*, not in the place of a {kind}$"
    with pytest.raises(InputError, match=message):
        files.check_writable(path)
    with pytest.raises(InputError, match=message):
        files.replace_text(path, "new")
    assert os.stat("special") == before
    assert sorted(os.listdir()) == sorted({"special", path})


@pytest.mark.parametrize("device", ["/dev/null", "/dev/stdin", "/dev/fd/0"])
def test_devices_are_refused(device, monkeypatch):
    monkeypatch.setattr(os, "replace", None)  # as root, a mistake here would do harm
    read, write = os.pipe()
    saved = os.dup(0)
    os.dup2(read, 0)
    try:
        with pytest.raises(InputError, match=f"{device} cannot be written.* place of a (dev|FIFO)"):
            files.check_writable(device)
        with pytest.raises(InputError, match="not in the place of a"), files.replacing(device):
            pass
    finally:
        os.dup2(saved, 0)
        for number in (saved, read, write):
            os.close(number)


def test_what_appears_while_a_file_is_written_is_not_replaced_either(tmp_path):
    path = tmp_path / "a.txt"

    def beaten():
        with files.replacing(path) as partial:
            partial.write_text("new")
            os.mkfifo(path)

    with pytest.raises(InputError, match="FIFO"):
        beaten()
    assert path.is_fifo()
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("exists", [True, False])
def test_a_link_is_followed_and_stays(tmp_path, exists):
    (tmp_path / "elsewhere").mkdir()
    target, link = tmp_path / "elsewhere" / "a.txt", tmp_path / "link"
    if exists:
        target.write_text("old")
    link.symlink_to("elsewhere/a.txt")
    files.check_writable(link)
    files.replace_text(link, "new")
    assert target.read_text() == "new"
    assert os.readlink(link) == "elsewhere/a.txt"
    assert sorted(tmp_path.iterdir()) == [tmp_path / "elsewhere", link]
    assert list((tmp_path / "elsewhere").iterdir()) == [target]


def test_a_link_to_nowhere_is_refused(tmp_path):
    link = tmp_path / "link"
    link.symlink_to("none/a.txt")
    with pytest.raises(InputError, match=f"{link} cannot be written; allowed"):
        files.check_writable(link)
    link.unlink()
    link.symlink_to("link")
    with pytest.raises(InputError, match=f"{link} cannot be written; allowed.*symbolic links"):
        files.check_writable(link)


@pytest.mark.parametrize("name", ["a" * 256, "a" * 250, "\0"], ids=["long", "with ending", "NUL"])
def test_impossible_names_are_refused_before_any_work(tmp_path, name):
    with pytest.raises(InputError, match=re.escape(str(tmp_path / name))):
        files.check_writable(tmp_path / name)


@pytest.mark.parametrize("name", ["a.npz", "a.npz.previous", "a.npz.partial"])
def test_saved_arrays_replace_only_files(tmp_path, name):
    storage.write(tmp_path / "a.npz", {"x": [1]})
    (tmp_path / name).unlink(missing_ok=True)
    os.mkfifo(tmp_path / name)
    with pytest.raises(InputError, match=f"{name} cannot be written; .* FIFO"):
        storage.write(tmp_path / "a.npz", {"x": [2]})
    assert (tmp_path / name).is_fifo()
