import itertools
import json

import numpy as np
import pytest
from data_images import data_config
from golden import torchvision_center
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance

from scarlet_jax.data import augment

SHAPES = st.tuples(st.integers(1, 40), st.integers(1, 40), st.sampled_from([1, 3]))
SEEDS = st.integers(0, 2**32 - 1)


def random_image(shape, seed=0):
    return np.random.default_rng(seed).integers(256, size=shape, dtype=np.uint8)


class Draws:
    """Stands for a random generator and gives out the values it was made with."""

    def __init__(self, *values):
        self.values = list(values)

    def uniform(self, low, high, size=None):
        return self.values.pop(0)

    def integers(self, high, size):
        return self.values.pop(0)

    def random(self):
        return self.values.pop(0)


@settings(deadline=None)
@given(
    SHAPES,
    SEEDS,
    st.sampled_from(["none", "pad", "resized"]),
    st.booleans(),
    st.sampled_from([0.0, 0.4]),
    st.integers(1, 24),
)
def test_every_image_becomes_the_networks_input(shape, seed, crop, flip, jitter, size):
    data = data_config(crop=crop, flip=flip, jitter=jitter, image_size=size)
    image = random_image(shape)
    before = image.copy()
    first = augment.train_image(image, np.random.default_rng(seed), data)
    second = augment.train_image(image, np.random.default_rng(seed), data)
    assert first.shape == (size, size, shape[-1])
    assert first.dtype == np.uint8
    np.testing.assert_array_equal(first, second)  # a function of image, draws and settings
    np.testing.assert_array_equal(image, before)


@settings(deadline=None)
@given(SHAPES, SEEDS)
def test_a_flat_image_stays_flat_whatever_the_geometry(shape, seed):
    data = data_config(crop="resized", flip=True, crop_scale=(0.01, 1.0))
    image = np.full(shape, 77, np.uint8)
    result = augment.train_image(image, np.random.default_rng(seed), data)
    np.testing.assert_array_equal(result, 77)


@settings(deadline=None)
@given(st.integers(1, 6), st.integers(0, 3), SEEDS, st.sampled_from([1, 3]))
def test_pad_crop_is_a_window_of_numpys_padding(size, padding, seed, channels):
    image = random_image((size, size, channels))
    padded = np.pad(image, [(padding, padding), (padding, padding), (0, 0)])
    windows = [
        padded[top : top + size, left : left + size]
        for top in range(2 * padding + 1)
        for left in range(2 * padding + 1)
    ]
    crop = augment.pad_crop(image, np.random.default_rng(seed), padding)
    assert any(np.array_equal(crop, window) for window in windows)


def test_pad_crop_reaches_every_window():
    image = np.arange(1, 10, dtype=np.uint8).reshape(3, 3, 1)
    rng = np.random.default_rng(0)
    crops = {augment.pad_crop(image, rng, 1).tobytes() for _ in range(200)}
    assert len(crops) == 9


def test_no_augmentation_is_the_identity():
    image = random_image((8, 8, 3))
    result = augment.train_image(image, np.random.default_rng(0), data_config())
    np.testing.assert_array_equal(result, image)


def test_flip_mirrors_half_of_the_images():
    image = random_image((8, 8, 3))
    rng, data = np.random.default_rng(0), data_config(flip=True)
    results = [augment.train_image(image, rng, data) for _ in range(400)]
    flipped = sum(np.array_equal(result, image[:, ::-1]) for result in results)
    unchanged = sum(np.array_equal(result, image) for result in results)
    assert flipped + unchanged == 400
    assert 150 < flipped < 250  # five standard deviations


def boxes(height, width, scale, count=300):
    """Heights and widths of random boxes, which lie in the image."""
    rng = np.random.default_rng(0)
    found = np.array([augment.random_box(height, width, rng, scale) for _ in range(count)])
    top, left, box_height, box_width = found.T
    assert min(top.min(), left.min()) == 0
    assert (top + box_height).max() == height
    assert (left + box_width).max() == width
    return box_height, box_width


@pytest.mark.parametrize(("height", "width"), [(500, 600), (200, 1000), (1000, 200)])
def test_a_random_box_takes_its_share_of_the_area(height, width):
    box_height, box_width = boxes(height, width, (0.08, 1.0))
    share = box_height * box_width / (height * width)
    assert 0.079 <= share.min() < 0.12
    assert 0.95 < share.max() <= 1
    assert abs(share.mean() - 0.54) < 0.07  # uniform: four standard deviations


def test_a_random_box_keeps_its_aspect_where_it_fits():
    box_height, box_width = boxes(500, 500, (0.08, 0.5))
    aspect = box_width / box_height
    assert 0.745 <= aspect.min() < 0.77
    assert 1.3 < aspect.max() <= 1.34
    assert abs(np.log(aspect).mean()) < 0.04  # log-uniform: four standard deviations


def test_a_box_of_all_of_a_wide_image_is_that():
    box_height, box_width = boxes(10, 40, (1.0, 1.0), count=3)
    assert (set(box_height), set(box_width)) == ({10}, {40})


@pytest.mark.parametrize("channels", [1, 3])
def test_a_box_shrinks_to_means_and_grows_bilinear(channels):
    image, rng, whole = random_image((8, 8, channels)), np.random.default_rng(0), (1.0, 1.0)
    blocks = image.reshape(4, 2, 4, 2, channels).mean(axis=(1, 3))
    assert np.abs(augment.resized_crop(image, rng, 4, whole) - blocks).max() <= 0.5
    larger = augment.resized_crop(image, rng, 16, whole)
    assert np.abs(larger - augment.resize(image, (16, 16)).astype(float)).max() <= 1


@pytest.mark.parametrize("kind", ["Brightness", "Contrast", "Color"])
@pytest.mark.parametrize("factor", [0.6, 1.4])
def test_jitter_agrees_with_pillow(kind, factor):
    image = random_image((6, 5, 3))
    factors = [factor if k == kind else 1.0 for k in ("Brightness", "Contrast", "Color")]
    result = augment.jitter(image, Draws(factors), 0.4)
    expected = getattr(ImageEnhance, kind)(Image.fromarray(image)).enhance(factor)
    # Pillow rounds the grey image and its mean, and cuts the result
    assert np.abs(result.astype(int) - np.asarray(expected).astype(int)).max() <= 2


@pytest.mark.parametrize("channels", [1, 3])
def test_jitter_is_one_factor_after_the_other(channels):
    """As it is defined, in float64: brightness, then contrast around the mean grey, saturation."""
    image, (b, c, s) = random_image((40, 30, channels)), (1.3, 0.7, 1.2)
    pixels = image.astype(float) * b
    grey = pixels @ augment.LUMA.astype(float) if channels == 3 else pixels[..., 0]
    pixels = grey.mean() + c * (pixels - grey.mean())
    if channels == 3:
        grey = (pixels @ augment.LUMA.astype(float))[..., None]
        pixels = grey + s * (pixels - grey)
    expected = np.clip(np.rint(pixels), 0, 255)
    assert 0 < expected.min() < expected.max()
    difference = augment.jitter(image, Draws([b, c, s]), 0.4) - expected
    assert np.abs(difference).max() <= 1
    assert (difference == 0).mean() > 0.95  # OpenCV calculates in fixed point


def test_jitter_of_grey_has_no_saturation():
    image = random_image((6, 5, 1))
    one, other = (augment.jitter(image, Draws([1.2, 0.9, s]), 0.4) for s in (0.6, 1.4))
    np.testing.assert_array_equal(one, other)
    assert (one != image).any()


def test_evaluation_of_an_image_that_fits_is_the_identity():
    image = random_image((8, 8, 3))
    np.testing.assert_array_equal(augment.eval_image(image, data_config()), image)


@pytest.mark.parametrize(
    ("height", "width", "top", "left"), [(12, 8, 2, 0), (8, 13, 0, 2), (15, 8, 4, 0), (8, 9, 0, 0)]
)
def test_evaluation_crops_the_middle_or_the_even_pixel_beside_it(height, width, top, left):
    image = random_image((height, width, 3))
    expected = image[top : top + 8, left : left + 8]
    np.testing.assert_array_equal(augment.eval_image(image, data_config()), expected)


def test_evaluation_resizes_the_shorter_side_and_crops():
    image = random_image((20, 31, 3))
    result = augment.eval_image(image, data_config(center_crop=0.8))  # 8 / 0.8 = 10
    resized = Image.fromarray(image).resize((15, 10), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(result, np.asarray(resized)[1:9, 4:12])


TORCHVISION = json.loads(torchvision_center.GOLDEN.read_text())


def test_evaluation_has_torchvisions_geometry():
    for case in TORCHVISION["cases"]:
        found = augment.center_geometry(case["height"], case["width"], case["size"], case["share"])
        assert found == (tuple(case["resized"]), tuple(case["crop"])), case


def test_evaluation_has_torchvisions_pixels():
    versions = TORCHVISION["versions"]
    cases = [case for case in TORCHVISION["cases"] if "sha256" in case]
    shape = lambda case: (case["height"], case["width"], case["channels"])  # noqa: E731
    for image_shape, crops in itertools.groupby(cases, shape):
        image = torchvision_center.picture(*image_shape)
        for case in crops:
            result = augment.center(image, case["size"], case["share"])
            assert torchvision_center.digest(result) == case["sha256"], (versions, case)


@settings(deadline=None)
@given(SHAPES, st.integers(1, 40), st.floats(0.1, 1.0))
def test_evaluation_fits_any_image(shape, size, share):
    data = data_config(image_size=size, center_crop=share)
    result = augment.eval_image(np.full(shape, 9, np.uint8), data)
    assert result.shape == (size, size, shape[-1])
    np.testing.assert_array_equal(result, 9)
