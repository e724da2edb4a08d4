"""From a decoded image to the network's square input: pure functions on `uint8[H, W, C]`.

`data` is the section of that name in the config; every random draw comes from `rng`.
"""

import math

import numpy as np
from ml_collections import ConfigDict
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]
ASPECTS = (3 / 4, 4 / 3)  # width to height of a random resized crop
LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601, as Pillow's "L"


def train_image(image: Pixels, rng: np.random.Generator, data: ConfigDict) -> Pixels:
    """Crops, flips and jitters at random: `uint8[S, S, C]`."""
    if data.crop == "resized":
        image = resized_crop(image, rng, data.image_size, data.crop_scale)
    else:
        image = center(image, data.image_size)
        if data.crop == "pad":
            image = pad_crop(image, rng, data.crop_padding)
    if data.flip and rng.random() < 0.5:
        image = image.take(np.arange(image.shape[1])[::-1], axis=1)  # NumPy's fastest copy of it
    return jitter(image, rng, data.jitter) if data.jitter else image


def eval_image(image: Pixels, data: ConfigDict) -> Pixels:
    """The middle of the image: `uint8[S, S, C]`."""
    return center(image, data.image_size, data.center_crop)


def center(image: Pixels, size: int, share: float = 1.0) -> Pixels:
    """Resizes the shorter side to `size / share` and crops the middle `[size, size, C]`.

    To the pixel what torchvision's `Resize` and `CenterCrop` make of Pillow's images.
    """
    height, width = image.shape[:2]
    resized, (top, left) = center_geometry(height, width, size, share)
    if resized != (height, width):
        image = resize(image, resized)
    return image[top : top + size, left : left + size]


def center_geometry(
    height: int, width: int, size: int, share: float
) -> tuple[tuple[int, int], tuple[int, int]]:
    """What `center` resizes to, and the top and left of what it crops, as torchvision has them.

    The longer side is truncated; an offset between two pixels goes to the even one.
    """
    short = round(size / share)
    shortest = min(height, width)
    height, width = int(short * height / shortest), int(short * width / shortest)
    return (height, width), (round((height - size) / 2), round((width - size) / 2))


def pad_crop(image: Pixels, rng: np.random.Generator, padding: int) -> Pixels:
    """Pads every side with zeros and crops at random back to the same size."""
    height, width, channels = image.shape
    padded = np.zeros((height + 2 * padding, width + 2 * padding, channels), np.uint8)
    padded[padding : padding + height, padding : padding + width] = image
    top, left = rng.integers(2 * padding + 1, size=2)
    return padded[top : top + height, left : left + width]


def resized_crop(
    image: Pixels, rng: np.random.Generator, size: int, scale: tuple[float, float]
) -> Pixels:
    """Resizes a random box to `[size, size, C]`: the crop of Inception (arXiv 1409.4842).

    The box's share of the area is uniform in `scale`, its aspect log-uniform in 3/4 to 4/3
    and otherwise as near to that as a box of this area can be.
    """
    height, width = image.shape[:2]
    area = height * width * rng.uniform(*scale)
    low, high = np.clip(ASPECTS, area / height**2, width**2 / area)
    aspect = math.exp(rng.uniform(math.log(low), math.log(high)))
    box_width, box_height = math.sqrt(area * aspect), math.sqrt(area / aspect)
    left = rng.uniform(0, max(0.0, width - box_width))
    top = rng.uniform(0, max(0.0, height - box_height))
    right, bottom = min(width, left + box_width), min(height, top + box_height)
    x, y = int(left), int(top)
    part = image[y : math.ceil(bottom), x : math.ceil(right)]  # less for Pillow to take over
    return resize(part, (size, size), (left - x, top - y, right - x, bottom - y))


def jitter(image: Pixels, rng: np.random.Generator, strength: float) -> Pixels:
    """Scales brightness, contrast and saturation (of RGB), each by 1 +- strength at most.

    One after the other; together they are one linear map of a pixel and an offset, which the mean
    grey gives.
    """
    brightness, contrast, saturation = rng.uniform(1 - strength, 1 + strength, 3)
    height, _, channels = image.shape
    columns = image.reshape(height, -1).sum(axis=0, dtype=np.uint32)  # [W * C]
    mean = columns.reshape(-1, channels).sum(axis=0) * (channels / image.size)
    if channels == 3:
        colours, grey = saturation * np.eye(3) + (1 - saturation) * LUMA, mean @ LUMA
    else:
        colours, grey = np.eye(1), mean[0]
    scale = (brightness * contrast * colours).astype(np.float32)
    pixels = image.reshape(-1, channels).astype(np.float32) @ scale.T
    pixels += np.float32(brightness * (1 - contrast) * grey + 0.5)  # the half rounds
    np.clip(pixels, 0, 255, out=pixels)
    return pixels.astype(np.uint8).reshape(image.shape)


def resize(
    image: Pixels,
    size: tuple[int, int],
    box: tuple[float, float, float, float] | None = None,
) -> Pixels:
    """Resizes `box` (left, top, right, bottom; default all) to height and width `size`.

    Bilinear, with Pillow's antialiasing.
    """
    height, width = size
    picture = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
    picture = picture.resize((width, height), Image.Resampling.BILINEAR, box=box)
    return np.asarray(picture).reshape(height, width, image.shape[-1])
