"""One writer at a time in a bucket, which knows no locks: an object that its holder renews.

Where it is no longer renewed, its holder is gone, and the next one takes its place.
"""

import json
import os
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from absl import logging

from scarlet_jax import buckets, files, interrupts

SECONDS = 60  # without a renewal, after which a holder is gone (ours)
RENEW_SECONDS = 15  # (ours)
POLL_SECONDS = 2  # (ours)
SETTLE_SECONDS = 1  # in which two that take a lease at once see each other (ours)


class Taken(Exception):
    """Somebody else holds the lease; the record is theirs."""

    def __init__(self, record: Mapping[str, Any]):
        super().__init__()
        self.record = record


@contextmanager
def hold(path: Path, about: Mapping[str, Any]) -> Iterator[None]:
    """Holds a lease for a block.

    If it is lost, as when this machine was suspended, the process ends at once, with code 2: what
    it writes is another's by now.

    Args:
      path: of the object.
      about: JSON values that say who holds it, its "host" and "process" among them.

    Raises:
      Taken: if another process holds it, and renews it.
      OSError: if nothing can be written there.
    """
    own = {**about, "lease": uuid.uuid4().hex}
    _take(path, own)
    ending = threading.Event()
    renewing = threading.Thread(target=_renew, args=(path, own, ending), daemon=True)
    renewing.start()
    try:
        yield
    finally:
        ending.set()
        renewing.join()
        with suppress(OSError):  # of itself it ends later
            if _is_own(path, own):
                buckets.remove(path)


def _take(path: Path, own: Mapping[str, Any]) -> None:
    found, since = _read(path), time.monotonic()
    if found and not _is_gone(found, own):
        logging.warning("%s: waiting for at most %d s, lest it is in use", path.parent, SECONDS)
    while found and not _is_gone(found, own) and time.monotonic() - since < SECONDS:
        time.sleep(POLL_SECONDS)
        now = _read(path)
        if now is not None and now != found:
            raise Taken(now)
        found = now
    if found:
        buckets.remove(path)
    _write(path, own)
    time.sleep(SETTLE_SECONDS)
    if not _is_own(path, own):
        raise Taken(_read(path) or {})


def _is_gone(record: Mapping[str, Any], own: Mapping[str, Any]) -> bool:
    """Whether a holder has been a process of this machine that is there no more."""
    number = record.get("process")
    if record.get("host") != own["host"] or not isinstance(number, int):
        return False
    # Containers begin to count anew, so the number may be this process's own.
    return number == own["process"] or not Path(f"/proc/{number}").exists()


def _is_own(path: Path, own: Mapping[str, Any]) -> bool:
    return (_read(path) or {}).get("lease") == own["lease"]


def _read(path: Path) -> dict[str, Any] | None:
    """What the object holds. Raises `OSError` if the bucket cannot be reached."""
    try:
        return dict(json.loads(files.read_bytes(path)))
    except FileNotFoundError:
        return None


def _write(path: Path, record: Mapping[str, Any]) -> None:
    files.replace_text(path, json.dumps(record) + "\n")


def _renew(path: Path, own: Mapping[str, Any], ending: threading.Event) -> None:
    renewals = 0
    while not ending.wait(RENEW_SECONDS):
        renewals += 1
        try:
            if not _is_own(path, own):
                interrupts.say(f"error: {path} is held by another process by now; this one ends")
                os._exit(2)
            _write(path, {**own, "renewals": renewals})
        except OSError as error:  # the network may be back the next time
            logging.warning("%s cannot be renewed: %s", path, error)
