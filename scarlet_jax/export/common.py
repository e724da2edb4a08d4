"""What the formats have in common."""

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scarlet_jax.errors import InputError

Description = dict[str, Any]  # JSON values: what an exported file says of itself
# Logits `float32[B, classes]` of images `float32[B, H, W, C]`, by a file's own runtime.
Runner = Callable[[NDArray[np.float32]], NDArray[np.float32]]


def append_description(path: Path, description: Description) -> None:
    """Appends a zip archive of `labels.txt` and `description.json`, as TFLite's metadata does.

    For flatbuffers, whose runtimes read from the front and stop; any zip reader finds the archive
    at the end of the file.
    """
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("labels.txt", "\n".join(description["class_names"]) + "\n")
        archive.writestr("description.json", json.dumps(description, indent=1) + "\n")


def described(path: Path) -> Description:
    """What `append_description` has appended. Raises `InputError` where there is nothing."""
    try:
        with zipfile.ZipFile(path) as archive:
            description: Description = json.loads(archive.read("description.json"))
    except (zipfile.BadZipFile, KeyError, ValueError) as error:
        raise InputError(f"{path} says nothing of its model: {error}") from error
    return description


def in_batches(run: Runner, size: int | None) -> Runner:
    """A function of any number of images by one of `size` images, None if it takes any."""
    if size is None:
        return run

    def call(images: NDArray[np.float32]) -> NDArray[np.float32]:
        padded = np.resize(images, (-(-len(images) // size) * size, *images.shape[1:]))
        parts = np.split(padded, len(padded) // size)
        return np.concatenate([run(part) for part in parts])[: len(images)]

    return call
