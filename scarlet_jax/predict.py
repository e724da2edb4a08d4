"""Classes of pictures, by a model file or an exported one."""

import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from scarlet_jax import buckets, data, models, settings
from scarlet_jax.buckets import is_bucket
from scarlet_jax.copies import fetched
from scarlet_jax.data.decode import UnreadableImage, decode_image
from scarlet_jax.data.sources import image_suffixes
from scarlet_jax.errors import InputError
from scarlet_jax.export import job
from scarlet_jax.export.common import Runner
from scarlet_jax.models import Preprocessing

BATCH_SIZE = 32  # pictures at once (ours)
MAX_ASPECT = settings.Data().max_aspect  # as in training


class Classifier(NamedTuple):
    """What gives logits, of which images, and the names of the classes."""

    run: Runner
    preprocessing: Preprocessing
    class_names: Sequence[str]


class Prediction(NamedTuple):
    """A picture's file, and the probability of each class, `float32[classes]`."""

    path: Path
    probabilities: NDArray[np.float32]


def load(path: Path, threads: int | None = None) -> Classifier:
    """A model file or the folder of one, or a file of `scarlet export`.

    Raises:
      InputError: for a file that is missing or of another kind, or a runtime that is not installed.
    """
    kind = _format(local := fetched(path)) if path.is_file() else None
    if kind is None:
        model = models.load(path)
        call = jax.jit(model.__call__)
        return Classifier(
            lambda images: np.asarray(call(images)), model.preprocessing, model.class_names
        )
    module = job.module_of(kind)
    run, description = module.load(local, threads), module.described(local)
    preprocessing = Preprocessing.from_json(description["preprocessing"])
    return Classifier(run, preprocessing, description["class_names"])


def _format(path: Path) -> str | None:
    """What `scarlet export` calls the file's format; None of a model file."""
    with open(path, "rb") as file:
        start = file.read(9)
    if start[4:8] == b"TFL3":
        return "litert"
    if zipfile.is_zipfile(path):
        return "stablehlo"
    return None if start[8:] == b"{" else "onnx"  # a header of safetensors is JSON


def pictures(paths: Iterable[Path]) -> list[Path]:
    """The files named, and the pictures in the folders named and below, sorted.

    Raises:
      InputError: where there is none.
    """
    found: list[Path] = []
    for path in paths:
        if not path.exists():
            raise InputError(f"there is no file or folder {path}")
        if not path.is_dir():
            found.append(path)
            continue
        suffixes = image_suffixes()
        if is_bucket(path):
            below = [path / name for name in buckets.listed(path)]
        else:
            below = [own for own in path.rglob("*") if own.is_file()]
        inside = sorted(own for own in below if own.suffix.lower() in suffixes)
        if not inside:
            allowed = ", ".join(sorted(suffixes))
            raise InputError(f"{path} has no pictures; allowed are files ending in {allowed}")
        found += inside
    return found


def predict(
    classifier: Classifier,
    paths: Sequence[Path],
    unreadable: data.Unreadable,
    done: Callable[[int], None] = lambda count: None,
) -> Iterator[Prediction]:
    """Of every picture that can be read, in order.

    Args:
      classifier: that is asked.
      paths: of files.
      unreadable: notes the others.
      done: is told how many have been looked at.
    """
    preprocessing = classifier.preprocessing
    for start in range(0, len(paths), BATCH_SIZE):
        batch, images = paths[start : start + BATCH_SIZE], {}
        for path in batch:
            try:
                picture = decode_image(path.read_bytes(), preprocessing.channels, MAX_ASPECT)
            except (OSError, UnreadableImage) as error:
                unreadable.note(str(path), str(error))
            else:
                images[path] = preprocessing(picture)
        if images:
            probabilities = softmax(classifier.run(np.stack(list(images.values()))), axis=1)
            yield from map(Prediction, images, probabilities)
        done(start + len(batch))
