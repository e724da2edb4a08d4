"""Encoded images (PNG, JPEG and whatever else Pillow reads) as arrays."""

import io
import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

LFS_POINTER = b"version https://git-lfs"


class UnreadableImage(Exception):
    """An image that cannot be read or decoded; the message says why."""


def decode_image(encoded: bytes, channels: int, max_aspect: float = math.inf) -> NDArray[np.uint8]:
    """Decodes an image file's bytes to `uint8[H, W, C]`, C = 1 (grey) or 3 (RGB).

    Greyscale, palette, CMYK and 16-bit images are converted; transparency is dropped.

    Raises:
      UnreadableImage: for empty, truncated, corrupt or dangerously large files, or where one side
        is more than `max_aspect` times the other.
    """
    try:
        with Image.open(io.BytesIO(encoded)) as image:
            _check_aspect(image, max_aspect)
            return _to_array(image, channels)
    except Exception as error:  # Pillow's decoders raise every kind on a corrupt file
        raise UnreadableImage(_reason(error, encoded)) from error


def check_header(path: Path, max_aspect: float) -> None:
    """Opens an image file without decoding it. Raises `UnreadableImage` as `decode_image`."""
    try:
        with Image.open(path) as image:
            _check_aspect(image, max_aspect)
    except OSError as error:
        raise UnreadableImage(_reason(error, _start(path))) from error
    except Exception as error:  # as above
        raise UnreadableImage(_reason(error, b"")) from error


def _check_aspect(image: Image.Image, most: float) -> None:
    width, height = image.size
    if max(width, height) > most * min(width, height):
        raise UnreadableImage(
            f"{width} x {height} pixels; allowed: one side at most {most:g} times the other"
        )


def _start(path: Path) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(len(LFS_POINTER))
    except OSError:
        return b""


def _reason(error: Exception, encoded: bytes) -> str:
    """Why an image cannot be read, in words that help."""
    if encoded.startswith(LFS_POINTER):
        return "a pointer of Git LFS; git lfs pull fetches the image"
    if isinstance(error, UnidentifiedImageError):
        return "no image that Pillow knows" if encoded else "an empty file"
    return str(error) if isinstance(error, UnreadableImage) else f"{type(error).__name__}: {error}"


def _to_array(image: Image.Image, channels: int) -> NDArray[np.uint8]:
    if image.mode.startswith("I"):  # 16 bits, which convert() would clip instead of scale
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    elif "transparency" in image.info:  # Pillow warns if a palette's goes straight to RGB
        image = image.convert("RGBA")
    array = np.asarray(image.convert("L" if channels == 1 else "RGB"))
    return array[..., np.newaxis] if array.ndim == 2 else array
