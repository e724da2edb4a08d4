"""Encoded images (PNG, JPEG, and what else Pillow reads) as arrays."""

import io
import re
import warnings

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

UPRIGHT = {  # by EXIF orientation, what turns the picture as it was seen
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# Pillow warns of metadata that is broken, which says nothing of the pixels.
QUIET = ("ignore", None, UserWarning, re.compile(r"PIL\."), 0)


class UnreadableImage(Exception):
    """An image that cannot be read or decoded; the message says why."""


def decode_image(encoded: bytes, channels: int) -> NDArray[np.uint8]:
    """Decodes an image file's bytes to `uint8[H, W, C]`, C = 1 (grey) or 3 (RGB).

    It is turned upright by its EXIF orientation. Greyscale, palette, CMYK and 16-bit images are
    converted, transparency is dropped, and of several frames the first is taken.

    Raises:
      UnreadableImage: for empty, truncated, corrupt or dangerously large files, and for pixels of
        32 bits, whose range is anyone's guess.
    """
    _ignore_broken_metadata()
    try:
        with Image.open(io.BytesIO(encoded)) as image:
            pixels = _in_eight_bits(image, channels)
            # By now Pillow has turned a TIFF itself, and read what follows the pixels of a PNG.
            turn = _turn(image)
    except Exception as error:  # Pillow's decoders raise every kind on a corrupt file
        raise UnreadableImage(f"{type(error).__name__}: {error}") from error
    array = np.asarray(pixels if turn is None else pixels.transpose(turn))
    return array[..., np.newaxis] if array.ndim == 2 else array


def _in_eight_bits(image: Image.Image, channels: int) -> Image.Image:
    """The image in mode L or RGB."""
    if image.mode.startswith(("I", "F")):  # which convert() would clip instead of scale
        values = np.asarray(image)
        if image.mode == "F" or values.min() < 0 or values.max() > 0xFFFF:
            raise ValueError("its pixels have 32 bits; allowed: 8 or 16")
        image = Image.fromarray((values >> 8).astype(np.uint8))
    elif "transparency" in image.info:  # Pillow warns if a palette's goes straight to RGB
        image = image.convert("RGBA")
    return image.convert("L" if channels == 1 else "RGB")


def _turn(image: Image.Image) -> Image.Transpose | None:
    try:
        return UPRIGHT.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # broken metadata raises every kind, too
        return None


def _ignore_broken_metadata() -> None:
    """Not by `warnings.catch_warnings`, which is not for the many threads that decode."""
    if warnings.filters[:1] != [QUIET]:
        warnings.filterwarnings("ignore", category=UserWarning, module=QUIET[3].pattern)
