"""Exported files, run by their own runtimes, against the network in JAX."""

import dataclasses
import json
import subprocess
import sys
import zipfile

import jax
import numpy as np
import onnx
import pytest
import small
from conftest import plausible

from scarlet_jax import data, export, models
from scarlet_jax.errors import InputError, MismatchError
from scarlet_jax.export import images, job
from scarlet_jax.models import Preprocessing

CLASSES = ("cat", "dog", "eel", "fox", "gnu")
INPUT = Preprocessing(image_size=11, channels=3)


def created(tiny, path, skip, seed=1):
    model = models.create(tiny, path, CLASSES, INPUT, skip=skip)
    return dataclasses.replace(model, network=plausible(model.network, np.random.default_rng(seed)))


@pytest.fixture(scope="module")
def derived_model(tiny):
    """With a subsampling skip, squeeze-and-excitation and a shortcut."""
    return created(tiny, [9, 6, 1], "identity")


@pytest.fixture(scope="module")
def examples():
    pixels = np.random.default_rng(2).standard_normal((7, 11, 11, 3)).astype(np.float32)
    return pixels, np.arange(7, dtype=np.int32) % 5


def one_of_each_kind(space):
    """The last choices of the space's groups, as many as there are layers."""
    last_of_group = {choice.group: number for number, choice in enumerate(space.choices)}
    return np.resize([*last_of_group.values()][::-1], space.depth)


@pytest.mark.parametrize("format_name", export.FORMATS)
@pytest.mark.parametrize(
    ("path", "skip"), [(None, "identity"), ([9, 9, 2], "els"), ([9, 5, 9], "pad")]
)
def test_a_file_is_the_model(format_name, path, skip, tiny, examples, tmp_path):
    """Batch norm is folded, and the skips of a path: once onto a shortcut, once into the head."""
    path = one_of_each_kind(tiny) if path is None else path
    model, file = created(tiny, path, skip), tmp_path / "model"
    batch_size = 1 if format_name == "litert" else None
    result = export.export(model, format_name, file, [examples], batch_size=batch_size)
    assert result.agreement.images == 7
    assert result.agreement.difference < 1e-5
    assert result.agreement.other_classes == 0
    assert result.agreement.accuracy == result.agreement.model_accuracy
    assert result.size == file.stat().st_size
    assert bool(result.folds) == (skip != "identity")
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    # Once more, without what `export` has compared.
    pixels, _ = examples
    found = job.check(format_name, file, batch_size).load(file)(pixels)
    expected = np.asarray(model(pixels))
    assert np.abs(found - expected).max() < 1e-5 * np.abs(expected).max()


@pytest.mark.parametrize("format_name", export.FORMATS)
def test_a_file_for_batches_of_four(format_name, derived_model, examples, tmp_path):
    result = export.export(derived_model, format_name, tmp_path / "model", [examples], batch_size=4)
    assert result.agreement.difference < 1e-5


def described(format_name, path):
    if format_name == "onnx":
        properties = onnx.load(path).metadata_props
        return {entry.key: json.loads(entry.value) for entry in properties}
    with zipfile.ZipFile(path) as archive:
        assert archive.read("labels.txt").decode().split() == list(CLASSES)
        return json.loads(archive.read("description.json"))


@pytest.mark.parametrize("format_name", export.FORMATS)
def test_a_file_says_what_it_is(format_name, derived_model, examples, tmp_path):
    path = tmp_path / "model"
    result = export.export(derived_model, format_name, path, [examples], batch_size=1)
    said = described(format_name, path)
    assert said["class_names"] == list(CLASSES)
    assert said["architecture"] == [9, 6, 1]
    assert said["blocks"] == ["identity", "E3K3_SE", "E2K5"]
    assert (said["macs"], said["params"]) == (result.cost.macs, result.cost.params)
    assert said["preprocessing"]["mean"] == list(INPUT.mean)
    assert said["preprocessing"]["image_size"] == 11


ALONE = """
import sys
import numpy as np
exported = jax.export.deserialize(bytearray(open(sys.argv[1], "rb").read()))
print(exported.platforms, exported.in_avals[0].shape)
np.save(sys.argv[2], exported.call(np.load(sys.argv[3])))
assert not any(name.startswith("scarlet_jax") for name in sys.modules)
"""


def test_stablehlo_needs_none_of_our_code(derived_model, examples, tmp_path):
    pixels, _ = examples
    export.export(derived_model, "stablehlo", tmp_path / "model", [examples])
    np.save(tmp_path / "in.npy", pixels)
    arguments = [str(tmp_path / name) for name in ("model", "out.npy", "in.npy")]
    command = [sys.executable, "-c", "import jax.export\n" + ALONE, *arguments]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [
        "('cpu',",
        "'cuda',",
        "'rocm',",
        "'tpu')",
        "(batch,",
        "11,",
        "11,",
        "3)",
    ]
    expected = np.asarray(derived_model(pixels))
    np.testing.assert_allclose(np.load(tmp_path / "out.npy"), expected, rtol=1e-4, atol=1e-4)


def test_onnx_has_plain_nodes_alone(derived_model, examples, tmp_path):
    path = tmp_path / "model.onnx"
    export.export(derived_model, "onnx", path, [examples])
    model = onnx.load(path)
    kinds = {node.op_type for node in model.graph.node}
    assert kinds == {
        *("Conv", "Clip", "HardSwish", "Relu", "HardSigmoid", "GlobalAveragePool"),
        *("Slice", "Mul", "Add", "Flatten", "Gemm"),
    }
    assert {node.domain for node in model.graph.node} == {""}
    shape = model.graph.input[0].type.tensor_type.shape.dim
    assert [size.dim_param or size.dim_value for size in shape] == ["batch", 3, 11, 11]


@pytest.mark.parametrize("format_name", export.NARROWER)
def test_int8_is_close(format_name, tiny, examples, tmp_path):
    pixels, _ = examples
    # Weights whose logits do not hang on small differences of large numbers, as many random ones.
    model = created(tiny, [5, 7, 7], "identity", seed=4)
    calibration = np.split(pixels, len(pixels))
    path = tmp_path / "int8"
    result = export.export(
        model,
        format_name,
        path,
        [examples],
        batch_size=1,
        precision="int8",
        calibration=calibration,
    )
    run = job.check(format_name, path, 1, "int8").load(path)
    found, expected = run(pixels), np.asarray(model(pixels))
    assert 0 < np.abs(found - expected).max() < 0.1 * np.abs(expected).max()
    assert result.agreement.difference == pytest.approx(
        np.abs(found - expected).max() / np.abs(expected).max(), rel=1e-4
    )
    assert described(format_name, path)["class_names"] == list(CLASSES)


@pytest.mark.parametrize("format_name", export.NARROWER)
def test_float16_is_closer_and_half_as_large(format_name, tiny, examples, tmp_path):
    model, sizes = created(tiny, [5, 7, 7], "identity", seed=4), {}
    for precision in ("float32", "float16"):
        path = tmp_path / precision
        result = export.export(
            model, format_name, path, [examples], batch_size=4, precision=precision
        )
        sizes[precision] = result.size
    assert 1e-6 < result.agreement.difference < 5e-3
    assert result.agreement.other_classes == 0
    weights = sum(leaf.size for leaf in jax.tree.leaves(model.network.params))
    assert sizes["float32"] - sizes["float16"] > weights  # two bytes each, less what is added
    assert described(format_name, path)["class_names"] == list(CLASSES)


def test_a_newer_opset_is_the_same_graph(derived_model, examples, tmp_path):
    path = tmp_path / "model.onnx"
    export.export(derived_model, "onnx", path, [examples], opset=18)
    assert [entry.version for entry in onnx.load(path).opset_import] == [18]


def test_a_file_that_is_not_the_model_is_not_kept(derived_model, examples, tmp_path, monkeypatch):
    path = tmp_path / "model"
    path.write_text("the one before")
    module = job.check("onnx", path, None)
    load = module.load

    def wrong(path, threads=None):
        run = load(path, threads)
        return lambda images: run(images)[:, ::-1]

    monkeypatch.setattr(module, "load", wrong)
    with pytest.raises(MismatchError, match="the onnx file is not the model: logits differ by up"):
        export.export(derived_model, "onnx", path, [examples])
    monkeypatch.setattr(module, "load", lambda own: lambda images: load(own)(images) * np.nan)
    with pytest.raises(MismatchError, match="logits differ by up to nan of the largest"):
        export.export(derived_model, "onnx", path, [examples])
    monkeypatch.setattr(module, "describe", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        export.export(derived_model, "onnx", path, [examples])
    assert path.read_text() == "the one before"
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("coreml", "m", None), "format is 'coreml'; allowed: stablehlo, onnx, litert"),
        (("stablehlo", "m", None, "int8"), "format 'stablehlo' has no int8; allowed: onnx, litert"),
        (("stablehlo", "m", None, "float16"), "format 'stablehlo' has no float16; allowed: onnx"),
        (("onnx", "m", None, "int4"), "precision 'int4'; allowed: float32, float16, int8"),
        (("onnx", "m", None, "float32", 13), "opset is 13; allowed: 14 to "),
        (("litert", "m", 1, "float32", 18), "format 'litert' has no opset; allowed: onnx"),
        (("litert", "m", None), "batch_size is any; allowed for litert: a number of im"),
        (("onnx", "m", 8, "int8"), "batch_size is 8; allowed for int8: 1"),
        (("onnx", "none/m", None), "none/m cannot be written; allowed: a file in a folder"),
    ],
)
def test_what_cannot_be_exported(arguments, message, tmp_path):
    format_name, name, *others = arguments
    with pytest.raises(InputError, match=message):
        export.check(format_name, tmp_path / name, *others)
    assert not list(tmp_path.iterdir())


def test_an_absent_package_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    monkeypatch.delitem(sys.modules, "scarlet_jax.export.onnx", raising=False)
    with pytest.raises(
        InputError, match=r"needs the package onnxruntime: pip install 'scarlet-jax\[onnx"
    ):
        export.check("onnx", tmp_path / "m", None)


@pytest.mark.parametrize("format_name", export.FORMATS)
def test_foreign_files_are_named(format_name, tmp_path):
    path = tmp_path / "m"
    for content in (b"", b"not a model at all, but some text", bytes(range(256)) * 8):
        path.write_bytes(content)
        with pytest.raises(InputError, match=f"{path} cannot be read as "):
            job.check(format_name, path, 1).load(path)


def test_images_are_those_of_evaluation(tmp_path):
    small.write_images(tmp_path)
    (tmp_path / "test" / "dark" / "00.png").write_bytes(b"not an image")
    section = small.config(tmp_path).data
    splits, unreadable = data.load(section, 0), data.Unreadable()
    batches = list(images.read(splits.test, section, 0, 4, unreadable))
    assert [len(labels) for _, labels in batches] == [3, 4, 2]
    assert len(unreadable) == 1
    (expected,) = data.eval_batches(splits.test, section, batch_size=10)
    pixels = (expected["image"][1:] / 255 - 0.5) / 0.25
    np.testing.assert_allclose(np.concatenate([part for part, _ in batches]), pixels, atol=1e-5)
    spread = [
        label for _, part in images.read(splits.test, section, 4, 3, unreadable) for label in part
    ]
    assert spread == [0, 1, 1]  # images 0, which is unreadable, 2, 5 and 7


def test_data_must_have_the_models_classes(derived_model, tmp_path):
    with pytest.raises(
        InputError, match=r"the data has the 2 classes dark, light, \.\.\., the model the 5"
    ):
        images.check_classes(derived_model, small.CLASSES)
    renamed = (*derived_model.class_names[:4], "owl")
    with pytest.raises(InputError, match=r"has the 5 classes owl, \.\.\., the model the 5 classes"):
        images.check_classes(derived_model, renamed)
    backwards = images.check_classes(derived_model, derived_model.class_names[::-1])
    assert backwards.tolist() == [4, 3, 2, 1, 0]
    section = images.fitted(small.config(tmp_path).data, derived_model)
    assert (section.image_size, section.channels, section.crop) == (11, 3, "pad")
    noise, labels = next(images.random(derived_model, 6))
    assert noise.shape == (6, 11, 11, 3)
    assert labels.tolist() == [0] * 6
    with pytest.raises(InputError, match="there is no image to compare"):
        job.compare(derived_model, lambda batch: batch, [])
