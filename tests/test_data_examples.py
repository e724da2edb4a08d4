"""A user's own images: arrays, and examples as the libraries give them."""

import io

import grain.python as grain
import numpy as np
import pytest
import small
from data_images import data_config
from PIL import ExifTags, Image

from scarlet_jax import data
from scarlet_jax.data import Examples
from scarlet_jax.data.decode import UnreadableImage, decode_image
from scarlet_jax.errors import InputError
from scarlet_jax.run.setup import data_settings, prepare

PIXELS = np.random.default_rng(0).integers(256, size=(12, 6, 5, 3), dtype=np.uint8)
LABELS = np.arange(12) % 3
PAIRS = list(zip(PIXELS, LABELS, strict=True))
GREY = np.array([np.asarray(Image.fromarray(pixels).convert("L")) for pixels in PIXELS])


class Indexed:
    """As torchvision's data sets are: pairs of Pillow's image and a number, by index."""

    def __len__(self):
        return 12

    def __getitem__(self, index):
        return Image.fromarray(PIXELS[index]), int(LABELS[index])


class Columns(Indexed):
    """As those of Hugging Face are: mappings with columns by name."""

    def __getitem__(self, index):
        image, label = super().__getitem__(index)
        return {"image": image, "label": label, "file": "x.png"}


class Iterated:
    """As those of `tf.data` are: gone through, without a length."""

    def __iter__(self):
        return iter(PAIRS)


def load(examples, channels=3, **changes):
    return data.load(data_config(channels=channels, **changes), seed=0, examples=examples)


def contents(source):
    return [(e["image"].tolist(), e["label"]) for e in (source[i] for i in range(len(source)))]


@pytest.mark.parametrize(
    "given",
    [
        pytest.param((PIXELS, LABELS), id="arrays"),
        pytest.param(PAIRS, id="list"),
        pytest.param(Indexed(), id="torchvision"),
        pytest.param(Columns(), id="Hugging Face"),
        pytest.param(Iterated(), id="tf.data"),
        pytest.param(grain.MapDataset.source(PAIRS), id="Grain"),
        pytest.param(grain.MapDataset.source(PAIRS).to_iter_dataset(), id="Grain, iterated"),
    ],
)
def test_all_forms_are_the_same_images_and_the_same_data(given):
    splits = load(Examples(given, given))
    assert contents(splits.test) == [(p.tolist(), label) for p, label in PAIRS]
    assert splits.test.labels().tolist() == LABELS.tolist()
    assert splits.class_names == ("0", "1", "2")
    assert splits.identity == load(Examples(PAIRS, PAIRS)).identity


@pytest.mark.parametrize(
    ("images", "channels", "expected"),
    [
        (GREY, 1, GREY[..., None]),
        (GREY[..., None], 1, GREY[..., None]),
        (GREY, 3, np.repeat(GREY[..., None], 3, axis=-1)),
        (PIXELS, 1, GREY[..., None]),
    ],
)
def test_images_get_the_channels_of_the_configuration(images, channels, expected):
    mean = (0.5,) * channels
    test = load(Examples((images, LABELS), (images, LABELS)), channels, mean=mean, std=mean).test
    np.testing.assert_array_equal([test[i]["image"] for i in range(12)], expected)


def test_validation_is_a_split_of_its_own_or_held_out():
    given = (PIXELS, LABELS)
    own = load(Examples(given, given, "abc", validation=(PIXELS[:3], LABELS[:3])), validation=0.25)
    assert (len(own.train), len(own.validation)) == (12, 3)
    assert own.class_names == tuple("abc")
    held = load(Examples(given, given, "abc"), validation=0.25)
    assert (len(held.train), len(held.validation)) == (9, 3)


def test_another_pixel_or_label_is_other_data():
    changed = PIXELS.copy()
    changed[5, 0, 0, 0] ^= 1
    identities = [
        str(load(Examples(train, (PIXELS, LABELS))).identity)
        for train in ((PIXELS, LABELS), (changed, LABELS), (PIXELS, LABELS[::-1]))
    ]
    assert len(set(identities)) == 3


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ((PIXELS / 255, LABELS), r"train\[0\] is float64\[6, 5, 3\]; allowed: an image of Pillow"),
        ((PIXELS.transpose(0, 3, 1, 2), LABELS), r"uint8\[3, 6, 5\]; allowed: .* 1 or 3 channels"),
        ((PIXELS, LABELS[:5]), "train has 12 images and 5 labels; allowed: as many"),
        ((PIXELS, LABELS / 2), r"train\[0\] has the label .*0\.0.*; allowed: one integer"),
        ((PIXELS, LABELS - 1), "label -1 of train; allowed: 0 to 2, for the classes '0', '1', '2'"),
        (
            [{"img": PIXELS[0], "label": 0}],
            r"train\[0\] has 'img', 'label' and no 'image'; allowed",
        ),
        ([PIXELS[0]], r"train\[0\] is ndarray; allowed: an image and its label"),
        (7, "train is int; allowed: arrays or examples"),
        ({"image": PIXELS, "label": LABELS}, "train is dict; allowed: arrays or examples"),
        ((PIXELS[:0], LABELS[:0]), "train has no images; allowed: one or more"),
        ((PIXELS[:, :0], LABELS), r"train\[0\] is uint8\[0, 5, 3\]; allowed: an image"),
    ],
)
def test_what_is_no_image_with_its_label_is_named(given, message):
    with pytest.raises(InputError, match=message):
        load(Examples(given, (PIXELS, LABELS), "012"))


def test_two_examples_are_no_pair_of_arrays():
    given, listed = (PAIRS[0], PAIRS[1]), PAIRS[:2]
    found, expected = (load(Examples(own, own)).test for own in (given, listed))
    assert contents(found) == contents(expected)


def test_class_names_are_text_and_each_is_one_class():
    given = (PIXELS, LABELS)
    assert load(Examples(given, given, np.arange(3))).class_names == ("0", "1", "2")
    with pytest.raises(InputError, match=r"are called 'a', 'a', 'b'; allowed: each name once"):
        load(Examples(given, given, "aab"))
    with pytest.raises(InputError, match=r"validation_split is 'val'; allowed: none, as only fold"):
        load(Examples(given, given), validation_split="val")


def test_photos_are_turned_upright_and_strips_left_out_as_from_files():
    photo = Image.fromarray(PIXELS[0])
    exif = photo.getexif()
    exif[ExifTags.Base.Orientation] = 6
    photo.save(encoded := io.BytesIO(), "JPEG", exif=exif)
    expected = decode_image(encoded.getvalue(), 3)
    strip = Image.fromarray(np.zeros((1, 300, 3), np.uint8))
    splits = load(Examples(PAIRS, [(Image.open(encoded), 0), (strip, 1)]))
    np.testing.assert_array_equal(splits.test[0]["image"], expected)
    with pytest.raises(UnreadableImage, match="300 x 1 pixels; allowed: one side at most 100"):
        splits.test[1]


def test_a_run_takes_them_in_place_of_what_the_configuration_names(tmp_path):
    config = small.config("/nowhere")
    setup = prepare(config, tmp_path, Examples((GREY, LABELS), (GREY, LABELS)))
    assert setup.size.num_classes == 3
    images = data_settings(setup)["images"]
    assert [images[name]["count"] for name in ("train", "validation", "test")] == [9, 3, 12]


def test_an_unreadable_image_is_left_out_with_its_reason():
    Image.fromarray(PIXELS[0]).save(whole := io.BytesIO(), "PNG")
    cut = io.BytesIO(whole.getvalue()[: whole.tell() // 2])
    given = [*PAIRS, (Image.open(cut), 0)]
    splits, unreadable = load(Examples(PAIRS, given)), data.Unreadable()
    config = data_config(channels=3)
    batches = data.eval_batches(splits.test, config, batch_size=13, unreadable=unreadable)
    assert [batch["weight"].sum() for batch in batches] == [12]
    assert list(unreadable.reasons) == ["test[12]"]
