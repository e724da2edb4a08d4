import io
import warnings

import numpy as np
import pytest
from data_images import flat, png
from PIL import Image

from scarlet_jax.data.decode import UnreadableImage, decode_image

RED_AND_BLUE = np.array([[[255, 0, 0], [0, 0, 255]]], np.uint8)  # [1, 2, 3]


def encoded(image, **options):
    buffer = io.BytesIO()
    image.save(buffer, options.pop("format", "PNG"), **options)
    return buffer.getvalue()


def test_rgb_png_comes_back_exactly():
    np.testing.assert_array_equal(decode_image(png(RED_AND_BLUE), 3), RED_AND_BLUE)


def test_grey_of_rgb_is_its_luma():
    # 0.299 * 255 = 76.2 and 0.114 * 255 = 29.1
    np.testing.assert_array_equal(decode_image(png(RED_AND_BLUE), 1), [[[76], [29]]])


def test_rgb_of_grey_repeats_it():
    grey = np.array([[0, 200]], np.uint8)
    np.testing.assert_array_equal(decode_image(png(grey), 3), grey[..., None].repeat(3, -1))


def test_transparency_is_dropped():
    pixels = np.concatenate([RED_AND_BLUE, np.array([[[0], [128]]], np.uint8)], axis=-1)
    np.testing.assert_array_equal(decode_image(png(pixels), 3), RED_AND_BLUE)


@pytest.mark.parametrize("transparency", [None, 1, b"\x00\x80"])
def test_palette_png_without_a_warning(transparency):
    image = Image.new("P", (2, 1))
    image.putpixel((1, 0), 1)
    image.putpalette([255, 0, 0, 0, 0, 255])
    options = {} if transparency is None else {"transparency": transparency}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        decoded = decode_image(encoded(image, **options), 3)
    np.testing.assert_array_equal(decoded, RED_AND_BLUE)


def test_sixteen_bits_are_scaled_and_not_clipped():
    image = Image.fromarray(np.array([[0, 0x80FF, 0xFFFF]], np.uint16))
    np.testing.assert_array_equal(decode_image(encoded(image), 1), [[[0], [0x80], [0xFF]]])


def test_bilevel_png():
    image = Image.fromarray(np.array([[True, False]]))
    np.testing.assert_array_equal(decode_image(encoded(image), 1), [[[255], [0]]])


@pytest.mark.parametrize("channels", [1, 3])
def test_cmyk_jpeg(channels):
    cmyk = Image.new("CMYK", (8, 8), (0, 255, 255, 0))  # red
    decoded = decode_image(encoded(cmyk, format="JPEG"), channels)
    expected = [76] if channels == 1 else [255, 0, 0]
    assert decoded.shape == (8, 8, channels)
    assert np.abs(decoded.astype(int) - expected).max() <= 3


def noise(file_format):
    pixels = np.random.default_rng(0).integers(256, size=(64, 64, 3), dtype=np.uint8)
    return encoded(Image.fromarray(pixels), format=file_format)


@pytest.mark.parametrize(
    "damaged",
    [
        b"",
        b"not an image",
        noise("JPEG")[:1000],
        noise("JPEG")[:10],
        noise("PNG")[:1000],
        png(flat(7)).replace(b"IDAT", b"IDAX"),
    ],
    ids=["empty", "text", "truncated jpeg", "jpeg header", "truncated png", "corrupt png"],
)
def test_damaged_files_are_unreadable(damaged):
    with pytest.raises(UnreadableImage):
        decode_image(damaged, 3)


@pytest.mark.parametrize("limit", [40, 10], ids=["warning", "error"])
def test_a_decompression_bomb_is_unreadable_when_warnings_are_errors(monkeypatch, limit):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)  # the image has 64 pixels
    warnings.simplefilter("error")  # undone by pytest after the test
    with pytest.raises(UnreadableImage, match="Bomb"):
        decode_image(png(flat(0)), 3)
