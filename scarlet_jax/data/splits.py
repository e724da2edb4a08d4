"""The three splits of a run: training, validation for the search, and test."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from ml_collections import ConfigDict
from numpy.typing import NDArray

from scarlet_jax import settings
from scarlet_jax.data import sources
from scarlet_jax.data.examples import Examples, opened
from scarlet_jax.data.sources import Source, Subset
from scarlet_jax.errors import InputError


@dataclass(frozen=True)
class Splits:
    """Disjoint images: the test images are never trained or searched on."""

    train: Source
    validation: Source
    test: Source
    class_names: tuple[str, ...]  # one for each class, in the order of the labels
    left_out: Mapping[str, str]  # files that are no images, and why

    @cached_property
    def identity(self) -> dict[str, Any]:
        """What the results of a run depend on of its data, as JSON values: see `_digest`.

        A folder that has moved is the same data.
        """
        own = {"train": self.train, "validation": self.validation, "test": self.test}
        counts = {name: {"count": len(s), "sha256": _digest(s)} for name, s in own.items()}
        return {"classes": list(self.class_names), **counts}


def load(data: ConfigDict, seed: int, examples: Examples | None = None) -> Splits:
    """Opens the source that `config.data` names, or examples, with images for validation.

    These are a split of their own, where there is one. Else they are the share `data.validation`
    of each class's training images, which are held out, the same for the same seed. JPEG files to
    train on that are larger than `data.image_size` are decoded fast, all others as Pillow does.

    Raises:
      InputError: for a setting out of range, or data that is missing or does not fit.
    """
    section = settings.check_section(settings.Data, data, "data")
    if section.validation_split and (examples is not None or section.source == "mnist"):
        raise InputError(
            f"data.validation_split is {section.validation_split!r}; allowed: none, as only "
            "folders and prepared data sets have splits by name"
        )
    left_out: Mapping[str, str] = {}
    own: Mapping[str, Source]
    if examples is not None:
        own, class_names = opened(examples, section.channels, section.max_aspect)
    elif section.source == "mnist":
        own, class_names = sources.mnist(section.channels)
    elif not section.path:
        raise InputError(f"data.path is empty; the {section.source} source needs its folder")
    else:
        splits = {"train": section.train_split, "test": section.test_split}
        if section.validation_split:
            splits["validation"] = section.validation_split
        where = section.path, splits, section.channels, section.max_aspect
        if section.source == "folder":
            folders, class_names = sources.folder(*where)
            left_out = {name: why for f in folders.values() for name, why in f.left_out.items()}
            own = folders
        else:
            from scarlet_jax.data import tfds  # here, as it is slow to import

            own, class_names = tfds.prepared(*where)
    if section.num_classes not in (0, len(class_names)):
        raise InputError(
            f"data.num_classes is {section.num_classes}, but the data have {len(class_names)} "
            "classes; allowed: that, or 0 to take what they have"
        )
    train = own["train"]
    quick = sources.quick(train, section.image_size)
    if "validation" in own:
        return Splits(quick, own["validation"], own["test"], class_names, left_out)
    rest, held = np.arange(len(train)), np.zeros(0, np.int64)
    if section.validation:
        rest, held = stratified_split(train.labels(), section.validation, seed)
    return Splits(Subset(quick, rest), Subset(train, held), own["test"], class_names, left_out)


def _digest(source: Source) -> str:
    """Of names, sizes and labels of all images, in order: a second or two for a million."""
    digest = hashlib.sha256()
    marks = map(source.mark, range(len(source)))
    for mark, label in zip(marks, source.labels().tolist(), strict=True):
        digest.update(f"{label} {mark}\n".encode())
    return digest.hexdigest()


def stratified_split(
    labels: NDArray[np.int32], share: float, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Splits `int32[N]` labels into indices to train on and held out, class by class.

    A class gives its share, rounded, but at least one image and never its last one. What is held
    out is shuffled: a batch has all classes, as batch norm's statistics of it need.
    """
    rng = np.random.default_rng(seed)
    is_held = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        count = min(max(1, round(share * len(members))), len(members) - 1)
        is_held[rng.permutation(members)[:count]] = True
    return np.flatnonzero(~is_held), rng.permutation(np.flatnonzero(is_held))
