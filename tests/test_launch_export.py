"""Model files on the command line: trained further, exported, and bad input."""

import json
import zipfile

import pytest
import small
from launched import check_refused, finish, start

from scarlet_jax import models
from scarlet_jax.data import Unreadable
from scarlet_jax.export import images, job
from scarlet_jax.run.setup import make_space, prepare


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Images, a configuration that names them, and a model for both."""
    folder = tmp_path_factory.mktemp("export")
    small.write_images(folder / "images")
    small.write_config(folder / "config.py", folder / "images")
    space = make_space(small.config(folder / "images"))
    preprocessing = models.Preprocessing(8, 1, (0.5,), (0.25,), 1.0)
    model = models.create(space, [0, 0, 0, 1], small.CLASSES, preprocessing, skip="els")
    models.save(model, folder / models.FILE_NAME)
    return folder


def test_a_model_is_trained_further(folder, tmp_path):
    arguments = [f"--config={folder / 'config.py'}", f"--workdir={tmp_path}", "--arch=0,0,0,1"]
    ((code, out, err),) = finish(
        start("train_subnet", *arguments, f"--weights={folder}", "--name=more")
    )
    assert code == 0, err
    assert out.splitlines()[-1].startswith("more: test accuracy ")
    assert models.load(tmp_path / "subnets" / "more").skip == "els"


def test_a_model_is_exported_run_and_timed(folder, tmp_path):
    out = tmp_path / "model.onnx"
    plain = [f"--weights={folder}", "--format=onnx", f"--out={out}", "--repeats=3"]
    with_data = [
        *(f"--weights={folder}", "--format=litert", f"--out={tmp_path / 'model.tflite'}"),
        *("--precision=int8", f"--config={folder / 'config.py'}", "--arch=0,0,0,1", "--repeats=3"),
    ]
    first, second = finish(start("export", *plain), start("export", *with_data))
    assert first[0] == 0, first[2]
    lines = first[1].splitlines()
    assert lines[0] == "folded skips 3 into the head"
    assert "bytes, " in lines[1]
    assert lines[2].startswith("64 images in its runtime and in JAX: largest difference ")
    assert lines[2].endswith("0 in another class")
    assert lines[3].startswith("latency of 1 x 8 x 8 in its runtime: p50 ")
    assert lines[4] == f"onnx float32: {out}"
    assert second[0] == 0, second[2]
    lines = second[1].splitlines()
    assert lines[2].startswith("10 images in its runtime and in JAX")
    assert lines[3].startswith("accuracy on these test images: ")
    assert lines[-1] == f"litert int8: {tmp_path / 'model.tflite'}"
    assert second[2] == ""
    assert job.check("litert", out, 1).load(tmp_path / "model.tflite")


def test_a_model_is_scored_by_the_names_of_its_classes(folder, tmp_path):
    """In another order, which it keeps, it is right where it was."""
    model, setup = models.load(folder), prepare(small.config(folder / "images"), tmp_path)
    ((pixels, labels),) = images.read(setup.splits.test, setup.config.data, 0, 10, Unreadable())
    right = (model(pixels).argmax(1) == labels).mean()
    assert right != 0.5  # or it would be as right by the classes' numbers
    models.save(
        models.arrange_classifier(model, small.CLASSES[::-1]), tmp_path / "turned.safetensors"
    )
    out = tmp_path / "model.stablehlo"
    ((code, printed, err),) = finish(
        start(
            *("export", f"--weights={tmp_path / 'turned.safetensors'}", "--format=stablehlo"),
            *(f"--out={out}", f"--config={folder / 'config.py'}", "--repeats=1"),
        )
    )
    assert code == 0, err
    assert f"accuracy on these test images: {right:.2%}, in JAX {right:.2%}" in printed
    assert zipfile.ZipFile(out).read("labels.txt").decode().split() == ["light", "dark"]


def test_blocks_become_a_table_by_what_is_printed_of_them(folder, tmp_path):
    """A table whose sums are not what networks take is refused, and kept under another name."""
    config, blocks = f"--config={folder / 'config.py'}", tmp_path / "phone"
    ((code, out, err),) = finish(
        start("export", config, f"--blocks={blocks}", "--format=onnx", "--check=3")
    )
    assert code == 0, err
    lines = out.splitlines()
    files = sorted(path.stem for path in blocks.glob("*.onnx"))
    assert f"{len(files)} files, and {blocks}/table.json to fill in. With a phone " in out
    assert f"  adb push {blocks} /data/local/tmp" in lines
    assert lines[-1].startswith(f"Then name the device in {blocks}/table.json, and scarlet benchma")
    record = json.loads((blocks / "table.json").read_text())
    (blocks / "table.json").write_text(json.dumps(record | {"device": {"kind": "Phone"}}))
    for name in files:
        path = record["networks"].get(name)
        (blocks / f"{name}.txt").write_text(str(1 + 0.25 * path.count(0) if path else 0.25))
    table = tmp_path / "phone.json"
    making = ["benchmark", config, f"--blocks={blocks}", f"--table={table}"]
    ((code, out, err),) = finish(start(*making))
    assert code == 0, err
    assert out.splitlines()[0].startswith("3 random networks, sum of the table against what was m")
    assert out.splitlines()[1] == f"table of Phone, in ms: {table}"
    table.unlink()
    for name in ("network-08", "network-09", "network-10"):  # those of the check
        (blocks / f"{name}.txt").write_text("0.01")
    refused, forced = finish(
        start(*making), start(*making[:-1], f"--table={tmp_path / 'forced.json'}", "--force")
    )
    assert refused[0] == 2
    assert refused[2].startswith("error: the table is useless: the median error of its sums is ")
    assert refused[2].endswith(f"it is in {table}.rejected, and would be in {table} with --force\n")
    assert not table.exists()
    assert forced[0] == 0, forced[2]
    assert json.loads(tmp_path.joinpath("phone.json.rejected").read_text()) == json.loads(
        tmp_path.joinpath("forced.json").read_text()
    )


def test_bad_input_is_one_line_and_writes_nothing(folder, tmp_path, tmp_path_factory):
    weights, out = f"--weights={folder}", f"--out={tmp_path / 'model'}"
    config = f"--config={folder / 'config.py'}"
    bad = {
        (): "--format must be given, for example",
        ("--format=onnx", weights): "--weights and --out, or --blocks, must be given, for example",
        ("--format=onnx", weights, "--blocks=b"): "--weights does not go with --blocks",
        ("--format=onnx", "--blocks=b", "--repeats=3"): "--repeats does not go with --blocks",
        ("--format=onnx", weights, out, "--image_size=160"): "--image_size goes with --blocks",
        ("--format=stablehlo", f"--blocks={tmp_path / 'b'}"): "allowed for blocks: litert, onnx",
        (weights, "--format=coreml", out): "value should be one of <stablehlo|onnx|litert>",
        (f"--weights={tmp_path}", "--format=onnx", out): "there is no model file",
        (weights, "--format=onnx", "--out=/nonexistent/m"): "/nonexistent/m cannot be written",
        (weights, "--format=onnx", f"--out={folder}"): "not in the place of a folder",
        (weights, "--format=onnx", out, "--batch_size=some"): "--batch_size is 'some'; allowed: an",
        (
            weights,
            "--format=onnx",
            out,
            "--precision=int8",
        ): "--precision=int8 needs --config=FILE: images to calibrate",
        (
            weights,
            "--format=stablehlo",
            out,
            "--precision=int8",
            config,
        ): "format 'stablehlo' has no int8",
        (weights, "--format=onnx", out, "--arch=0,0,0,0"): "is 0,0,0,1 of space 'small', not",
        (
            *(weights, "--format=onnx", out, config),
            "--config.data.num_classes=3",
        ): "data.num_classes is 3",
    }
    exports = {("export", *arguments): message for arguments, message in bad.items()}
    check_refused(exports, tmp_path_factory.mktemp("printed"))
    assert not list(tmp_path.iterdir())
