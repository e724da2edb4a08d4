"""One writer at a time, on one machine or on several that share a file system or a bucket.

The lock is the operating system's, on a file in the folder (`flock`; over NFS the server's): it
ends with the process that holds it, however that ends, and with the machine. The file says who that
is. In a bucket it is a lease.
"""

import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from absl import logging

from scarlet_jax import lease
from scarlet_jax.buckets import is_bucket, reaching
from scarlet_jax.errors import InputError
from scarlet_jax.files import make_folder, naming
from scarlet_jax.lease import Taken

FILE_NAME = "lock"
_held: set[Path] = set()  # by this process


@contextmanager
def hold(directory: Path) -> Iterator[None]:
    """Makes this process the folder's only writer for a block, within which it may do so again.

    The folder is created if absent.

    Raises:
      InputError: if another process writes there, saying which.
      OSError: if nothing can be written there.
    """
    with reaching(directory):
        if directory.exists() and not directory.is_dir():
            raise InputError(f"{directory} is a file; allowed: a folder, or a name that is free")
    make_folder(directory)
    path = (directory if is_bucket(directory) else directory.resolve()) / FILE_NAME
    if path in _held:
        yield
        return
    about = {"host": socket.gethostname(), "process": os.getpid(), "since": time.ctime()}
    with ExitStack() as stack:
        try:
            stack.enter_context((lease.hold if is_bucket(path) else _hold)(path, about))
        except Taken as taken:
            holder = _described(taken.record)
            raise InputError(f"{directory} is in use by {holder}; wait for it to end") from taken
        _held.add(path)
        try:
            yield
        finally:
            _held.remove(path)


@contextmanager
def _hold(path: Path, about: Mapping[str, Any]) -> Iterator[None]:
    """As `lease.hold`, of a file."""
    with open(path, "ab", buffering=0) as file:  # so that a full disk is not met again at the end
        if not _locked(file, fcntl.LOCK_EX | fcntl.LOCK_NB):
            raise Taken(_read(path))
        with naming(path):
            file.truncate(0)
            file.write(json.dumps(about).encode() + b"\n")
        yield


@contextmanager
def wait_for(path: Path) -> Iterator[None]:
    """Holds a lock file for a block, after whoever holds it; for moments, such as a write.

    In a bucket nothing is held: of two that write at once, one is lost there.
    """
    if is_bucket(path):
        yield
        return
    make_folder(path.parent)
    with open(path, "ab", buffering=0) as file:
        _locked(file, fcntl.LOCK_EX)
        yield


def _locked(file: BinaryIO, how: int) -> bool:
    """Whether the lock is ours now. Where the file system has no locks, it is, with a warning."""
    try:
        fcntl.flock(file, how)
    except BlockingIOError:
        return False
    except OSError as error:
        logging.warning("%s: no lock (%s), so nothing keeps other writers out", file.name, error)
    return True


def _read(path: Path) -> Any:
    with suppress(OSError, ValueError):
        return json.loads(path.read_text(encoding="utf-8"))


def _described(about: Any) -> str:
    try:
        return f"process {about['process']} on {about['host']} since {about['since']}"
    except (KeyError, TypeError):
        return "another process"
