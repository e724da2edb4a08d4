"""Encoded images (PNG, JPEG) as arrays."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image


class UnreadableImage(Exception):
    """An image that cannot be read or decoded; the message says why."""


def decode_image(encoded: bytes, channels: int) -> NDArray[np.uint8]:
    """Decodes a PNG or JPEG file's bytes to `uint8[H, W, C]`, C = 1 (grey) or 3 (RGB).

    Greyscale, palette, CMYK and 16-bit images are converted; transparency is dropped.

    Raises:
      UnreadableImage: for empty, truncated, corrupt or dangerously large files.
    """
    try:
        with Image.open(io.BytesIO(encoded)) as image:
            return _to_array(image, channels)
    except Exception as error:  # Pillow's decoders raise every kind on a corrupt file
        raise UnreadableImage(f"{type(error).__name__}: {error}") from error


def _to_array(image: Image.Image, channels: int) -> NDArray[np.uint8]:
    if image.mode.startswith("I"):  # 16 bits, which convert() would clip instead of scale
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    elif "transparency" in image.info:  # Pillow warns if a palette's goes straight to RGB
        image = image.convert("RGBA")
    array = np.asarray(image.convert("L" if channels == 1 else "RGB"))
    return array[..., np.newaxis] if array.ndim == 2 else array
