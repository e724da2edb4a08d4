"""Paths as users give them, and files that are written whole or not at all."""

import errno
import hashlib
import json
import os
import shutil
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

from absl import logging

from scarlet_jax import buckets
from scarlet_jax.buckets import is_bucket
from scarlet_jax.errors import InputError


class Damaged(Exception):
    """A file does not hold what was written; the message names it and says why."""


KINDS = {  # what must not be replaced
    stat.S_IFDIR: "folder",
    stat.S_IFCHR: "device",
    stat.S_IFBLK: "device",
    stat.S_IFIFO: "FIFO",
    stat.S_IFSOCK: "socket",
}


def as_path(text: str | os.PathLike[str]) -> Path:
    """The path that a user gave, `~` expanded, or the URL of something in a bucket.

    Raises:
      InputError: for another URL, a home folder that is not known, or what can be no path.
    """
    text = os.fspath(text)
    if not text.isprintable():
        raise InputError(f"{text!r} is no path; allowed: printable text")
    if "://" in text:
        return buckets.path(text)
    if text.startswith(("gs:/", "s3:/")):
        raise InputError(f"{text!r} has one slash; allowed: {text.replace(':/', '://', 1)}")
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise InputError(f"{text!r} cannot be a path: {error}") from error


def user_cache() -> Path | None:
    """The folder for what may be deleted at any time; None where no home is known, or a URL is."""
    try:
        folder = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    except RuntimeError:
        return None
    return None if ":/" in os.fspath(folder) else Path(folder) / "scarlet_jax"


def make_folder(path: Path) -> None:
    """Creates a folder if absent, with those around it; buckets have none. Raises `OSError`."""
    if not is_bucket(path):
        path.mkdir(parents=True, exist_ok=True)


@contextmanager
def naming(path: str | os.PathLike[str]) -> Iterator[None]:
    """Gives an `OSError` of the block the path, where the system did not: of a full disk, say."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            number, reason = error.errno or errno.EIO, error.strerror or str(error)
            raise OSError(number, reason, os.fspath(path)) from error
        raise


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Gives a temporary name for `path`, whose place it takes when the block ends well.

    If the block fails, nothing is left of what it wrote and `path` is as it was. Where `path` is
    a link, it is what the link leads to that is replaced. What goes to a bucket is written on
    this machine first.

    Raises:
      InputError: see `check_replaceable`.
      OSError: if the file cannot be written.
    """
    if is_bucket(path):
        check_replaceable(path)
        with buckets.Staged(as_path(path)) as staged:
            yield staged.local
        return
    target, partial = _target_and_partial(path)
    try:
        with naming(path):
            yield partial
        check_replaceable(target)
        os.replace(partial, target)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def replace_text(path: str | os.PathLike[str], text: str) -> None:
    """Writes UTF-8 in the place of a file. Raises what `replacing` does."""
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_json(path: str | os.PathLike[str], record: Mapping[str, Any]) -> None:
    """Writes JSON values in the place of a file. Raises what `replacing` does."""
    replace_text(path, json.dumps(record, indent=1) + "\n")


def signed(record: Mapping[str, Any]) -> dict[str, Any]:
    """JSON values with a digest of them, as "sha256"."""
    return {**record, "sha256": _digest(record)}


def is_signed(record: Any) -> bool:
    """Whether JSON values are still what was signed."""
    if not isinstance(record, dict) or "sha256" not in record:
        return False
    return bool(record["sha256"] == _digest({k: v for k, v in record.items() if k != "sha256"}))


def write_signed(path: Path, record: Mapping[str, Any]) -> None:
    """Writes a signed record as JSON. Raises `OSError` if it cannot."""
    write_json(path, signed(record))


def read_signed(path: Path) -> dict[str, Any] | None:
    """The record in a file; None where there is no file, or a damaged one, which is named."""
    try:
        record = read_json(path)
    except FileNotFoundError:
        return None
    except Damaged as damage:
        warn_once(str(damage))
        return None
    return {name: value for name, value in record.items() if name != "sha256"}


def read_json(path: Path) -> dict[str, Any]:
    """The signed record in a file, with its digest.

    Raises:
      FileNotFoundError: if there is none.
      Damaged: for one that is not what was written.
      OSError: if its bucket cannot be reached.
    """
    content = read_bytes(path)
    try:
        record = json.loads(content)
    except Exception as error:  # of the system, or of a parser that damage has led astray
        raise Damaged(f"{path} is damaged and passed over: {type(error).__name__}") from error
    if not is_signed(record):
        raise Damaged(f"{path} is damaged and passed over: it does not fit its digest")
    return dict(record)


def read_bytes(path: Path) -> bytes:
    """What a file holds. A bucket that is out of reach is no damage.

    Raises:
      FileNotFoundError, Damaged, OSError: as `read_json`.
    """
    check_regular(path)
    with _looking(path), buckets.reaching(path):
        return path.read_bytes()


def check_regular(path: Path) -> None:
    """Raises `Damaged` for what is no file to read, such as a FIFO, which would be waited for.

    Raises:
      FileNotFoundError: if there is nothing.
      Damaged: as said.
      OSError: if its bucket cannot be reached.
    """
    with _looking(path):
        kind = _kind(path)
    if kind != stat.S_IFREG:
        raise Damaged(f"{path} is damaged and passed over: it is no regular file")


@contextmanager
def _looking(path: Path) -> Iterator[None]:
    """Makes `Damaged` of an `OSError`, but where there is nothing, or a bucket out of reach."""
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        if is_bucket(path):
            raise
        raise Damaged(f"{path} is damaged and passed over: {error.strerror}") from error


def _kind(path: Path) -> int:
    """Of what is there, as in `KINDS`. Raises `OSError`, if it cannot be told."""
    if not is_bucket(path):
        return stat.S_IFMT(os.stat(path).st_mode)
    with buckets.reaching(path):
        found = buckets.system(path).info(os.fspath(path))
    return stat.S_IFDIR if found["type"] == "directory" else stat.S_IFREG


@lru_cache(maxsize=1000)
def warn_once(line: str) -> None:
    """Logs a warning, if it has not been logged before."""
    logging.warning("%s", line)


def _digest(record: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()


def written(path: Path) -> float:
    """When a file was written, in seconds since 1970. Raises `OSError` if there is none."""
    if not is_bucket(path):
        return path.stat().st_mtime
    with buckets.reaching(path):
        return float(buckets.system(path).modified(os.fspath(path)).timestamp())


def check_space(folder: Path, needed: int, what: str) -> None:
    """Raises `OSError` if the disk of a folder, which may be absent, lacks so many bytes for it."""
    nearest = next(path for path in (folder, *folder.parents) if path.exists())
    if (free := shutil.disk_usage(nearest).free) < needed:
        reason = f"{what} needs {needed / 1e6:,.1f} MB, and {free / 1e6:,.1f} MB are free"
        raise OSError(errno.ENOSPC, f"{os.strerror(errno.ENOSPC)}: {reason}", str(folder))


def check_writable(path: str | os.PathLike[str]) -> None:
    """Raises `InputError` if no file can be written there: before the work that fills it."""
    if is_bucket(path):
        check_replaceable(path)
        buckets.check_writable(as_path(path))
        return
    target, _ = _target_and_partial(path)
    if not os.access(target.parent, os.W_OK):
        raise InputError(_cannot(path))


def check_replaceable(path: str | os.PathLike[str]) -> None:
    """Raises `InputError` if there is something else than a regular file, or no telling."""
    try:
        kind = _kind(as_path(path))
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise InputError(f"{_cannot(path)} ({reason})") from error
    if kind != stat.S_IFREG:
        raise InputError(f"{_cannot(path)}, not in the place of a {KINDS.get(kind, 'device')}")


def _target_and_partial(path: str | os.PathLike[str]) -> tuple[Path, Path]:
    """The file that will be replaced, and what will replace it, both checked."""
    check_replaceable(path)
    target = Path(os.path.realpath(path))
    partial = target.with_name(target.name + ".partial")
    check_replaceable(partial)
    return target, partial


def _cannot(path: str | os.PathLike[str]) -> str:
    return f"{path} cannot be written; allowed: a file in a folder that can be"
