"""Blocks as files: each is its block, and what tools print of them makes a table."""

import itertools
import json
import shlex

import jax
import numpy as np
import pytest

from scarlet_jax import export, latency
from scarlet_jax import space as spaces
from scarlet_jax.errors import InputError
from scarlet_jax.export import job
from scarlet_jax.files import write_json
from scarlet_jax.latency import files, networks, printed
from scarlet_jax.latency.parts import plan
from scarlet_jax.network_size import NetworkSize

SIZE = NetworkSize(image_size=8, num_classes=3, channels=1)
SPACE = spaces.make_space(
    name="hand",
    widths=(12, 12),
    strides=(2, 1),
    choices=("E2K3_SE", "F2K3", "identity"),
    stem_width=8,
    separable_width=8,
    head_width=16,
)
BLOCKS = {  # by what they read: 4 x 4 after the stem, and 2 x 2 after the first layer
    "E2K3_SE-4x4x8-to-12-stride-2": 5.0,
    "F2K3-4x4x8-to-12-stride-2": 6.0,
    "identity-4x4x8-to-12-stride-2": 0.5,
    "E2K3_SE-2x2x8-to-12-stride-1": 7.0,
    "E2K3_SE-2x2x12-to-12-stride-1": 8.0,
    "F2K3-2x2x8-to-12-stride-1": 9.0,
    "F2K3-2x2x12-to-12-stride-1": 10.0,
    "head-2x2x8": 20.0,
    "head-2x2x12": 30.0,
}
STEM = 100.0
LITE = """INFO: STARTING!
INFO: Graph: [block.tflite]
INFO: count=9 first=87112 curr=51629 min=51629 max=87112 avg=58147.4 std=11478 p5=51629 \
median=51962 p95=87112

INFO: count=50 first=9999 curr=1000 min=1000 max=9999 avg={mean} std=5 p5=1000 \
median={median} p95=9999

INFO: Inference timings in us: Init: 900, First inference: 87112, Warmup (avg): 58147.4, \
Inference (avg): {mean}
INFO: Memory footprint delta from the start of the tool (MB): init=55.4961 overall=55.4961
"""
OLD_LITE = """count=50 first=2990275 curr=2913402 min=2727568 max=3189954 avg=2.95034e+06 std=109798

Inference timings in us: Init: 17187, First inference: 3512391, Warmup (avg): 3.51239e+06, \
Inference (avg): 2.95034e+06
"""
ONNX = """Session creation time cost: 0.169475 s
First inference time cost: 109 ms
Total inference time cost: 0.0727021 s
Average inference time cost{total}: 7.270205 ms
Number of inferences per second: 137.435
"""


def write_outputs(folder, text):
    """Beside every file what `text` makes of its milliseconds: networks take their blocks', and
    the stem's."""
    paths = json.loads((folder / "table.json").read_text())["networks"]
    costs = BLOCKS | {name: by_hand(path) for name, path in paths.items()}
    for name, cost in costs.items():
        (folder / f"{name}.txt").write_text(text(cost))


def by_hand(path):
    """A network's cost by the figures above, written out by its two layers."""
    first = SPACE.choices[path[0]].name
    width = 8 if first == "identity" else 12
    total = STEM + BLOCKS[f"{first}-4x4x8-to-12-stride-2"]
    second = SPACE.choices[path[1]].name
    if second != "identity":
        total += BLOCKS[f"{second}-2x2x{width}-to-12-stride-1"]
        width = 12
    return total + BLOCKS[f"head-2x2x{width}"]


def named(folder, device="Phone 1", unit="ms"):
    """The folder's table with the device's name and a unit filled in."""
    record = json.loads((folder / "table.json").read_text())
    record |= {"device": {"kind": device}, "unit": unit}
    (folder / "table.json").write_text(json.dumps(record))


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("blocks")
    for format_name in files.SUFFIXES:
        (folder / format_name).mkdir()
        latency.export_blocks(SPACE, SIZE, format_name, folder / format_name, check=2)
    return folder


@pytest.fixture
def folder(exported, tmp_path):
    """The table to fill in, without the files, which reading does not need."""
    (tmp_path / "table.json").write_text((exported / "litert" / "table.json").read_text())
    return tmp_path


@pytest.mark.parametrize("format_name", files.SUFFIXES)
def test_every_file_is_its_block_in_its_runtime(format_name, exported):
    """Built in the order of the files, by the same random numbers."""
    folder, suffix = exported / format_name, files.SUFFIXES[format_name]
    names = {path.stem for path in folder.iterdir() if path.suffix == suffix}
    assert names == {*BLOCKS, *networks.sample(SPACE, 2)}
    module, rng = job.module_of(format_name), np.random.default_rng(0)
    for part in dict.fromkeys(jax.tree.leaves(plan(SPACE, 8))):
        block = part.build(SPACE, 3, rng)
        if (name := files._name(part)) not in names:
            assert part.is_identity
            continue
        x = np.random.default_rng(1).standard_normal((1, part.side, part.side, part.width))
        found = module.load(folder / f"{name}{suffix}")(x.astype(np.float32))
        expected = np.asarray(block(x.astype(np.float32)))
        if format_name == "onnx" and expected.ndim == 4:
            found = found.transpose(0, 2, 3, 1)
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_the_table_to_fill_in_names_the_files(folder):
    record = json.loads((folder / "table.json").read_text())
    assert record["device"] == {"kind": None}
    assert record["unit"] == "ms"
    assert record["stem"] is None
    assert record["layers"][1]["F2K3"] == {
        "8": "F2K3-2x2x8-to-12-stride-1",
        "12": "F2K3-2x2x12-to-12-stride-1",
    }
    assert record["layers"][1]["identity"] == {"8": 0.0, "12": 0.0}
    assert record["head"] == {"8": "head-2x2x8", "12": "head-2x2x12"}
    with pytest.raises(InputError, match=r"'E2K3_SE-4x4x8-to-12-stride-2' at layers\.0\.E2K3_SE"):
        latency.load(folder / "table.json", SPACE, SIZE)


@pytest.mark.parametrize(
    ("text", "unit"),
    [
        (lambda cost: LITE.format(mean="99999.9", median=round(1000 * cost)), "ms"),
        (lambda cost: ONNX.format(total=" total") + f"P50 Latency: {cost / 1e3} s\n", "ms"),
        (lambda cost: f"{cost}\n", "mJ"),
    ],
)
def test_a_filled_table_is_what_a_hand_finds(text, unit, folder):
    named(folder, unit=unit)
    write_outputs(folder, text)
    record = latency.read_blocks(SPACE, SIZE, folder)
    assert record["stem"] == pytest.approx(STEM)
    assert record["check"]["median_error"] == pytest.approx(0, abs=1e-9)
    assert len(record["check"]["sums"]) == 2
    assert latency.useless(record["check"]) == ""
    write_json(folder / "filled.json", record)
    table = latency.load(folder / "filled.json", SPACE, SIZE, device="Phone 1")
    assert table.unit == unit
    paths = np.array(list(itertools.product(range(3), range(3))), np.int32)
    np.testing.assert_allclose(table(paths), [by_hand(path) for path in paths])


def test_a_stem_may_be_negative(folder):
    """Blocks alone pay for a call each, of 60 here."""
    named(folder)
    write_outputs(folder, str)
    for name, cost in BLOCKS.items():
        (folder / f"{name}.txt").write_text(f"{cost + 60}")
    record = latency.read_blocks(SPACE, SIZE, folder)
    assert record["stem"] == pytest.approx(STEM - 3 * 60)  # networks of two blocks and a head
    write_json(folder / "filled.json", record)
    two_blocks = latency.load(folder / "filled.json", SPACE, SIZE)(np.array([[0, 1]], np.int32))
    assert two_blocks.tolist() == pytest.approx([by_hand([0, 1])])


def test_a_number_by_hand_needs_no_output(folder):
    named(folder)
    write_outputs(folder, str)
    record = json.loads((folder / "table.json").read_text())
    record["head"]["8"] = 2.5
    (folder / "table.json").write_text(json.dumps(record))
    (folder / "head-2x2x8.txt").unlink()
    assert latency.read_blocks(SPACE, SIZE, folder)["head"] == {"8": 2.5, "12": 30.0}
    (folder / "table.json").write_text(json.dumps(record | {"stem": 4.5}))
    assert latency.read_blocks(SPACE, SIZE, folder)["stem"] == 4.5


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (LITE.format(mean="1234.5", median=1200), 1.2),
        (OLD_LITE, 2950.34),
        (ONNX.format(total=""), 7.270205),
        (ONNX.format(total=" total") + "P50 Latency: 0.00727787 s\n", 7.27787),
        (OLD_LITE + "".join(LITE.format(mean=9, median=m) for m in (1300, 1200)), 1.3),  # rounds
        (ONNX.format(total="") + ONNX.format(total=" total") + "P50 Latency: 9e-3 s\n", 8.1351025),
        (LITE.partition("INFO: Inference")[0], None),  # stopped before its end
        (LITE.format(mean="1234,5", median="1200,5"), None),  # of another language
        (LITE.format(mean="1e3", median="1.2E+03"), 1.2),
        ("", None),
        ("12.5", None),
    ],
)
def test_what_tools_print(text, expected):
    assert printed.milliseconds(text) == (None if expected is None else pytest.approx(expected))


def test_wrong_outputs_end_in_one_line(folder):
    def refused():
        with pytest.raises(InputError) as error:
            latency.read_blocks(SPACE, SIZE, folder)
        assert "\n" not in str(error.value)
        return str(error.value)

    assert refused() == (
        f"{folder}/table.json has no text at device.kind; fill in what was measured on"
    )
    named(folder, device=" ")
    assert "has no text at device.kind" in refused()
    named(folder)
    assert refused().startswith(f"{folder} lacks 19 of 19 outputs, such as head-2x2x12.txt; al")
    write_outputs(folder, str)
    (folder / "network-03.txt").unlink()
    assert refused().startswith(f"{folder} lacks 1 of 19 outputs, such as network-03.txt; allowed")
    (folder / "network-03.txt").write_text("0")
    assert refused() == f"a network of {folder} takes 0 or no finite number; allowed: more than 0"
    (folder / "network-03.txt").write_text("1e999")
    assert refused().endswith("takes 0 or no finite number; allowed: more than 0")
    (folder / "network-03.txt").write_text("CANNOT LINK EXECUTABLE")
    assert refused().startswith(f"{folder}/network-03.txt has no result; allowed: all that bench")
    (folder / "network-03.txt").write_text(OLD_LITE)
    named(folder, unit="mJ")
    assert refused() == (
        f"{folder}/network-03.txt has a time, but table.json the unit mJ; allowed: a number alone, "
        "or the unit ms"
    )
    named(folder, unit=" ")
    assert refused().endswith("has ' ' at unit; allowed: text, such as ms or mJ")
    (folder / "table.json").unlink()
    assert "table.json cannot be read: No such file" in refused()


def test_what_cannot_be_written_is_said_before(exported, tmp_path):
    for format_name, folder, check, message in (
        ("stablehlo", tmp_path, 2, "format is 'stablehlo'; allowed for blocks: litert, onnx"),
        ("litert", tmp_path, -1, "check is -1; allowed: 0 or more"),
        ("litert", exported / "onnx", 2, "onnx has blocks already, with table.json; allowed: an"),
    ):
        with pytest.raises(InputError, match=message):
            latency.export_blocks(SPACE, SIZE, format_name, folder, check=check)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("format_name", export.NARROWER)
def test_blocks_in_eight_bits(format_name, tmp_path):
    space = spaces.make_space(
        widths=(8,), strides=(2,), choices=("E2K3", "identity"), stem_width=8, separable_width=8
    )
    count = latency.export_blocks(space, SIZE, format_name, tmp_path, check=0, precision="int8")
    assert count == 2 + 1 + networks.REFERENCES
    suffix = files.SUFFIXES[format_name]
    name, rng = "E2K3-4x4x8-to-8-stride-2", np.random.default_rng(0)
    run = job.module_of(format_name).load(tmp_path / f"{name}{suffix}")
    built = {
        files._name(part): part.build(space, 3, rng)  # in the order of the files
        for part in dict.fromkeys(jax.tree.leaves(plan(space, 8)))
    }
    x = np.random.default_rng(1).standard_normal((1, 4, 4, 8)).astype(np.float32)
    found, expected = run(x), np.asarray(built[name](x))
    if format_name == "onnx":
        found = found.transpose(0, 2, 3, 1)
    # Calibrated on one other image of noise, it clips some; another block's error is above 1.
    assert 0 < np.abs(found - expected).mean() < 0.25 * np.abs(expected).mean()


def test_a_phone_is_told_what_to_run(tmp_path):
    clear, push, loop, pull = latency.commands("litert", tmp_path / "my blocks")
    assert shlex.split(clear) == ["adb", "shell", "rm -rf '/data/local/tmp/my blocks'"]
    assert push == f"adb push '{tmp_path}/my blocks' /data/local/tmp"
    *_, there = shlex.split(loop)
    assert there.startswith(
        "cd '/data/local/tmp/my blocks' && rm -f *.txt table.json && for i in 1 2 3 4 5; do for "
        "f in *.tflite"
    )
    assert "benchmark_model --num_threads=1 " in there
    assert "--graph=$f >> " in there
    assert pull == f"adb pull '/data/local/tmp/my blocks/.' '{tmp_path}/my blocks'"


@pytest.mark.parametrize(
    ("check", "message"),
    [
        ({"median_error": 2.06, "kendall_tau": 0.9}, "the median error of its sums is 206%, and "),
        ({"median_error": 0.1, "kendall_tau": 0.12}, "its sums order networks by a Kendall's tau"),
        ({"median_error": 0.5, "kendall_tau": 0.3}, ""),
        (
            {"median_error": 0.1, "kendall_tau": None, "measured": [2.0, 2.0]},
            "its sums, or the net",
        ),
        ({"median_error": 0.1, "kendall_tau": None, "sums": [1.0], "measured": [2.0]}, ""),
    ],
)
def test_a_table_of_no_use_is_told(check, message):
    fault = latency.useless({"sums": [1.0, 2.0], "measured": [2.0, 3.0]} | check)
    assert fault.startswith(message)
    assert bool(fault) == bool(message)
