"""The three splits of a run: training, validation for the search, and test."""

from dataclasses import dataclass

import numpy as np
from ml_collections import ConfigDict
from numpy.typing import NDArray

from scarlet_jax.data import augment, sources
from scarlet_jax.data.sources import Source, Subset
from scarlet_jax.errors import InputError

SOURCES = ("mnist", "folder", "tfds")


@dataclass(frozen=True)
class Splits:
    """Disjoint images: the test images are never trained or searched on."""

    train: Source
    validation: Source
    test: Source
    class_names: tuple[str, ...]  # one for each class, in the order of the labels


def load(data: ConfigDict, seed: int) -> Splits:
    """Opens the source that `config.data` names and holds its validation images out.

    Validation is the share `data.validation` of each class's training images, the same for
    the same seed. A tfds source is read through once for it, to learn its labels.

    Raises:
      InputError: for a setting out of range, or data that is missing or does not fit.
    """
    _check(data)
    if data.source == "mnist":
        train, test, class_names = sources.mnist(data.channels)
    elif data.source == "folder":
        train, test, class_names = sources.folder(
            data.path, data.train_split, data.test_split, data.channels
        )
    else:
        from scarlet_jax.data import tfds  # here, as it is slow to import

        train, test, class_names = tfds.prepared(
            data.path, data.train_split, data.test_split, data.channels
        )
    if data.num_classes not in (0, len(class_names)):
        raise InputError(
            f"data.num_classes is {data.num_classes}, but the {data.source} source has "
            f"{len(class_names)} classes; allowed: that, or 0 to take what it has"
        )
    if not data.validation:
        return Splits(train, Subset(train, np.zeros(0, np.int64)), test, class_names)
    kept, held = stratified_split(train.labels(), data.validation, seed)
    return Splits(Subset(train, kept), Subset(train, held), test, class_names)


def stratified_split(
    labels: NDArray[np.int32], share: float, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Splits `int32[N]` labels into sorted indices kept and held out, class by class.

    A class gives its share, rounded, but at least one image and never its last one.
    """
    rng = np.random.default_rng(seed)
    is_held = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        count = min(max(1, round(share * len(members))), len(members) - 1)
        is_held[rng.permutation(members)[:count]] = True
    return np.flatnonzero(~is_held), np.flatnonzero(is_held)


def _check(data: ConfigDict) -> None:
    if data.source not in SOURCES:
        raise InputError(f"data.source is {data.source!r}; allowed: {', '.join(SOURCES)}")
    if data.source != "mnist" and not data.path:
        raise InputError(f"data.path is empty; the {data.source} source needs its folder")
    if data.channels not in (1, 3):
        raise InputError(f"data.channels is {data.channels}; allowed: 1 (grey), 3 (RGB)")
    if not 0 <= data.validation < 1:
        raise InputError(f"data.validation is {data.validation}; allowed: 0 up to, not with, 1")
    for name in ("mean", "std"):
        if len(data[name]) != data.channels:
            raise InputError(
                f"data.{name} is {data[name]}; allowed: one value for each of the "
                f"{data.channels} channels"
            )
    for name in ("threads", "workers"):
        if data[name] < 0:
            raise InputError(f"data.{name} is {data[name]}; allowed: 0 or more")
    augment.check(data)
