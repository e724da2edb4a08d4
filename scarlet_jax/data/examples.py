"""A user's own images without files: arrays, or whatever gives one example after the other."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from scarlet_jax import tensors
from scarlet_jax.data.decode import UnreadableImage, pixels_of
from scarlet_jax.data.sources import Example, Source, shown
from scarlet_jax.errors import InputError
from scarlet_jax.progress import Progress

KEYS = ("image", "label")  # of an example that is a mapping
SHAPES = ((), (1,), (3,))  # after an image's height and width


class Examples(NamedTuple):
    """Images and labels as they are at hand.

    Each split is a pair of arrays, images `uint8[N, H, W]` or `uint8[N, H, W, C]` and labels
    `int[N]`, or examples: a data set of torchvision, Hugging Face, Grain or TensorFlow, or a list.
    An example is a pair, or a mapping with "image" and "label"; its image is of Pillow's, or
    `uint8[H, W]` or `uint8[H, W, C]`, C = 1 or 3. What has no index, but can be gone through, is
    kept in memory.

    Attributes:
      train: to train on.
      test: for retrained models alone.
      class_names: one for each label from 0 on; the numbers if empty.
      validation: for the search; if None, the share `data.validation` of the training images.
    """

    train: Any
    test: Any
    class_names: Sequence[str] = ()
    validation: Any = None


@dataclass(frozen=True, eq=False)
class ExampleSource:
    """Examples by index, which a pass through all of them has looked at once."""

    examples: Sequence[Any]
    split: str
    channels: int
    max_aspect: float
    classes: NDArray[np.int32]
    marks: tuple[str, ...]  # of the pixels

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, index: int) -> Example:
        image, label = _parts(self.examples[index], self.name(index))
        pixels = _pixels(image, self.channels, self.max_aspect, self.name(index))
        return {"image": pixels, "label": label}

    def name(self, index: int) -> str:
        return f"{self.split}[{index}]"

    def mark(self, index: int) -> str:
        return self.marks[index]

    def labels(self) -> NDArray[np.int32]:
        return self.classes

    def examine(self, index: int) -> None:
        pass


def opened(
    examples: Examples, channels: int, max_aspect: float
) -> tuple[dict[str, Source], tuple[str, ...]]:
    """Sources by split, and class names. Every image is read once, to know it again.

    Raises:
      InputError: for images or labels of another form, or labels without a class.
    """
    given = {"train": examples.train, "test": examples.test, "validation": examples.validation}
    sources = {
        name: _source(found, name, channels, max_aspect)
        for name, found in given.items()
        if found is not None
    }
    most = max((int(source.labels().max(initial=0)) for source in sources.values()), default=0)
    names = tuple(map(str, examples.class_names)) or tuple(map(str, range(most + 1)))
    if len(set(names)) < len(names):
        raise InputError(f"classes are called {shown(names)}; allowed: each name once")
    for split, source in sources.items():
        labels = source.labels()
        if wrong := labels[(labels < 0) | (labels >= len(names))].tolist():
            raise InputError(
                f"label {wrong[0]} of {split}; allowed: 0 to {len(names) - 1}, for the classes "
                f"{shown(names)}"
            )
    return sources, names


def _source(given: Any, split: str, channels: int, max_aspect: float) -> Source:
    is_indexed = hasattr(given, "__getitem__") and hasattr(given, "__len__")
    if isinstance(given, Mapping) or not (is_indexed or isinstance(given, Iterable)):
        raise InputError(f"{split} is {type(given).__name__}; allowed: arrays or examples")
    if isinstance(given, tuple) and len(given) == 2 and len(getattr(given[0], "shape", ())) >= 3:
        given = _Pairs(*map(np.asarray, given))
        if len(given.images) != len(given):
            raise InputError(
                f"{split} has {len(given.images)} images and {len(given)} labels; allowed: as many"
            )
    elif not is_indexed:
        given = [_parts(example, split) for example in given]
    if not len(given):
        raise InputError(f"{split} has no images; allowed: one or more")
    labels: list[int] = []
    marks: list[str] = []
    with Progress(f"read {split}", len(given), "image") as progress:
        for index in range(len(given)):
            name = f"{split}[{index}]"
            image, label = _parts(given[index], name)
            labels.append(label)
            try:
                marks.append(tensors.fingerprint(_pixels(image, channels, max_aspect, name)))
            except UnreadableImage as error:
                marks.append(str(error))
            progress.update(index + 1)
    classes = np.array(labels, np.int32)
    return ExampleSource(given, split, channels, max_aspect, classes, tuple(marks))


@dataclass(frozen=True)
class _Pairs:
    """Two arrays as a sequence of examples."""

    images: NDArray[Any]
    labels: NDArray[Any]

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[NDArray[Any], Any]:
        return self.images[index], self.labels[index]


def _parts(example: Any, name: str) -> tuple[Any, int]:
    """An example's image and label."""
    if isinstance(example, Mapping):
        if missing := [key for key in KEYS if key not in example]:
            raise InputError(
                f"{name} has {shown(list(example))} and no {missing[0]!r}; allowed: an image and "
                "its label by these names"
            )
        example = tuple(example[key] for key in KEYS)
    if not isinstance(example, tuple | list) or len(example) != 2:
        raise InputError(f"{name} is {type(example).__name__}; allowed: an image and its label")
    image, label = example
    number = np.asarray(label)
    if number.size != 1 or not np.issubdtype(number.dtype, np.integer):
        raise InputError(f"{name} has the label {label!r:.60}; allowed: one integer")
    return image, int(number.item())


def _pixels(image: Any, channels: int, max_aspect: float, name: str) -> NDArray[np.uint8]:
    """`uint8[H, W, C]` of an image as users have it."""
    if not isinstance(image, Image.Image):
        array = np.asarray(image)
        is_image = array.ndim in (2, 3) and array.size and array.shape[2:] in SHAPES
        if array.dtype != np.uint8 or not is_image:
            raise InputError(
                f"{name} is {array.dtype}{list(array.shape)}; allowed: an image of Pillow's, or "
                "uint8[height, width], with or without 1 or 3 channels after them"
            )
        image = Image.fromarray(array[..., 0] if array.shape[2:] == (1,) else array)
    try:
        return pixels_of(image, channels, max_aspect)
    except UnreadableImage:
        raise
    except Exception as error:  # as Pillow's decoders do where a file is opened late
        raise UnreadableImage(f"{type(error).__name__}: {error}") from error
