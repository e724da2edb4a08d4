"""Weights of the authors' release become models of ours and go back, bit for bit."""

import dataclasses

import jax
import numpy as np
import pytest
import torch_pickles
from launched import check_refused, finish, start
from test_torch_golden import CASES, difference, run
from torch_weights import assert_same, random_images, random_state, state_shapes

from scarlet_jax import models, release, torch_file, zoo
from scarlet_jax import space as spaces
from scarlet_jax.errors import InputError
from scarlet_jax.models import Preprocessing
from scarlet_jax.space import S1, S2

NAMES = list(zoo.PUBLISHED)
CLASSES = 10
# Quick to make: one block at each stride, and identities after it.
BLOCKS = [
    "identity" if layer.stride == 1 else "E3K5_SE" if number else "E6K3"
    for number, layer in enumerate(S2.layers)
]
STATE = random_state(BLOCKS, CLASSES, seed=0)
PARAMETERS = sum(array.size for name, array in STATE.items() if "running_" not in name)
LINE = (
    f"architecture {spaces.to_text(spaces.parse(S2, ','.join(BLOCKS)))}, 10 classes, "
    f"91,653,616 MACs at 224 pixels, {PARAMETERS:,} parameters\n"
)


def weights(arrays):
    return {name: a for name, a in arrays.items() if not name.endswith(release.COUNTER)}


@pytest.mark.parametrize("name", NAMES)
def test_names_and_shapes_are_those_of_the_release(name):
    blocks = CASES[name]["blocks"]
    arrays = release.from_model(zoo.create(name, num_classes=CLASSES))
    assert {n: a.shape for n, a in weights(arrays).items()} == dict(state_shapes(blocks, CLASSES))
    counters = {n.removesuffix(release.COUNTER) for n in arrays.keys() - weights(arrays).keys()}
    assert counters == {n.removesuffix(".running_var") for n in arrays if n.endswith("_var")}


@pytest.mark.parametrize("name", NAMES)
def test_a_state_tells_its_architecture_and_comes_back(name):
    state = random_state(CASES[name]["blocks"], CLASSES, seed=1)
    model = release.to_model(state, image_size=96)
    np.testing.assert_array_equal(model.architecture, spaces.parse(S2, name))
    assert model.class_names == models.number_names(CLASSES)
    assert model.preprocessing == Preprocessing(image_size=96)
    back = release.from_model(model)
    assert_same(weights(back), state)
    assert_same(weights(release.from_model(release.to_model(back))), state)


def test_one_class_is_enough():
    state = random_state(BLOCKS, 1, seed=2)
    assert_same(weights(release.from_model(release.to_model(state))), state)


@pytest.mark.parametrize("name", NAMES)
def test_a_file_of_pytorch_gives_its_logits_and_goes_back(tmp_path, name):
    torch = pytest.importorskip("torch")
    from golden import torch_scarlet

    case = CASES[name]
    state = random_state(case["blocks"], case["num_classes"], case["weight_seed"])
    theirs = torch_scarlet.create(case["blocks"], state).state_dict()
    for is_zip in (False, True):
        saved = {"model_state": theirs, "epoch": 300}
        torch.save(saved, tmp_path / "theirs.pth", _use_new_zipfile_serialization=is_zip)
        model = release.to_model(torch_file.read(tmp_path / "theirs.pth"))
        assert_same(weights(release.from_model(model)), state)

    images = random_images(case["image_seed"], case["batch"], case["size"])
    assert difference(run(model.network, images), case["logits"]) < 1e-4

    torch_file.write(tmp_path / "ours.pth", release.from_model(model))
    back = torch.load(tmp_path / "ours.pth", weights_only=True)["model_state"]
    module = torch_scarlet.Scarlet(case["blocks"], case["num_classes"])
    module.load_state_dict(back, strict=True)
    assert all(torch.equal(array, theirs[name]) for name, array in module.state_dict().items())


def test_what_does_not_fit_is_listed_by_the_releases_names():
    state = STATE | {"mb_module.2.conv3.weight": np.zeros((1, 2, 3), np.float32)}
    state["mb_module.2.extra"] = state.pop("mb_module.2.bn1.running_var")
    with pytest.raises(InputError) as caught:
        release.to_model(state, source="a.pth")
    assert str(caught.value) == (
        "a.pth does not fit the network; missing: mb_module.2.bn1.running_var; "
        "extra: mb_module.2.extra; "
        "other shape: mb_module.2.conv3.weight is [1, 2, 3] instead of [40, 96, 1, 1]"
    )
    with pytest.raises(
        InputError, match=r"missing: mb_module\.1\.bn1\.bias, .*, mb_module\.18\..*; extra"
    ):
        release.to_model(STATE, architecture=spaces.parse(S2, "scarlet-a"))


BROKEN = {
    "classifier.bias": (None, r"missing: classifier\.bias"),
    "classifier.weight": ((CLASSES, 7), r"classifier\.weight is \[10, 7\] instead of \[10, 1280\]"),
    "mb_module.2.conv1.weight": (None, r"at layer 2: mb_module\.2\.conv1\.weight is missing and"),
    "mb_module.2.conv2.weight": ((96, 1, 9, 9), r"is \[96, 32, 1, 1\] .* \[96, 1, 9, 9\]; allowed"),
    "mb_module.6.conv1.weight": ((100, 40, 1, 1), r"layer 6: .* allowed: E3K3, E3K5, .*, identity"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_tells_no_network_is_refused(name):
    shape, problem = BROKEN[name]
    state = {key: array for key, array in STATE.items() if key != name}
    if shape:
        state[name] = np.zeros(shape, np.float32)
    with pytest.raises(InputError, match=problem):
        release.to_model(state)


@pytest.mark.parametrize("start", [b"", b"\xef\xbb\xbf"], ids=["plain", "byte-order mark"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"], ids=["LF", "CRLF", "CR"])
def test_class_names_are_lines(tmp_path, start, end):
    lines = ["tench", "ähre", "", " great white shark ", "one\x85name", ""]
    (tmp_path / "names.txt").write_bytes(start + end.join(lines).encode())
    names = release.read_names(tmp_path / "names.txt")
    assert names == ("tench", "ähre", "great white shark", "one\x85name")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "holds no class names; allowed: one a line"),
        (b"\xef\xbb\xbf\r\n \n", "holds no class names"),
        (b"crane\neel\ncrane\n", "has the class 'crane' twice, in lines 1 and 3; allowed: each o"),
        (b"\xff\xfet\0e\0", "cannot be read as class names: 'utf-8' codec can't decode"),
    ],
    ids=["empty", "blank", "twice", "UTF-16"],
)
def test_what_are_no_class_names(tmp_path, content, problem):
    (tmp_path / "names.txt").write_bytes(content)
    with pytest.raises(InputError, match=f"{tmp_path / 'names.txt'} {problem}"):
        release.read_names(tmp_path / "names.txt")
    with pytest.raises(InputError, match=r"none\.txt cannot be read as class names"):
        release.read_names(tmp_path / "none.txt")


def test_class_names_fit_the_classifier():
    names = ("tench", "ähre")
    assert release.to_model(random_state(BLOCKS, 2, 0), class_names=names).class_names == names
    with pytest.raises(InputError, match=r"2 class names, but a\.pth has 10 classes; allowed: one"):
        release.to_model(STATE, source="a.pth", class_names=names)


def test_only_what_the_release_has_goes_back():
    model = release.to_model(STATE)
    grey = dataclasses.replace(model.preprocessing, channels=1)
    for changes in ({"space": S1}, {"skip": "els"}, {"preprocessing": grey}):
        with pytest.raises(InputError, match="allowed: the paper's 's2', 'identity' and 3"):
            release.from_model(dataclasses.replace(model, **changes))


def test_an_identity_has_no_stride():
    blocks = ["E3K3", *["identity"] * 18]
    state = random_state(blocks, CLASSES, seed=3)
    problem = "has identities at the layers 2, 6, 14, which have a stride; the release's identity"
    with pytest.raises(InputError, match=f"the state {problem}"):
        release.to_model(state)
    architecture = spaces.parse(S2, ",".join(blocks))
    model = models.create(S2, architecture, models.number_names(CLASSES), Preprocessing())
    with pytest.raises(InputError, match=f"the model {problem}"):
        release.from_model(model)


def test_the_launcher_makes_a_model_of_a_pytorch_file(tmp_path):
    averages = {f"module.{name}": array for name, array in STATE.items()}
    weights_alone = {name: np.zeros_like(array) for name, array in STATE.items()}
    saved = {"state_dict": weights_alone, "state_dict_ema": averages}
    (tmp_path / "theirs.pth.tar").write_bytes(torch_pickles.states(saved))
    (tmp_path / "names.txt").write_text("\n".join("abcdefghij"))
    ours, names = tmp_path / "models" / "new", f"--labels={tmp_path / 'names.txt'}"
    source = f"--from={tmp_path / 'theirs.pth.tar'}"
    command = ["convert", source, f"--to={ours}", names, "--state=state_dict_ema"]
    ((code, out, err),) = finish(start(*command))
    assert (code, out) == (0, f"wrote {ours / models.FILE_NAME}: {LINE}"), err
    model = models.load(ours)
    assert model.class_names == tuple("abcdefghij")
    assert_same(weights(release.from_model(model)), STATE)


def test_the_launcher_makes_a_pytorch_file_of_a_model(tmp_path):
    pytest.importorskip("torch")
    models.save(release.to_model(STATE), tmp_path / models.FILE_NAME)
    back = tmp_path / "back.pth"
    ((code, out, err),) = finish(start("convert", f"--from={tmp_path}", f"--to={back}"))
    assert (code, out) == (0, f"wrote {back}: {LINE}"), err
    assert_same(weights(torch_file.read(back)), STATE)


def test_bad_input_is_one_line_and_code_2_and_nothing_is_written(tmp_path, tmp_path_factory):
    theirs, ours = tmp_path / "theirs.pth", tmp_path / "ours.safetensors"
    model = tmp_path / models.FILE_NAME
    models.save(release.to_model(STATE), model)
    theirs.write_bytes(torch_pickles.state(STATE))
    several = tmp_path / "several.pth"
    several.write_bytes(torch_pickles.states({"model": STATE, "model_ema": STATE}))
    ours.write_bytes(b"damaged")
    new, inside = tmp_path / "new", theirs / "new"
    bad = {
        (f"--from={theirs}",): "error: --to must be given, for example\n  scarlet convert",
        (f"--from={theirs}", f"--to={new}", "--arch=scarlet-a"): "missing: mb_module.1.bn1.bias,",
        (f"--from={several}", f"--to={new}"): "holds several states: model, model_ema; allowed: on",
        (f"--from={theirs}", f"--to={new}", "--state=ema"): "no state 'ema'; allowed: .",
        (f"--from={theirs}", f"--to={inside}"): f"{inside} cannot be a folder: {theirs} is a file",
        (f"--from={tmp_path}", f"--to={model}"): f"--to is {model}, the model itself; allowed: ano",
        (
            f"--from={ours}",
            f"--to={new}",
            "--arch=scarlet-a",
        ): f"--arch given, but {ours} is a model file",
    }
    converts = {("convert", *arguments): message for arguments, message in bad.items()}
    check_refused(converts, tmp_path_factory.mktemp("printed"))
    assert sorted(tmp_path.iterdir()) == [model, ours, several, theirs]
    models.load(model)


def test_converting_compiles_nothing(compilations):
    release.from_model(release.to_model(STATE))
    jax.block_until_ready(release.to_model(STATE).network.params)
    assert compilations() == 0
