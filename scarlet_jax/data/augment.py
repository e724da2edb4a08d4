"""From a decoded image to the network's square input: pure functions on `uint8[H, W, C]`.

`data` is the section of that name in the config; every random draw comes from `rng`.
"""

import math
from typing import Any

import cv2
import numpy as np
from ml_collections import ConfigDict
from numpy.typing import NDArray
from PIL import Image

cv2.setNumThreads(1)  # images are what threads share
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
        image = _pixels(cv2.flip(image, 1), image.shape)
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

    Where both sides shrink, a pixel is the mean of those that it covers; else it is bilinear.
    """
    height, width, channels = image.shape
    top, left, height, width = random_box(height, width, rng, scale)
    box = image[top : top + height, left : left + width]
    how = cv2.INTER_AREA if min(height, width) > size else cv2.INTER_LINEAR
    resized = cv2.resize(box, (size, size), interpolation=how)
    return _pixels(resized, (size, size, channels))


def random_box(
    height: int, width: int, rng: np.random.Generator, scale: tuple[float, float]
) -> tuple[int, int, int, int]:
    """Top, left, height and width of a box in an image of that size.

    Its share of the area is uniform in `scale`, its aspect log-uniform in 3/4 to 4/3 and otherwise
    as near to that as a box of this area can be; both to whole pixels.
    """
    area = height * width * rng.uniform(*scale)
    low, high = np.clip(ASPECTS, area / height**2, width**2 / area)
    aspect = math.exp(rng.uniform(math.log(low), math.log(high)))
    box_height = min(height, max(1, round(math.sqrt(area / aspect))))
    box_width = min(width, max(1, round(math.sqrt(area * aspect))))
    top, left = rng.integers((height - box_height + 1, width - box_width + 1)).tolist()
    return top, left, box_height, box_width


def jitter(image: Pixels, rng: np.random.Generator, strength: float) -> Pixels:
    """Scales brightness, contrast and saturation (of RGB), each by 1 +- strength at most.

    One after the other; together they are one linear map of a pixel and an offset, which the mean
    grey gives. OpenCV carries it out in fixed point: one value in 30 is off by one.
    """
    brightness, contrast, saturation = rng.uniform(1 - strength, 1 + strength, 3)
    channels = image.shape[-1]
    mean = np.array(cv2.mean(image)[:channels])
    if channels == 3:
        colours, grey = saturation * np.eye(3) + (1 - saturation) * LUMA, mean @ LUMA
    else:
        colours, grey = np.eye(1), mean[0]
    offset = np.full((channels, 1), brightness * (1 - contrast) * grey)
    linear = np.hstack([brightness * contrast * colours, offset]).astype(np.float32)
    return _pixels(cv2.transform(image, linear), image.shape)


def _pixels(array: NDArray[Any], shape: tuple[int, ...]) -> Pixels:
    """Of OpenCV, which leaves out the axis of a single channel."""
    return np.asarray(array, np.uint8).reshape(shape)


def resize(image: Pixels, size: tuple[int, int]) -> Pixels:
    """Resizes to height and width `size`: bilinear, with Pillow's antialiasing."""
    height, width = size
    picture = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
    picture = picture.resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(picture).reshape(height, width, image.shape[-1])
