"""Files of PyTorch are read without it, whole or not at all, and nothing in them is run."""

import io
import os
import pickle
import shutil
import sys
import zipfile
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
import torch_pickles
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch_weights import assert_same

from scarlet_jax import torch_file
from scarlet_jax.errors import InputError

GOLDEN = Path(__file__).parent / "golden"
FILES = ("old.pth", "zip.pth")  # of golden/torch_files.py

BASE = np.arange(24, dtype=np.float32).reshape(4, 6)
EXPECTED = {
    "whole": BASE,
    "view": BASE[1:3, 2:5],
    "transposed": BASE.T,
    "parameter": BASE[:, 0],
    "double": BASE[0].astype(np.float64),
    "half": BASE[:2, :2].astype(np.float16),
    "bfloat16": BASE[0].astype(ml_dtypes.bfloat16),
    "count": np.array(7),
    "bytes": BASE[0].astype(np.uint8),
    "flags": BASE[0] > 2,
    "empty": np.zeros((0, 3), np.float32),
}
NUMBERS = {"0": np.arange(6, dtype=np.float32)}


def read(folder, content):
    path = folder / "file.pth"
    path.write_bytes(content)
    return torch_file.read(path)


@pytest.mark.parametrize("name", FILES)
def test_what_pytorch_wrote_is_read(name):
    assert_same(torch_file.read(GOLDEN / name), EXPECTED)


@pytest.mark.parametrize("name", FILES)
def test_what_pytorch_writes_now_is_read(tmp_path, name):
    pytest.importorskip("torch")
    from golden import torch_files

    torch_files.write(tmp_path)
    assert_same(torch_file.read(tmp_path / name), EXPECTED)


def test_a_state_saved_from_a_gpu_is_read(tmp_path):
    content = (GOLDEN / "old.pth").read_bytes()
    moved = content.replace(b"ctorch\nFloatStorage", b"ctorch.cuda\nFloatStorage")
    assert moved != content
    assert_same(read(tmp_path, moved), EXPECTED)


def test_an_ordered_dict_of_python_2_is_read(tmp_path):
    pair = b"](U\x06weight" + torch_pickles.tensor((2, 3), (3, 1)) + b"e"
    state = b"ccollections\nOrderedDict\n](" + pair + b"e\x85R"
    arrays = read(tmp_path, torch_pickles.old(state, NUMBERS))
    assert_same(arrays, {"weight": NUMBERS["0"].reshape(2, 3)})


def test_big_endian_numbers_are_read(tmp_path):
    state = torch_pickles.mapping({"weight": torch_pickles.tensor((6,), (1,))})
    swapped = {key: array.byteswap() for key, array in NUMBERS.items()}
    file = io.BytesIO(torch_pickles.zipped(state, swapped))
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr("archive/byteorder", "big")
    assert_same(read(tmp_path, file.getvalue()), {"weight": NUMBERS["0"]})


@pytest.mark.parametrize("wrapper", [None, *torch_file.WRAPPERS])
@pytest.mark.parametrize("make", [torch_pickles.old, torch_pickles.zipped])
def test_a_state_may_be_bare_or_wrapped(tmp_path, wrapper, make):
    state = torch_pickles.mapping({"weight": torch_pickles.tensor((6,), (1,))})
    if wrapper:
        state = torch_pickles.mapping({"epoch": torch_pickles.body(3), wrapper: state})
    assert_same(read(tmp_path, make(state, NUMBERS)), {"weight": NUMBERS["0"]})


WEIGHT = torch_pickles.tensor((6,), (1,))
OTHER = torch_pickles.tensor((3,), (1,))
COUNT = torch_pickles.tensor((), (), 2)


def state(*names):
    """A state dict of tensors, in opcodes: what it was counted over is no weight."""
    counts = (torch_file.AVERAGED, "_orig_mod.n_averaged", "module.n_averaged", "epoch")
    return torch_pickles.mapping({n: COUNT if n in counts else WEIGHT for n in names})


@pytest.mark.parametrize(
    "names",
    [
        ("module.conv.weight",),
        ("_orig_mod.conv.weight",),
        ("module._orig_mod.conv.weight",),
        ("_orig_mod.module.conv.weight",),
        ("conv._orig_mod.weight",),
        ("n_averaged", "module.conv.weight"),
        ("n_averaged", "module.module._orig_mod.conv.weight"),
        ("_orig_mod.n_averaged", "_orig_mod.module.conv.weight"),
        ("module.n_averaged", "module.module.conv.weight"),
    ],
    ids=" ".join,
)
def test_names_are_those_of_the_plain_module(tmp_path, names):
    for content in (state(*names), torch_pickles.mapping({"state_dict": state(*names)})):
        arrays = read(tmp_path, torch_pickles.old(content, NUMBERS))
        assert_same(arrays, {"conv.weight": NUMBERS["0"]})


@pytest.mark.parametrize(
    "names",
    [
        ("conv.weight", "module.conv.weight"),
        ("n_averaged", "conv.weight"),
        ("mb_module.0.weight", "module.conv.weight"),
    ],
    ids=" ".join,
)
def test_other_names_stay(tmp_path, names):
    assert read(tmp_path, torch_pickles.old(state(*names), NUMBERS)).keys() == set(names)


def test_two_tensors_of_one_name_are_refused(tmp_path):
    content = torch_pickles.old(state("conv.weight", "_orig_mod.conv.weight"), NUMBERS)
    with pytest.raises(InputError, match="it has two tensors of one name, with and without _orig"):
        read(tmp_path, content)


@pytest.mark.parametrize("keys", [("state_dict", "state_dict_ema"), ("model", "model_ema")])
def test_of_several_states_one_must_be_named(tmp_path, keys):
    states = {
        keys[0]: torch_pickles.mapping({"weight": WEIGHT}),
        keys[1]: torch_pickles.mapping({"n_averaged": COUNT, "module.weight": OTHER}),
    }
    content = torch_pickles.zipped(torch_pickles.mapping(states), NUMBERS)
    with pytest.raises(InputError, match=f"holds several states: {', '.join(keys)}; allowed: one"):
        read(tmp_path, content)
    for key, expected in zip(keys, (NUMBERS["0"], NUMBERS["0"][:3]), strict=True):
        assert_same(torch_file.read(tmp_path / "file.pth", key), {"weight": expected})
    with pytest.raises(InputError, match=f"holds no state 'ema'; allowed: {', '.join(keys)}"):
        torch_file.read(tmp_path / "file.pth", "ema")


def test_a_state_beside_the_files_own_must_be_named_too(tmp_path):
    own = {"a.weight": WEIGHT, "ema": torch_pickles.mapping({"a.weight": OTHER})}
    with pytest.raises(InputError, match=r"holds several states: \., ema; allowed: one, .*=\.$"):
        read(tmp_path, torch_pickles.old(torch_pickles.mapping(own), NUMBERS))
    path = tmp_path / "file.pth"
    assert_same(torch_file.read(path, torch_file.ITSELF), {"a.weight": NUMBERS["0"]})
    assert_same(torch_file.read(path, "ema"), {"a.weight": NUMBERS["0"][:3]})


def test_what_is_of_no_module_is_no_state(tmp_path):
    saved = {
        "epoch": COUNT,
        "loss": torch_pickles.mapping({"weight": OTHER}),
        "scheduler": torch_pickles.body({"last_epoch": 3}),
        "net": state("a.weight"),
    }
    arrays = read(tmp_path, torch_pickles.old(torch_pickles.mapping(saved), NUMBERS))
    assert_same(arrays, {"a.weight": NUMBERS["0"]})
    assert_same(torch_file.read(tmp_path / "file.pth", "net"), arrays)


def test_what_pytorch_wraps_is_unwrapped(tmp_path):
    torch = pytest.importorskip("torch")
    module = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.BatchNorm2d(2))
    expected = {name: tensor.numpy() for name, tensor in module.state_dict().items()}
    averaged, parallel = torch.optim.swa_utils.AveragedModel, torch.nn.DataParallel
    for wraps in (
        (averaged,),
        (torch.compile,),
        (parallel, torch.compile),
        (torch.compile, parallel),
        (averaged, parallel, torch.compile),
        (torch.compile, averaged, parallel),
    ):
        wrapped = module
        for wrap in reversed(wraps):
            wrapped = wrap(wrapped)
        torch.save({"model": wrapped.state_dict()}, tmp_path / "file.pth")
        assert_same(torch_file.read(tmp_path / "file.pth"), expected)


def png():
    file = io.BytesIO()
    Image.new("RGB", (4, 4)).save(file, "png")
    return file.getvalue()


FOREIGN = {
    "empty": (b"", "cannot be read as a file of PyTorch: it is empty"),
    "picture": (png(), "it is neither a zip archive nor in the older format"),
    "text": (b"hello", "it is neither a zip archive nor in the older format"),
    "pickle": (pickle.dumps({"a": 1}), "it is neither a zip archive nor in the older format"),
    "archive": (torch_pickles.zipped(b"}", {})[:-30], "File is not a zip file"),
    "no tensors": (torch_pickles.old(torch_pickles.body({"a": 1}), {}), "holds no tensors by name"),
    "a list": (torch_pickles.old(torch_pickles.body([1]), {}), "holds no tensors by name; allowed"),
    "a module": (torch_pickles.old(b"cmodels\nNet\n)\x81}b", {}), "holds no tensors by name"),
    "names": (torch_pickles.old(b"]", {})[:-3] + b"K\x01a.", "are not listed by name"),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_other_files_are_refused_in_a_line(tmp_path, kind):
    content, problem = FOREIGN[kind]
    with pytest.raises(InputError, match=problem) as caught:
        read(tmp_path, content)
    assert str(caught.value).startswith(str(tmp_path / "file.pth"))
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=f"there is no file {tmp_path / 'none.pth'}"):
        torch_file.read(tmp_path / "none.pth")


VIEWS = {
    "too long": ((7,), (1,), 0),
    "too far": ((2, 3), (3, 1), 1),
    "before the start": ((2,), (1,), -1),
    "backwards": ((2,), (-1,), 3),
    "endless": ((2**40, 2**40), (0, 0), 0),
    "huge": ((2**70,), (1,), 0),
    "other axes": ((2, 3), (1,), 0),
    "many axes": ((1,) * 65, (1,) * 65, 0),
    "a flag": ((True,), (1,), 0),
    "text": (("2",), (1,), 0),
    "no sizes": (None, None, 0),
    "empty and huge": ((0, 2**80), (1, 1), 0),
}


@pytest.mark.parametrize("make", [torch_pickles.old, torch_pickles.zipped])
@pytest.mark.parametrize("kind", VIEWS)
def test_a_view_outside_its_storage_is_refused(tmp_path, kind, make):
    state = torch_pickles.mapping({"weight": torch_pickles.tensor(*VIEWS[kind])})
    with pytest.raises(InputError, match="cannot be read as a file of PyTorch"):
        read(tmp_path, make(state, NUMBERS))


def test_an_unknown_type_of_numbers_is_named(tmp_path):
    strange = torch_pickles.tensor((6,), (1,), type=b"torch\nQInt8Storage")
    with pytest.raises(InputError, match=r"'torch\.QInt8Storage'; allowed: DoubleStorage, FloatSt"):
        read(tmp_path, torch_pickles.zipped(torch_pickles.mapping({"weight": strange}), NUMBERS))


class Runs:
    """Runs a function when it is unpickled."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("function", [os.system, eval])
def test_nothing_pickled_is_run(tmp_path, function, protocol):
    sign = tmp_path / "sign"
    code = {os.system: f"touch {sign}", eval: f"open({str(sign)!r}, 'w').close()"}[function]
    hostile = pickle.dumps(Runs(function, code), protocol=protocol)
    pickle.loads(hostile)
    sign.unlink()
    with pytest.raises(InputError, match="holds no tensors by name"):
        read(tmp_path, torch_pickles.old(hostile[:-1], {}))
    state = {"weight": torch_pickles.tensor((6,), (1,)), "more": hostile[:-1]}
    arrays = read(tmp_path, torch_pickles.zipped(torch_pickles.mapping(state), NUMBERS))
    assert_same(arrays, {"weight": NUMBERS["0"]})
    assert not sign.exists()


@pytest.mark.parametrize("form", [b"(%sios\nsystem\n.", b"(cos\nsystem\n%so."])
def test_the_old_ways_to_call_run_nothing_either(tmp_path, form):
    sign = tmp_path / "sign"
    hostile = form % torch_pickles.body(f"touch {sign}")
    pickle.loads(hostile)
    sign.unlink()
    with pytest.raises(InputError, match="holds no tensors by name"):
        read(tmp_path, torch_pickles.old(hostile[:-1], {}))
    assert not sign.exists()


NESTED = 200_000
TRAPS = {
    "a state in itself": b"}q\x00" + torch_pickles.body("model_state") + b"h\x00s",
    "nested keys": b"})" + b"\x85" * NESTED + b"K\x01s",
    "nested lists": b"]" * NESTED + b"a" * (NESTED - 1),
    "a large memo": b"}r\xff\xff\xff\xff",
    "long bytes": b"}\x8e\xff\xff\xff\xff\xff\xff\xff\x7f",
    "an empty stack": b"0",
    "no mark": b"t",
    "no memo": b"h\x05",
}


@pytest.mark.parametrize("kind", TRAPS)
def test_a_trap_is_only_a_bad_file(tmp_path, kind):
    with pytest.raises(InputError, match=r"file\.pth (cannot be read|holds no tensors)"):
        read(tmp_path, torch_pickles.old(TRAPS[kind], {}))


def test_an_archive_does_not_grow(tmp_path):
    zeros = {"0": np.zeros(2**20, np.float32)}
    content = torch_pickles.zipped(b"}", zeros, zipfile.ZIP_DEFLATED)
    with pytest.raises(InputError, match="entries of the archive are larger than the archive"):
        read(tmp_path, content)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("damaged")


CONTENTS = [(GOLDEN / name).read_bytes() for name in FILES]


@given(content=st.sampled_from(CONTENTS), share=st.floats(0, 1, exclude_max=True))
def test_a_cut_file_is_refused(folder, content, share):
    with pytest.raises(InputError):
        read(folder, content[: int(share * len(content))])


@given(
    content=st.sampled_from(CONTENTS),
    changes=st.lists(
        st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=4
    ),
)
def test_changed_bytes_give_arrays_or_an_input_error(folder, content, changes):
    damaged = bytearray(content)
    for share, byte in changes:
        damaged[int(share * len(content))] = byte
    try:
        arrays = read(folder, damaged)
    except InputError:
        return
    assert all(isinstance(array, np.ndarray) for array in arrays.values())


def test_what_is_written_is_read_by_pytorch_and_by_us(tmp_path):
    torch = pytest.importorskip("torch")
    arrays = {name: array for name, array in EXPECTED.items() if name != "bfloat16"}
    torch_file.write(tmp_path / "new.pth", arrays)
    assert_same(torch_file.read(tmp_path / "new.pth"), arrays)
    theirs = torch.load(tmp_path / "new.pth", weights_only=True)
    assert_same({name: t.numpy() for name, t in theirs["model_state"].items()}, arrays)


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    torch = pytest.importorskip("torch")
    path = tmp_path / "old.pth"
    shutil.copy(GOLDEN / "old.pth", path)

    def save(_, partial, **__):
        partial.write_bytes(b"half")
        raise OSError("no space left")

    monkeypatch.setattr(torch, "save", save)
    with pytest.raises(OSError, match="no space left"):
        torch_file.write(path, EXPECTED | {"bfloat16": BASE})
    assert path.read_bytes() == (GOLDEN / "old.pth").read_bytes()
    assert list(tmp_path.iterdir()) == [path]


def test_writing_asks_for_pytorch(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(InputError, match=r"new\.pth takes PyTorch to write: pip install"):
        torch_file.write(tmp_path / "new.pth", EXPECTED)
    assert not list(tmp_path.iterdir())
