"""Model files, the zoo, features and classifiers."""

import dataclasses
import json
from pathlib import Path

import jax
import numpy as np
import pytest
from conftest import randomised
from flax import nnx
from huggingface_hub import HfApi, RepoUrl
from hypothesis import given, settings
from hypothesis import strategies as st

from scarlet_jax import cost, files, models, space, tensors, zoo
from scarlet_jax.data import augment
from scarlet_jax.errors import InputError
from scarlet_jax.hub import HubModel
from scarlet_jax.models import Preprocessing
from scarlet_jax.network_size import IMAGENET
from scarlet_jax.space import S2

GREY = Preprocessing(image_size=9, channels=1, mean=(0.4,), std=(0.2,), center_crop=1.0)


@pytest.fixture(scope="module")
def model(tiny):
    names = ("cat", "dog", "eel")
    return models.create(tiny, [0, 9, 5], names, GREY, skip="els", seed=3)


@pytest.fixture(scope="module")
def encoded(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / models.FILE_NAME
    models.save(model, path)
    return path.read_bytes()


def same(ours, theirs):
    return jax.tree.all(jax.tree.map(np.array_equal, ours, theirs))


def test_a_file_gives_the_model_back(model, encoded, tmp_path):
    (tmp_path / models.FILE_NAME).write_bytes(encoded)
    for source in (tmp_path, tmp_path / models.FILE_NAME):
        loaded = models.load(source)
        assert same(loaded.network[1:], model.network[1:])
        for field in ("space", "skip", "preprocessing", "class_names"):
            assert getattr(loaded, field) == getattr(model, field)
        assert loaded.architecture.tolist() == model.architecture.tolist()
        assert loaded.network.graphdef == model.network.graphdef
    assert [path.name for path in tmp_path.iterdir()] == [models.FILE_NAME]


def test_a_file_has_what_each_layer_may_take(tiny, tmp_path):
    own = dataclasses.replace(tiny.layers[0], choices=(1, 3))
    restricted = dataclasses.replace(tiny, layers=(own, *tiny.layers[1:]))
    model = models.create(restricted, [3, 0, 8], ("cat", "dog"), GREY, skip="els")
    models.save(model, tmp_path / models.FILE_NAME)
    assert models.load(tmp_path).space == restricted
    with pytest.raises(
        InputError, match=r"choice 2 \(E3K3\) at layer 0, where space 'tiny' allows"
    ):
        models.create(restricted, [2, 0, 8], ("cat", "dog"), GREY, skip="els")


@settings(max_examples=60)
@given(share=st.floats(0, 1, exclude_max=True))
def test_a_truncated_file_is_named(encoded, tmp_path_factory, share):
    path = tmp_path_factory.mktemp("cut") / models.FILE_NAME
    path.write_bytes(encoded[: int(share * len(encoded))])
    with pytest.raises(InputError, match=f"{path} cannot be read as a model file"):
        models.load(path)


@settings(max_examples=200)
@given(share=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_flipped_bit_is_noticed(encoded, tmp_path_factory, share, bit):
    path = tmp_path_factory.mktemp("flip") / models.FILE_NAME
    damaged = bytearray(encoded)
    damaged[int(share * len(encoded))] ^= 1 << bit
    path.write_bytes(damaged)
    with pytest.raises(InputError, match=str(path)):
        models.load(path)


def test_foreign_files_are_named(tmp_path, model):
    path = tmp_path / models.FILE_NAME
    with pytest.raises(InputError, match=f"there is no model file {path}"):
        models.load(tmp_path)
    path.write_bytes(b"\x89PNG and then some more bytes")
    with pytest.raises(InputError, match="cannot be read as a model file"):
        models.load(path)
    path.write_bytes(models.safetensors.save({"a": np.zeros(3)}))
    with pytest.raises(InputError, match="but not one of a scarlet_jax model"):
        models.load(path)
    arrays = {"a": np.zeros(3)}
    about = {"format": "scarlet-jax model 9", "arrays": tensors.fingerprint(arrays)}
    header = {"scarlet_jax": json.dumps(files.signed(about))}
    path.write_bytes(models.safetensors.save(arrays, header))
    with pytest.raises(InputError, match="is of format 'scarlet-jax model 9'; allowed: 'sca"):
        models.load(path)


def test_arrays_that_do_not_fit_are_listed(model, tmp_path):
    path = tmp_path / models.FILE_NAME
    arrays = tensors.flatten(model.network)
    arrays["more"] = arrays.pop("params.head.classifier.bias")
    arrays["params.stem.bn.scale"] = np.ones(7, np.float32)
    models.save(model, path)
    with models.safe_open(path, framework="numpy") as file:
        about = json.loads(file.metadata()["scarlet_jax"])
    del about["sha256"]
    about["arrays"] = tensors.fingerprint(arrays)
    header = {"scarlet_jax": json.dumps(files.signed(about))}
    path.write_bytes(models.safetensors.save(arrays, header))
    expected = (
        r"missing: params.head.classifier.bias; extra: more; "
        r"other shape: params.stem.bn.scale is \[7\] instead of \[8\]"
    )
    with pytest.raises(InputError, match=expected):
        models.load(path)


@pytest.mark.parametrize(
    ("own", "asked", "outputs"),
    [
        ("cat dog eel", "cat dog eel", [0, 1, 2]),
        ("cat dog eel", "eel cat dog", [2, 0, 1]),
        ("cat dog eel", "cat dog", None),
        ("cat dog eel", "cat dog emu", None),
        ("cat dog eel", "0 1 2", None),
        ("0 1 2", "eel cat dog", [0, 1, 2]),
        ("0 1 2", "2 0 1", [2, 0, 1]),
        ("0 1 2", "00 02 01", [0, 2, 1]),
        ("0 1 2", "1 2 3", None),
        ("0 1 2", "-1 0 1", None),
        ("0 1 2", "1 01 2", None),
        ("0 1 2", "1 2 background", [0, 1, 2]),
        ("0 1 2", "cat dog", None),
        ("1 2 3", "1 3 2", [0, 2, 1]),
        ("1 2 3", "cat dog eel", None),
        ("cat cat dog", "cat cat dog", [0, 1, 2]),
        ("cat cat dog", "cat dog cat", None),
        ("cat cat dog", "cat dog dog", None),
    ],
)
def test_classes_are_matched_by_name_or_by_number(model, own, asked, outputs):
    named = dataclasses.replace(model, class_names=tuple(own.split()))
    found = models.class_outputs(named, asked.split())
    assert outputs == (found if found is None else found.tolist())


def test_a_thousand_numbers_are_matched_in_the_order_of_text(model):
    numbered = dataclasses.replace(model, class_names=models.number_names(1000))
    in_text = sorted(numbered.class_names)
    assert models.class_outputs(numbered, in_text).tolist() == [int(name) for name in in_text]


def test_an_arranged_classifier_answers_in_another_order(model):
    images = np.random.default_rng(0).standard_normal((2, 9, 9, 1)).astype(np.float32)
    trained = dataclasses.replace(model, network=randomised(model.network))
    arranged = models.arrange_classifier(trained, ["eel", "cat", "dog"])
    assert arranged.class_names == ("eel", "cat", "dog")
    np.testing.assert_allclose(arranged(images), trained(images)[:, [2, 0, 1]], rtol=1e-6)
    before, after = tensors.flatten(trained.network), tensors.flatten(arranged.network)
    differing = {name for name in before if not np.array_equal(before[name], after[name])}
    assert differing == {"params.head.classifier.kernel", "params.head.classifier.bias"}
    assert models.arrange_classifier(model, ["eel", "cat"]) is None


def test_another_classifier_leaves_all_else(model):
    changed = models.replace_classifier(model, ["left", "right"], seed=1)
    assert changed.class_names == ("left", "right")
    before, after = tensors.flatten(model.network), tensors.flatten(changed.network)
    differing = {name for name in before if not np.array_equal(before[name], after[name])}
    assert differing == {"params.head.classifier.kernel", "params.head.classifier.bias"}
    assert after["params.head.classifier.kernel"].shape == (16, 2)
    assert changed(np.zeros((2, 9, 9, 1), np.float32)).shape == (2, 2)


def test_a_module_is_the_model_and_can_be_part_of_another(model):
    images = np.random.default_rng(0).standard_normal((2, 9, 9, 1), np.float32)
    module = model.module()
    np.testing.assert_array_equal(module(images), model(images))
    params = nnx.to_pure_dict(nnx.state(module, nnx.Param))
    assert same(params, model.network.params)


def test_the_hub_keeps_a_model_in_a_folder(model, tmp_path):
    HubModel(model).save_pretrained(tmp_path / "own")
    loaded = HubModel.from_pretrained(tmp_path / "own").model
    assert same(loaded.network[1:], model.network[1:])
    assert loaded.class_names == model.class_names
    described = json.loads((tmp_path / "own" / "config.json").read_text())
    assert described["blocks"] == space.to_names(model.space, model.architecture)
    assert "library_name: scarlet-jax" in (tmp_path / "own" / "README.md").read_text()


def test_the_hub_is_sent_the_files_of_that_folder(model, monkeypatch):
    """By a stand-in for the network."""
    sent = {}
    monkeypatch.setattr(
        HfApi, "create_repo", lambda self, repo_id, **_: RepoUrl("https://huggingface.co/me/pets")
    )
    monkeypatch.setattr(
        HfApi,
        "upload_folder",
        lambda self, repo_id, folder_path, **_: sent.update(
            {path.name: path.read_bytes() for path in Path(folder_path).iterdir()}
        ),
    )
    HubModel(model).push_to_hub("me/pets")
    assert set(sent) == {"README.md", "config.json", models.FILE_NAME}


def test_features_at_every_stride_are_the_layers(tiny, model):
    images = np.random.default_rng(0).standard_normal((2, 13, 18, 1)).astype(np.float32)
    found = models.features(model, images)
    assert models.feature_layers(tiny) == {4: 2}
    assert {stride: part.shape for stride, part in found.items()} == {4: (2, 4, 5, 12)}
    assert models.feature_layers(S2) == {4: 1, 8: 5, 16: 13, 32: 18}


def test_preprocessing_is_that_of_evaluation():
    preprocessing = Preprocessing(image_size=16, center_crop=0.5)
    image = np.random.default_rng(0).integers(256, size=(40, 50, 3), dtype=np.uint8)
    pixels = augment.center(image, 16, 0.5) / 255
    expected = (pixels - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    np.testing.assert_allclose(preprocessing(image), expected, rtol=1e-5, atol=1e-6)
    for wrong in (image[..., :1], image[..., 0], image / 255):
        with pytest.raises(InputError, match=r"allowed: uint8\[height, width, 3\]"):
            preprocessing(wrong)


@pytest.mark.parametrize("name", zoo.PUBLISHED)
def test_the_zoo_has_the_published_counts(name):
    """As the paper rounds them; B's MACs are 0.7% under (see README)."""
    model = zoo.create(name)
    count = cost.of_network(S2, model.architecture, model.skip)
    published = zoo.PUBLISHED[name]
    assert abs(count.macs / 1e6 / published.macs - 1) < 0.01
    assert abs(count.params / 1e6 - published.params) < 0.08
    assert sum(leaf.size for leaf in jax.tree.leaves(model.network.params)) == count.params
    assert model.size == IMAGENET


def test_the_zoo_takes_given_weights(tmp_path):
    model = zoo.create("scarlet-c", num_classes=2, image_size=32, seed=5)
    models.save(model, tmp_path / models.FILE_NAME)
    again = zoo.create("Scarlet-C", num_classes=2, image_size=64, weights=tmp_path)
    assert same(again.network[1:], model.network[1:])
    assert again.preprocessing == dataclasses.replace(model.preprocessing, image_size=64)
    with pytest.raises(InputError, match="has 2 classes, num_classes is 3; load it with its own"):
        zoo.create("scarlet-c", num_classes=3, weights=tmp_path)
    text = space.to_text(model.architecture)
    with pytest.raises(InputError, match=f"{tmp_path} is {text} of space 's2', not "):
        zoo.create("scarlet-a", num_classes=2, weights=tmp_path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("scarlet-d",), "no model is called 'scarlet-d'; allowed: scarlet-a, scarlet-b, scarl"),
        (("scarlet-a", 1000, 31), "image_size is 31; space 's2' has a stride of 32, so allowed: 3"),
        (("scarlet-a", 0), "num_classes is 0; allowed: 1 or more"),
    ],
)
def test_what_the_zoo_does_not_have(arguments, message):
    with pytest.raises(InputError, match=message):
        zoo.create(*arguments)
