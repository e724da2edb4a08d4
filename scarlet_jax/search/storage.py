"""Arrays in a file that is whole at every moment, and says so if it is not.

A file is an uncompressed .npz with a checksum of its arrays. The version before the last is kept
beside it, and used where the last one cannot be read.
"""

import hashlib
import os
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from absl import logging
from numpy.typing import NDArray

from scarlet_jax.errors import InputError
from scarlet_jax.files import check_replaceable

CHECKSUM = "checksum"


def write(path: Path, arrays: Mapping[str, Any]) -> None:
    """Replaces the file in one step; the one before becomes `NAME.previous`.

    Raises:
      InputError: if something else than a file is in the place of one.
      OSError: if the file cannot be written.
    """
    stored: dict[str, Any] = {name: np.asarray(array) for name, array in arrays.items()}
    stored[CHECKSUM] = np.array(_checksum(stored))
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    for place in (path, _previous(path), partial):
        check_replaceable(place)
    with open(partial, "wb") as file:
        np.savez(file, **stored)
        file.flush()
        os.fsync(file.fileno())
    if path.exists():
        os.replace(path, _previous(path))
    os.replace(partial, path)


def read(path: Path) -> dict[str, NDArray[Any]] | None:
    """The arrays of the file, of the one before it if that is damaged, or None without any.

    Raises:
      InputError: if there are files, but none can be read.
    """
    damaged = []
    for candidate in (path, _previous(path)):
        if not candidate.exists():
            continue
        try:
            arrays = _read(candidate)
        except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile, zlib.error) as error:
            damaged.append(f"{candidate} cannot be read ({error})")
            continue
        if damaged:
            logging.warning("%s; going on from %s", damaged[0], candidate)
        return arrays
    if damaged:
        raise InputError(f"{' and '.join(damaged)}; remove {'them' if damaged[1:] else 'it'}")
    return None


def _previous(path: Path) -> Path:
    return path.with_name(path.name + ".previous")


def _read(path: Path) -> dict[str, NDArray[Any]]:
    with open(path, "rb") as binary, np.load(binary, allow_pickle=False) as file:
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
