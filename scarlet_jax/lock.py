"""One writer at a time, on one machine or on several that share a file system.

The lock is the operating system's, on a file in the folder (`flock`; over NFS the server's): it
ends with the process that holds it, however that ends, and with the machine. The file says who that
is.
"""

import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from absl import logging

from scarlet_jax.errors import InputError
from scarlet_jax.files import naming

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
    if directory.exists() and not directory.is_dir():
        raise InputError(f"{directory} is a file; allowed: a folder, or a name that is free")
    directory.mkdir(parents=True, exist_ok=True)
    path = directory.resolve() / FILE_NAME
    if path in _held:
        yield
        return
    with open(path, "ab", buffering=0) as file:  # so that a full disk is not met again at the end
        if not _locked(file, fcntl.LOCK_EX | fcntl.LOCK_NB):
            raise InputError(f"{directory} is in use by {_holder(path)}; wait for it to end")
        about = {"host": socket.gethostname(), "process": os.getpid(), "since": time.ctime()}
        with naming(path):
            file.truncate(0)
            file.write(json.dumps(about).encode() + b"\n")
        _held.add(path)
        try:
            yield
        finally:
            _held.remove(path)


@contextmanager
def wait_for(path: Path) -> Iterator[None]:
    """Holds a lock file for a block, after whoever holds it; for moments, such as a write."""
    path.parent.mkdir(parents=True, exist_ok=True)
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


def _holder(path: Path) -> str:
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
        return f"process {about['process']} on {about['host']} since {about['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"
