"""Small images on disk and the settings to read them, for the tests of scarlet_jax.data."""

import io
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict
from PIL import Image

from scarlet_jax.configs import base


def data_config(**changes: Any) -> ConfigDict:
    """`config.data` for 8-pixel images, read without threads, with some settings changed."""
    data = base.get_config().data
    data.update(source="folder", image_size=8, crop="none", center_crop=1.0)
    data.update(flip=False, jitter=0.0, threads=0, validation=0.0)
    data.update(changes)
    return data


def png(image: np.ndarray) -> bytes:
    """The bytes of a PNG file that holds `uint8[H, W]` or `uint8[H, W, 3]`."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


def flat(value: int, size: int = 8) -> np.ndarray:
    """An RGB image with every pixel at `value`, `uint8[size, size, 3]`."""
    return np.full((size, size, 3), value, np.uint8)


def write_folder(root: Path, train: dict[str, int], test: dict[str, int]) -> None:
    """Writes so many flat images a class; no two images of a split have the same value."""
    for split, counts in (("train", train), ("test", test)):
        value = 0
        for name, count in counts.items():
            folder = root / split / name
            folder.mkdir(parents=True)
            for i in range(count):
                (folder / f"{i:03}.png").write_bytes(png(flat(value)))
                value += 1
