"""One writer at a time in a bucket: an object that is created by one, who renews it.

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
SETTLE_SECONDS = 1  # in which, where services do not refuse a second creation, two see each other


class Taken(Exception):
    """Somebody else holds the lease; the record is theirs."""

    def __init__(self, record: Mapping[str, Any]):
        super().__init__()
        self.record = record


@contextmanager
def hold(path: Path, about: Mapping[str, Any]) -> Iterator[None]:
    """Holds a lease for a block.

    If it is lost, or cannot be renewed in time, the process ends at once, with code 2: what it
    writes may be another's by now.

    Args:
      path: of the object.
      about: JSON values that say who holds it, its "process" among them.

    Raises:
      Taken: if another process holds it, and renews it.
      OSError: if nothing can be written there.
    """
    own = {**about, "machine": _machine(), "lease": uuid.uuid4().hex}
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
    if found is not None and not _is_gone(found, own):
        logging.warning("%s: waiting for at most %d s, lest it is in use", path.parent, SECONDS)
        while time.monotonic() - since < SECONDS:
            time.sleep(POLL_SECONDS)
            now = _read(path)
            if now is None:
                break
            if now != found:
                raise Taken(now)
    if found is not None:
        buckets.remove(path)
    try:
        with buckets.reaching(path):
            buckets.system(path).pipe_file(os.fspath(path), _encoded(own), mode="create")
    except FileExistsError:
        raise Taken(_read(path) or {}) from None
    time.sleep(SETTLE_SECONDS)
    if not _is_own(path, own):
        raise Taken(_read(path) or {})


def _machine() -> str | None:
    """Where process numbers mean the same: until it starts anew, and but for containers."""
    with suppress(OSError):
        started = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{started} {os.readlink('/proc/self/ns/pid')}"
    return None


def _is_gone(record: Mapping[str, Any], own: Mapping[str, Any]) -> bool:
    """Whether a holder has been a process of this machine that is there no more."""
    number, machine = record.get("process"), record.get("machine")
    if machine is None or machine != own["machine"]:
        return False
    return number == own["process"] or not Path(f"/proc/{number}").exists()


def _is_own(path: Path, own: Mapping[str, Any]) -> bool:
    return (_read(path) or {}).get("lease") == own["lease"]


def _read(path: Path) -> dict[str, Any] | None:
    """What the object holds; nothing if it is damaged. Raises `OSError` if out of reach."""
    try:
        return dict(json.loads(files.read_bytes(path)))
    except FileNotFoundError:
        return None
    except (TypeError, ValueError):
        return {}


def _encoded(record: Mapping[str, Any]) -> bytes:
    return json.dumps(record).encode() + b"\n"


def _renew(path: Path, own: Mapping[str, Any], ending: threading.Event) -> None:
    renewals, renewed = 0, time.monotonic()
    while not ending.wait(RENEW_SECONDS):
        try:
            if not _is_own(path, own):
                _end(f"{path} is held by another process by now")
            renewals += 1
            with buckets.reaching(path):
                record = _encoded({**own, "renewals": renewals})
                buckets.system(path).pipe_file(os.fspath(path), record)
            renewed = time.monotonic()
        except OSError as error:  # the network may be back the next time
            logging.warning("%s cannot be renewed: %s", path, error)
            if time.monotonic() - renewed > SECONDS:
                _end(f"{path} could not be renewed for {SECONDS} s")


def _end(reason: str) -> None:
    interrupts.say(f"error: {reason}; this process ends")
    os._exit(2)
