"""Arrays in a file that is whole at every moment, and says so if it is not.

A file is an uncompressed .npz with a checksum of its arrays. The version before the last is kept
beside it, and used where the last one cannot be read; but in a bucket, where an object is whole.
"""

import hashlib
import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scarlet_jax.buckets import is_bucket
from scarlet_jax.files import (
    Damaged,
    check_replaceable,
    make_folder,
    naming,
    read_bytes,
    replacing,
    warn_once,
)

CHECKSUM = "checksum"


def write(path: Path, arrays: Mapping[str, Any]) -> None:
    """Replaces the file in one step; the one before becomes `NAME.previous`.

    Raises:
      InputError: if something else than a file is in the place of one.
      OSError: if the file cannot be written.
    """
    stored: dict[str, Any] = {name: np.asarray(array) for name, array in arrays.items()}
    stored[CHECKSUM] = np.array(_checksum(stored))
    if is_bucket(path):  # where an object is replaced whole
        with replacing(path) as whole:
            np.savez(whole, **stored)
        return
    make_folder(path.parent)
    partial, previous = _beside(path, "partial"), _beside(path, "previous")
    for each in (path, previous, partial):
        check_replaceable(each)
    with naming(partial), open(partial, "wb") as file:
        np.savez(file, **stored)
        file.flush()
        os.fsync(file.fileno())
    if path.exists():
        os.replace(path, previous)
    os.replace(partial, path)


def read(path: Path) -> dict[str, NDArray[Any]] | None:
    """The arrays of the file, of the one before it if that is damaged, or None without any.

    Between the two comes one that was written whole, but had no time to take its place.

    What is damaged is named and passed over: all that is kept so can be computed again.

    Raises:
      OSError: if its bucket cannot be reached.
    """
    for candidate in (path, _beside(path, "partial"), _beside(path, "previous")):
        try:
            content = read_bytes(candidate)
        except FileNotFoundError:
            continue
        except Damaged as damage:
            warn_once(str(damage))
            continue
        try:
            return _arrays(content)
        except Exception as error:  # damage makes zipfile and NumPy raise anything
            reason = str(error) or type(error).__name__
            warn_once(f"{candidate} is damaged and passed over: {reason}")
    return None


def _beside(path: Path, what: str) -> Path:
    return path.with_name(f"{path.name}.{what}")


def _arrays(content: bytes) -> dict[str, NDArray[Any]]:
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    checksum = str(arrays.pop(CHECKSUM))
    if checksum != _checksum(arrays):
        raise ValueError("its checksum does not fit")
    return arrays


def _checksum(arrays: Mapping[str, NDArray[Any]]) -> str:
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"{name} {array.dtype.str} {array.shape} ".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
