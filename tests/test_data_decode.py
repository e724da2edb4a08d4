"""What an image file's bytes become, whatever format, mode and metadata they have."""

import io
import warnings

import numpy as np
import pytest
from data_images import flat, png
from hypothesis import given
from hypothesis import strategies as st
from PIL import ExifTags, Image, PngImagePlugin

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


@pytest.mark.parametrize("file_format", ["PNG", "TIFF", "PPM"])
def test_sixteen_bits_are_scaled_and_not_clipped(file_format):
    image = Image.fromarray(np.array([[0, 0x80FF, 0xFFFF]], np.uint16))
    decoded = decode_image(encoded(image, format=file_format), 1)
    np.testing.assert_array_equal(decoded, [[[0], [0x80], [0xFF]]])


def test_sixteen_bits_a_colour():
    values = np.array([[[0x0100, 0x80FF, 0xFFFF]]], ">u2")  # Pillow writes none such
    decoded = decode_image(b"P6 1 1 65535\n" + values.tobytes(), 3)
    np.testing.assert_allclose(decoded, [[[0x01, 0x80, 0xFF]]], atol=1)  # rounded there


@pytest.mark.parametrize(
    "values", [np.array([[0.0, 1.0]], np.float32), np.array([[-1, 2]], np.int32)]
)
def test_pixels_of_unknown_range_are_unreadable(values):
    with pytest.raises(UnreadableImage, match="its pixels have 32 bits; allowed: 8 or 16"):
        decode_image(encoded(Image.fromarray(values), format="TIFF"), 1)


@pytest.mark.parametrize(
    "options",
    [
        {"format": "BMP"},
        {"format": "GIF"},
        {"format": "TIFF"},
        {"format": "TIFF", "compression": "tiff_lzw"},
        {"format": "WEBP", "lossless": True},
    ],
    ids=lambda options: " ".join(map(str, options.values())),
)
@pytest.mark.parametrize("channels", [1, 3])
def test_other_formats_come_back_exactly(options, channels):
    decoded = decode_image(encoded(Image.fromarray(RED_AND_BLUE), **options), channels)
    np.testing.assert_array_equal(decoded, RED_AND_BLUE if channels == 3 else [[[76], [29]]])


@pytest.mark.parametrize("options", [{"format": "GIF"}, {"format": "WEBP", "lossless": True}])
def test_of_an_animation_the_first_frame_is_taken(options):
    first, *others = (Image.fromarray(flat(value)) for value in (200, 10, 90))
    decoded = decode_image(encoded(first, save_all=True, append_images=others, **options), 3)
    np.testing.assert_array_equal(decoded, flat(200))


@pytest.mark.parametrize("channels", [1, 3])
def test_a_transparent_gif_keeps_the_colour_below(channels):
    image = Image.fromarray(RED_AND_BLUE).quantize(2)
    transparent = image.getpixel((0, 0))
    decoded = decode_image(encoded(image, format="GIF", transparency=transparent), channels)
    np.testing.assert_array_equal(decoded, RED_AND_BLUE if channels == 3 else [[[76], [29]]])


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


@given(
    st.integers(1, 90),
    st.integers(1, 90),
    st.integers(1, 100),
    st.sampled_from(["4:4:4", "4:2:2", "4:2:0"]),
    st.booleans(),
    st.sampled_from([("RGB", 3), ("L", 3), ("L", 1), ("RGB", 1)]),
)
def test_a_jpeg_is_what_pillow_makes_of_it(height, width, quality, subsampling, progressive, kind):
    mode, channels = kind
    rng = np.random.default_rng(height * 100 + width)
    small = rng.integers(256, size=(5, 4, 3), dtype=np.uint8)  # smooth and edgy parts
    picture = Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC).convert(mode)
    file = encoded(
        picture, format="JPEG", quality=quality, subsampling=subsampling, progressive=progressive
    )
    with Image.open(io.BytesIO(file)) as image:
        expected = np.asarray(image.convert("L" if channels == 1 else "RGB"))
    np.testing.assert_array_equal(decode_image(file, channels), expected.reshape(height, width, -1))


def test_most_jpegs_do_without_pillow(monkeypatch):
    monkeypatch.setattr(Image, "open", None)
    picture = Image.fromarray(np.zeros((9, 7, 3), np.uint8))
    assert decode_image(encoded(picture, format="JPEG"), 3).shape == (9, 7, 3)


SEEN = np.arange(1, 7, dtype=np.uint8).reshape(2, 3) * 40  # no two pixels are equal
STORED = {  # where the first row and the first column of a file lie in what was seen (EXIF 2.32)
    1: SEEN,  # top, left
    2: SEEN[:, ::-1],  # top, right
    3: SEEN[::-1, ::-1],  # bottom, right
    4: SEEN[::-1],  # bottom, left
    5: SEEN.T,  # left, top
    6: SEEN[:, ::-1].T,  # right, top
    7: SEEN[::-1, ::-1].T,  # right, bottom
    8: SEEN[::-1].T,  # left, bottom
}


def exif(orientation, endian="<"):
    found = Image.Exif()
    found.endian = endian
    found[ExifTags.Base.Make] = "a camera with a long name"
    found[ExifTags.Base.Orientation] = orientation
    found[ExifTags.Base.XResolution] = 72.0
    return found


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize(
    "options",
    [
        {"format": "PNG"},
        {"format": "WEBP", "lossless": True},
        {"format": "TIFF"},
        {"format": "TIFF", "compression": "tiff_lzw"},
    ],
    ids=lambda options: " ".join(map(str, options.values())),
)
def test_a_photo_stands_upright(options, orientation):
    image = Image.fromarray(np.ascontiguousarray(STORED[orientation])).convert("RGB")
    for endian in "<>":
        decoded = decode_image(encoded(image, exif=exif(orientation, endian), **options), 1)
        np.testing.assert_array_equal(decoded[..., 0], SEEN)


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_a_jpeg_photo_stands_upright(mode, orientation):
    blocks = np.kron(STORED[orientation], np.ones((8, 8), np.uint8))
    image = Image.fromarray(blocks).convert(mode)
    decoded = decode_image(encoded(image, format="JPEG", exif=exif(orientation)), 3)
    assert np.abs(decoded[3::8, 3::8].astype(int) - SEEN[..., np.newaxis]).max() <= 3


@pytest.mark.parametrize("mode", ["1", "I;16", "P", "RGBA"])
def test_whatever_its_mode(mode):
    values = (STORED[6] > 100) * np.uint8(255)
    image = Image.fromarray(values.astype(np.uint16) * 257 if mode == "I;16" else values)
    decoded = decode_image(encoded(image.convert(mode), exif=exif(6)), 1)
    np.testing.assert_array_equal(decoded[..., 0], (SEEN > 100) * 255)


def test_whatever_holds_the_orientation():
    image = Image.fromarray(np.ascontiguousarray(STORED[8]))
    raw, xmp = PngImagePlugin.PngInfo(), PngImagePlugin.PngInfo()
    content = exif(8).tobytes()
    raw.add_text("Raw profile type exif", f"\nexif\n{len(content):8}\n{content.hex()}\n", zip=True)
    xmp.add_itxt("XML:com.adobe.xmp", '<rdf:Description tiff:Orientation="8"/>')
    for info in (raw, xmp):
        np.testing.assert_array_equal(decode_image(encoded(image, pnginfo=info), 1)[..., 0], SEEN)
    pages = [Image.fromarray(flat(7))]
    tiff = encoded(image, format="TIFF", exif=exif(8), save_all=True, append_images=pages)
    np.testing.assert_array_equal(decode_image(tiff, 1)[..., 0], SEEN)


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_orientation_that_there_is_not_turns_nothing(orientation):
    image = Image.fromarray(SEEN)
    for file_format in ("PNG", "TIFF"):
        decoded = decode_image(encoded(image, format=file_format, exif=exif(orientation)), 1)
        np.testing.assert_array_equal(decoded[..., 0], SEEN)


EXIF = exif(1).tobytes()
BROKEN = {
    "nothing": b"",
    "a header": b"Exif\x00\x00",
    "text": b"Exif\x00\x00not a TIFF file",
    "no directory": EXIF[:14],
    "cut": EXIF[:40],
    "cut in a value": EXIF[:-5],
    "values beyond it": EXIF.replace(b"\x1a\x01\x05\x00\x01", b"\x1a\x01\x05\x00\xff"),
}


def assert_upright_in_silence(metadata):
    """Both with warnings as errors, as in all tests, and with all of them shown."""
    for file_format in ("JPEG", "PNG", "WEBP"):
        content = encoded(Image.fromarray(flat(77)), format=file_format, exif=metadata)
        np.testing.assert_array_equal(decode_image(content, 3), flat(77))
        with warnings.catch_warnings(record=True) as shown:
            warnings.simplefilter("always")
            decode_image(content, 3)
        assert not shown


@pytest.mark.parametrize("kind", BROKEN)
def test_broken_metadata_leaves_a_good_image(kind):
    assert_upright_in_silence(BROKEN[kind])


@given(
    end=st.integers(0, len(EXIF)),
    changes=st.lists(
        st.tuples(st.integers(0, len(EXIF) - 1), st.integers(0, 255)), min_size=1, max_size=5
    ),
)
def test_changed_metadata_leaves_a_good_image(end, changes):
    damaged = bytearray(EXIF)
    for position, byte in changes:
        damaged[position] = byte
    assert_upright_in_silence(bytes(damaged[:end]))


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
