"""Encoded images (PNG, JPEG, and what else Pillow reads) as arrays."""

import contextlib
import io
import math
import re
import warnings
from pathlib import Path

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError

JPEG, EXIF = b"\xff\xd8\xff", b"Exif\0\0"
COLOURS = {1: "GRAY", 3: "RGB"}  # by channels
LFS_POINTER = b"version https://git-lfs"
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


def decode_image(
    encoded: bytes, channels: int, max_aspect: float = math.inf, fast_above: float = math.inf
) -> NDArray[np.uint8]:
    """Decodes an image file's bytes to `uint8[H, W, C]`, C = 1 (grey) or 3 (RGB).

    It is turned upright by its EXIF orientation. Greyscale, palette, CMYK and 16-bit images are
    converted, transparency is dropped, and of several frames the first is taken.

    Args:
      encoded: the file.
      channels, max_aspect: see `config.data`.
      fast_above: pixels; the values of a JPEG whose sides are longer may be off by a few, and its
        colours blocky, which shrinking evens out. Else they are Pillow's.

    Raises:
      UnreadableImage: for empty, truncated, corrupt or dangerously large files, for pixels of 32
        bits, whose range is anyone's guess, and where one side is more than `max_aspect` times the
        other.
    """
    _ignore_broken_metadata()
    try:
        if shortest := _plain_jpeg(encoded, channels, max_aspect):
            fast = shortest > fast_above
            with contextlib.suppress(ValueError):  # of what Pillow may still read, or will explain
                return simplejpeg.decode_jpeg(
                    encoded, COLOURS[channels], fastdct=fast, fastupsample=fast, strict=True
                )
        with Image.open(io.BytesIO(encoded)) as image:
            return pixels_of(image, channels, max_aspect)
    except Exception as error:  # Pillow's decoders raise every kind on a corrupt file
        raise UnreadableImage(_reason(error, encoded)) from error


def _plain_jpeg(encoded: bytes, channels: int, max_aspect: float) -> int:
    """The shorter side of what libjpeg-turbo alone decodes as Pillow does, in 2/3 of the time.

    0 for all others.
    """
    if not encoded.startswith(JPEG) or EXIF in encoded:
        return 0
    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(encoded)
    except ValueError:
        return 0
    small = height * width <= (Image.MAX_IMAGE_PIXELS or 0)
    even = max(height, width) <= max_aspect * min(height, width)
    # Pillow makes grey of RGB, which rounds twice.
    same = colours == "Gray" or (colours == "YCbCr" and channels == 3)
    return min(height, width) if small and even and same else 0


def pixels_of(image: Image.Image, channels: int, max_aspect: float) -> NDArray[np.uint8]:
    """`uint8[H, W, C]` of a picture of Pillow's, as `decode_image`, but raises anything."""
    _ignore_broken_metadata()
    _check_aspect(image, max_aspect)
    pixels = _in_eight_bits(image, channels)
    # By now Pillow has turned a TIFF itself, and read what follows the pixels of a PNG.
    turn = _turn(image)
    array = np.asarray(pixels if turn is None else pixels.transpose(turn))
    return array[..., np.newaxis] if array.ndim == 2 else array


def check_header(path: Path, max_aspect: float) -> None:
    """Opens an image file without decoding it. Raises `UnreadableImage` as `decode_image`."""
    _ignore_broken_metadata()
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


def _in_eight_bits(image: Image.Image, channels: int) -> Image.Image:
    """The image in mode L or RGB."""
    if image.mode.startswith(("I", "F")):  # which convert() would clip instead of scale
        values = np.asarray(image)
        wide = image.mode in ("I", "F")  # 16 bits in some formats, 8 or 32 in others
        if wide and (image.mode == "F" or values.min() < 0 or not 0xFF < values.max() <= 0xFFFF):
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
