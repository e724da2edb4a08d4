"""Images to compare, calibrate and score exported files with."""

from collections.abc import Iterator

import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict
from numpy.typing import NDArray

from scarlet_jax import data, devices, models
from scarlet_jax.data.sources import Source, Subset
from scarlet_jax.errors import InputError
from scarlet_jax.models import Model

SHOWN = 3  # class names in a message
Batches = Iterator[tuple[NDArray[np.float32], NDArray[np.int32]]]


def fitted(section: ConfigDict, model: Model) -> ConfigDict:
    """A configuration's data section with the model's preprocessing in it."""
    section = section.copy_and_resolve_references()
    preprocessing = model.preprocessing
    with section.unlocked():
        for name in ("image_size", "channels", "mean", "std", "center_crop"):
            section[name] = getattr(preprocessing, name)
    return section


def check_classes(model: Model, class_names: tuple[str, ...]) -> NDArray[np.int32]:
    """The model's output for each class of the data, `int32[C]`.

    Raises:
      InputError: for data of other classes than the model has.
    """
    outputs = models.class_outputs(model, class_names)
    if outputs is None:
        data_has = _shown(class_names, model.class_names)
        raise InputError(
            f"the data has the {data_has}, the model the {_shown(model.class_names, class_names)}; "
            "allowed: data of the model's classes"
        )
    return outputs


def _shown(names: tuple[str, ...], others: tuple[str, ...]) -> str:
    """How many there are, and first those that the others lack."""
    known = set(others)
    lacking = [name for name in names if name not in known] or names
    return f"{len(names)} classes {', '.join(lacking[:SHOWN])}, ..."


def read(
    source: Source, section: ConfigDict, count: int, batch_size: int, unreadable: data.Unreadable
) -> Batches:
    """Images spread evenly over a source, as evaluation prepares them.

    Args:
      source: of images and labels.
      section: the data section of a configuration.
      count: images at most; 0 for all.
      batch_size: images at once, fewer in the last batch.
      unreadable: notes those that cannot be read, which are left out.

    Yields:
      `(float32[B, S, S, C], int32[B])`.
    """
    if 0 < count < len(source):
        spread = np.linspace(0, len(source), count, endpoint=False).astype(np.int64)
        source = Subset(source, spread)
    for batch in data.eval_batches(source, section, batch_size=batch_size, unreadable=unreadable):
        readable = batch["weight"] > 0
        pixels = jnp.asarray(batch["image"][readable])
        images = devices.normalise(pixels, section.mean, section.std)
        yield np.asarray(images), batch["label"][readable]


def random(model: Model, count: int) -> Batches:
    """One batch of noise, for when there is no data; the labels mean nothing."""
    preprocessing = model.preprocessing
    side = preprocessing.image_size
    shape = (count, side, side, preprocessing.channels)
    noise = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    yield noise, np.zeros(count, np.int32)
