"""Classes of pictures, by a model file and by what is exported of it."""

import csv
import json
import os
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest
from launched import finish, start
from PIL import Image

from scarlet_jax import data, export, models, predict
from scarlet_jax.errors import InputError
from scarlet_jax.export import images
from scarlet_jax.models import Preprocessing

NAMES = ("cat", "dog", "eel")
OWN = Preprocessing(image_size=9, channels=3, mean=(0.4, 0.5, 0.6), std=(0.2,) * 3)


@pytest.fixture(scope="module")
def model(tiny):
    return models.create(tiny, [0, 9, 5], NAMES, OWN, seed=3)


@pytest.fixture(scope="module")
def folder(model, tmp_path_factory):
    """The model in its own format and in others, pictures, and what is none."""
    folder = tmp_path_factory.mktemp("predict")
    models.save(model, folder / models.FILE_NAME)
    for name in ("stablehlo", "onnx"):
        export.export(model, name, folder / f"exported.{name}", images.random(model, 4))
    rng = np.random.default_rng(0)
    (folder / "pictures" / "below").mkdir(parents=True)
    for name in ("b.png", "below/c.png", "a.png"):
        pixels = rng.integers(256, size=(14, 12, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "pictures" / name)
    (folder / "pictures" / "cut.png").write_bytes(b"\x89PNG")
    (folder / "pictures" / "notes.txt").write_text("no picture")
    return folder


@pytest.mark.parametrize(
    "weights", ["", models.FILE_NAME, "exported.stablehlo", "exported.onnx"], ids=str
)
def test_probabilities_are_those_of_the_model_in_jax(weights, model, folder):
    classifier, unreadable = predict.load(folder / weights), data.Unreadable()
    assert classifier.preprocessing == OWN
    paths = predict.pictures([folder / "pictures"])
    found = list(predict.predict(classifier, paths, unreadable))
    assert [own.path.name for own in found] == ["a.png", "b.png", "c.png"]
    assert list(unreadable.reasons) == [str(folder / "pictures" / "cut.png")]
    for own in found:
        pixels = OWN(np.asarray(Image.open(own.path)))
        expected = jax.nn.softmax(model(pixels[np.newaxis])[0])
        np.testing.assert_allclose(own.probabilities, expected, atol=1e-5)


def test_the_command_writes_the_likeliest_classes(model, folder, tmp_path):
    where = [f"--csv={tmp_path / 'c.csv'}", f"--json={tmp_path / 'c.json'}", "--top=2"]
    weights, pictures = f"--weights={folder}", f"--images={folder / 'pictures'}"
    odd = tmp_path / os.fsdecode(b"\xff.png")  # a name that is no text
    shutil.copy(folder / "pictures" / "a.png", odd)
    written, printed, escaped = finish(
        start("predict", weights, pictures, *where),
        start("predict", weights, f"--images={folder / 'pictures' / 'a.png'}", "--top=1"),
        start("predict", weights, f"--images={tmp_path}", PYTHONIOENCODING="utf-8:strict"),
    )
    assert [run[0] for run in (written, printed, escaped)] == [0] * 3, written[2] + printed[2]
    assert escaped[1].startswith(f"{tmp_path}/\\xff.png: "), escaped[2]
    pixels = OWN(np.asarray(Image.open(folder / "pictures" / "a.png")))
    expected = np.asarray(jax.nn.softmax(model(pixels[np.newaxis])[0]))
    first, second, _ = expected.argsort()[::-1]
    assert printed[1] == f"{folder / 'pictures' / 'a.png'}: {NAMES[first]} {expected[first]:.1%}\n"
    rows = list(csv.DictReader((tmp_path / "c.csv").read_text().splitlines()))
    assert len(rows) == 6
    assert [row["class"] for row in rows[:2]] == [NAMES[first], NAMES[second]]
    record = json.loads((tmp_path / "c.json").read_text())
    assert [Path(name).name for name in record] == ["a.png", "b.png", "c.png"]
    for row, own in zip(rows, (own for likely in record.values() for own in likely), strict=True):
        assert row["class"] == own["class"]
        assert float(row["probability"]) == own["probability"]
    assert written[1].splitlines()[-1].startswith("1 unreadable image: ")


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ("none", "there is no model file .*none"),
        ("pictures/notes.txt", "notes.txt cannot be read as ONNX"),
    ],
)
def test_what_is_no_model_is_named(weights, message, folder):
    with pytest.raises(InputError, match=message):
        predict.load(folder / weights)


def test_what_is_no_picture_is_named(folder, tmp_path):
    with pytest.raises(InputError, match="there is no file or folder"):
        predict.pictures([folder / "none"])
    with pytest.raises(InputError, match=r"has no pictures; allowed are files ending in .*\.png"):
        predict.pictures([tmp_path])
    assert predict.pictures([folder / "pictures" / "notes.txt"])  # as named; it says why not later
