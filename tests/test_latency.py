"""Latency tables: paths' sums, what a table must hold, and that blocks are measured once."""

import copy
import functools
import json
import math
import operator
import os
import tempfile
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from searches import every_path

from scarlet_jax import benchmark, files, latency, search, settings
from scarlet_jax import space as spaces
from scarlet_jax.benchmark import Timing
from scarlet_jax.blocks import Style
from scarlet_jax.configs import base
from scarlet_jax.errors import InputError
from scarlet_jax.latency.parts import plan
from scarlet_jax.network_size import NetworkSize
from scarlet_jax.run.setup import make_problem

SIZE = NetworkSize(image_size=8, num_classes=3, channels=1)
TIMING = Timing(dtype="float32", batch_size=1, repeats=2)


def make_space(widths=(12, 12), strides=(2, 1), kernels=(3,), skip="identity", layer_choices=()):
    return spaces.make_space(
        name="hand",
        widths=widths,
        strides=strides,
        expansions=(2,),
        kernels=kernels,
        skip=skip,
        layer_choices=layer_choices,
        stem_width=8,
        separable_width=8,
        head_width=16,
    )


SPACE = make_space()
TABLE = {  # as a user would write it
    "format": "scarlet-jax latency table",
    "version": 1,
    "device": {"kind": "Phone 1"},
    "space": {
        "name": "hand",
        "widths": [12, 12],
        "strides": [2, 1],
        "choices": ["E2K3", "identity"],
        "stem_width": 8,
        "stem_stride": 2,
        "separable_width": 8,
        "head_width": 16,
    },
    **asdict(SIZE),
    "stem": 100,
    "layers": [
        {"E2K3": {"8": 1.5}, "identity": {"8": 0.25}},
        {"E2K3": {"8": 3.5, "12": 7.5}, "identity": {"8": 0, "12": 0.5}},
    ],
    "head": {"8": 10, "12": 20},
}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "latency.json"


def test_by_hand(path):
    files.write_json(path, TABLE)
    table = latency.load(path, SPACE, SIZE, device="Phone 1")
    sums = table(every_path(SPACE.allowed))
    assert sums.dtype == np.float64
    assert sums.tolist() == [
        100 + 1.5 + 7.5 + 20,
        100 + 1.5 + 0.5 + 20,
        100 + 0.25 + 3.5 + 20,
        100 + 0.25 + 0 + 10,
    ]
    assert table.extremes() == (sums.min(), sums.max())


def numbers(table):
    """The keys of every time in a table."""
    yield ("stem",)
    for layer, choices in enumerate(table["layers"]):
        for name, widths in choices.items():
            yield from (("layers", layer, name, width) for width in widths)
    yield from (("head", width) for width in table["head"])


def replaced(table, keys, value):
    """The table with another value, or without one if that is None."""
    table = copy.deepcopy(table)
    *parents, last = keys
    parent = table
    for key in parents:
        parent = parent[key]
    if value is None:
        del parent[last]
    else:
        parent[last] = value
    return table


@pytest.mark.parametrize("keys", list(numbers(TABLE)), ids=str)
def test_every_time_counts_and_must_be_there(keys, path):
    files.write_json(path, replaced(TABLE, keys, 1000))
    assert latency.load(path, SPACE, SIZE)(every_path(SPACE.allowed)).max() > 1000
    wrong = {None: "nothing", math.nan: "nan", -math.inf: "-inf", "1": "'1'"}
    is_stem = keys == ("stem",)
    for value, shown in (wrong if is_stem else wrong | {-1: "-1"}).items():
        path.write_text(json.dumps(replaced(TABLE, keys, value)))
        with pytest.raises(InputError) as error:
            latency.load(path, SPACE, SIZE)
        assert str(error.value) == (
            f"table {path} has {shown} at {'.'.join(map(str, keys))}; allowed: "
            + ("ms, finite" if is_stem else "ms, finite and not negative")
        )


@pytest.mark.parametrize(
    ("unit", "shown"), [("", "''"), (" ", "' '"), (3, "3"), ("m\nJ", "'m\\nJ'")]
)
def test_a_unit_is_any_text(unit, shown, path):
    files.write_json(path, TABLE)
    assert latency.load(path, SPACE, SIZE).unit == "ms"  # older tables say none
    files.write_json(path, TABLE | {"unit": "mJ a frame"})
    assert latency.load(path, SPACE, SIZE).unit == "mJ a frame"
    files.write_json(path, TABLE | {"unit": unit})
    with pytest.raises(InputError) as error:
        latency.load(path, SPACE, SIZE)
    assert str(error.value) == (
        f"table {path} has {shown} at unit; allowed: text, such as ms or mJ"
    )


def test_several_tables_are_objectives_at_once(tmp_path):
    """Latency and energy, and by its own name a second phone's latency, which is only bounded."""
    tables = {"energy": 2.5, "latency": 1, "other_phone": 0.5}  # by how much each multiplies
    for name, factor in tables.items():
        record = copy.deepcopy(TABLE) | {"unit": "mJ" if name == "energy" else "ms"}
        for keys in numbers(TABLE):
            value = functools.reduce(operator.getitem, keys, TABLE)
            record = replaced(record, keys, factor * value)
        files.write_json(tmp_path / name, record)
    config = base.get_config()
    own = config.search.objectives
    own.update({"macs": {"goal": "none", "weight": 0.0, "max": math.inf}})
    wanted = {"goal": "min", "weight": 0.25}
    own.latency.update(wanted | {"table": str(tmp_path / "latency"), "device": "Phone 1"})
    own.energy.update(wanted | {"table": str(tmp_path / "energy"), "max": 310.0})
    with config.unlocked():
        own.other_phone = {"table": str(tmp_path / "other_phone"), "max": 1e3}
    config.search.pick_by = "energy"

    problem = make_problem(settings.check(config), SPACE, SIZE)
    assert problem.names == ["accuracy", *tables]
    values = problem.computed_values(every_path(SPACE.allowed))
    sums = [128.5 + 0.5, 121.5 + 0.5, 123.75, 110.25]
    for column, factor in enumerate(tables.values(), start=1):
        assert values[:, column].tolist() == pytest.approx([factor * total for total in sums])
    state = search.init(problem, seed=0)
    batch = search.ask(problem, state)
    state = search.tell(problem, state, batch, np.linspace(0.1, 0.9, len(batch.architectures)))
    front = search.front(problem, state)
    assert front["objectives"]["energy"] == {"goal": "min", "weight": 0.25, "unit": "mJ"}
    assert "unit" not in front["objectives"]["accuracy"]
    assert all(model["energy"] == 2.5 * model["latency"] <= 310 for model in front["front"])

    own.energy.max = 200.0
    with pytest.raises(InputError, match=r"energy\.max is 200 mJ, .* value is 275\.625 mJ$"):
        make_problem(settings.check(config), SPACE, SIZE)
    own.energy.table = ""
    with pytest.raises(InputError, match=r"energy needs a table; .*objectives\.energy\.table"):
        make_problem(settings.check(config), SPACE, SIZE)


@st.composite
def tables(draw):
    """A space, a table of it with random times, and an architecture."""
    depth = draw(st.integers(1, 4))
    layers = [
        draw(st.lists(st.sampled_from(values), min_size=depth, max_size=depth))
        for values in ((8, 12, 16), (1, 2))
    ]
    choices = {
        "kernels": draw(st.sampled_from([(3,), (3, 5)])),
        "skip": draw(st.sampled_from(["identity", "none"])),
    }
    names = spaces.choice_names(make_space(*layers, **choices))
    own = draw(st.lists(st.sets(st.sampled_from(names)), min_size=depth, max_size=depth))
    space = make_space(*layers, **choices, layer_choices=draw(st.sampled_from([(), own])))
    widths = {"8", *(str(width) for width in layers[0])}
    times = st.floats(0, 1e6)
    row = st.fixed_dictionaries(dict.fromkeys(widths, times))
    choices = [
        st.fixed_dictionaries({names[i]: row for i in np.flatnonzero(own)}) for own in space.allowed
    ]
    table = TABLE | {
        "space": latency.definition(space),
        "stem": draw(times),
        "layers": [draw(of_layer) for of_layer in choices],
        "head": draw(row),
    }
    return space, table, spaces.sample(space, np.random.default_rng(draw(st.integers(0))), 1)


@examples(max_examples=40)
@given(case=tables())
def test_a_path_costs_what_a_walk_along_it_finds(case):
    space, table, architecture = case
    total, width = table["stem"], space.separable_width
    for layer, choice in enumerate(architecture[0]):
        total += table["layers"][layer][space.choices[choice].name][str(width)]
        width = width if space.choices[choice].keeps_width else space.layers[layer].width
    total += table["head"][str(width)]
    with tempfile.TemporaryDirectory() as folder:
        files.write_json(Path(folder, "t.json"), table)
        loaded = latency.load(Path(folder, "t.json"), space, SIZE)
    np.testing.assert_allclose(loaded(architecture), [total], rtol=1e-12)


WRONG = [
    (("format",), "other", "has 'other' at format; allowed here: 'scarlet-jax latency table'"),
    (("version",), 2, "has 2 at version; allowed here: 1"),
    (("space",), None, "has nothing at space.name; allowed here: 'hand'"),
    (("space", "name"), "s2", "has 's2' at space.name; allowed here: 'hand'"),
    (("space", "widths", 1), 16, "has [12, 16] at space.widths; allowed here: [12, 12]"),
    (("space", "choices"), ["E2K3"], "has ['E2K3'] at space.choices; allowed here: ['E2K3', 'id"),
    (("image_size",), 224, "has 224 at image_size; allowed here: 8"),
    (("num_classes",), None, "has nothing at num_classes; allowed here: 3"),
    (("channels",), 3, "has 3 at channels; allowed here: 1"),
    (("device", "kind"), "cpu", "has 'cpu' at device.kind; allowed here: 'Phone 1'"),
    (("device",), None, "has nothing at device.kind; allowed here: 'Phone 1'"),
]


@pytest.mark.parametrize(("keys", "value", "message"), WRONG)
def test_a_table_of_something_else_is_refused(keys, value, message, path):
    files.write_json(path, replaced(TABLE, keys, value))
    with pytest.raises(InputError) as error:
        latency.load(path, SPACE, SIZE, device="Phone 1")
    assert f"table {path} {message}" in str(error.value)


@pytest.mark.parametrize(
    ("keys", "value", "message"),
    [
        (
            ("layers", 2),
            {"E2K3": {"12": 1}},
            "has 3 layers; allowed: 2, as many as space 'hand' has",
        ),
        (("layers", 1, "E2K5"), {"8": 1}, "has 'E2K5' at layers.1; allowed there: E2K3, identity"),
        (("layers", 0, "E2K3", "16"), 1, "has '16' at layers.0.E2K3; allowed there: 8, 12"),
        (("layers", 0, "E2K3", "08"), 1, "has '08' at layers.0.E2K3; allowed there: 8, 12"),
        (("head", "16"), 1, "has '16' at head; allowed there: 8, 12"),
    ],
)
def test_a_table_with_more_than_the_space_is_refused(keys, value, message, path):
    table = copy.deepcopy(TABLE)
    *outer, last = keys
    parent = table
    for key in outer:
        parent = parent[key]
    if isinstance(parent, list):
        parent.append(value)
    else:
        parent[last] = value
    files.write_json(path, table)
    with pytest.raises(InputError) as error:
        latency.load(path, SPACE, SIZE)
    assert str(error.value) == f"table {path} {message}"


OWN = make_space(layer_choices=(("E2K3",), ()))  # no identity at stride 2
OWN_TABLE = TABLE | {
    "space": TABLE["space"] | {"layer_choices": [["E2K3"], ["E2K3", "identity"]]},
    "layers": [{"E2K3": {"8": 1.5}}, {"E2K3": {"12": 7.5}, "identity": {"12": 0.5}}],
    "head": {"12": 20},
}


def test_a_table_has_what_can_occur_alone(path):
    """Behind a layer that cannot be skipped, nothing reads fewer channels than it writes."""
    assert latency.definition(OWN) == OWN_TABLE["space"]
    assert latency.definition(SPACE) == TABLE["space"]
    files.write_json(path, OWN_TABLE)
    table = latency.load(path, OWN, SIZE)
    assert table(every_path(OWN.allowed)).tolist() == [100 + 1.5 + 7.5 + 20, 100 + 1.5 + 0.5 + 20]
    assert table.extremes() == (122, 129)
    for keys in numbers(OWN_TABLE):
        files.write_json(path, replaced(OWN_TABLE, keys, None))
        with pytest.raises(InputError, match=f"has nothing at {'.'.join(map(str, keys))}; allowed"):
            latency.load(path, OWN, SIZE)
    files.write_json(path, replaced(OWN_TABLE, ("layers", 0, "identity"), {"8": 0}))
    with pytest.raises(InputError, match=r"has 'identity' at layers.0; allowed there: E2K3$"):
        latency.load(path, OWN, SIZE)


@pytest.mark.parametrize(
    ("table", "space", "message"),
    [
        (TABLE, OWN, "has nothing at space.layer_choices; allowed here: [['E2K3'], ['E2K3', 'iden"),
        (
            OWN_TABLE,
            SPACE,
            "has [['E2K3'], ['E2K3', 'identity']] at space.layer_choices; allowed here: nothing",
        ),
        (
            TABLE,
            replace(SPACE, style=Style(activation="relu")),
            "has nothing at space.activation; allowed here: 'relu'",
        ),
    ],
)
def test_a_table_of_other_choices_is_refused(table, space, message, path):
    files.write_json(path, table)
    with pytest.raises(InputError) as error:
        latency.load(path, space, SIZE)
    assert f"table {path} {message}" in str(error.value)


def test_a_byte_order_mark_is_passed_over(path):
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(TABLE).encode())
    assert latency.load(path, SPACE, SIZE).stem == TABLE["stem"]


def test_any_device_will_do_where_none_is_named(path):
    files.write_json(path, replaced(TABLE, ("device",), None))
    assert latency.load(path, SPACE, SIZE).stem == TABLE["stem"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read: No such file or directory"),
        (b"{", "is not JSON: Expecting"),
        (b"\xff\xfe", "is not JSON: "),
        (b'{"head": {"8": 1, "8": 2}}', "is not JSON: '8' is twice in one object"),
        (b"[" * 100_000, "is not JSON: maximum recursion depth"),
        (b"[1, 2]", "has nothing at format; allowed here: 'scarlet-jax latency table'"),
    ],
)
def test_what_is_no_table_is_refused(content, message, path):
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=f"table {path} {message}"):
        latency.load(path, SPACE, SIZE)


def test_a_table_is_written_whole_or_not_at_all(path, monkeypatch):
    files.write_json(path, TABLE)

    def stopped(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", stopped)
    with pytest.raises(KeyboardInterrupt):
        files.write_json(path, {"format": "half"})
    assert json.loads(path.read_text()) == TABLE


def test_a_measured_table_is_whole_and_equal_blocks_share_a_time(path):
    """Layers 1 and 2 differ in what may come before them alone."""
    space = make_space(widths=(12, 12, 12), strides=(2, 1, 1))
    files.write_json(path, latency.measure_table(space, SIZE, TIMING, check=3))
    record = json.loads(path.read_text())
    first, second, third = record["layers"]
    assert first.keys() == second.keys() == third.keys() == {"E2K3", "identity"}
    assert first["E2K3"].keys() == {"8"}
    assert second == third
    assert second["E2K3"].keys() == second["identity"].keys() == record["head"].keys()
    assert record["head"].keys() == {"8", "12"}
    assert record["spread"]["layers"][1].keys() == second.keys()
    assert set(first["identity"].values()) | set(second["identity"].values()) == {0.0}

    table = latency.load(path, space, SIZE, device=record["device"]["kind"])
    check = record["check"]
    assert len(check["architectures"]) == len(check["measured"]) == 3
    sums = table(np.array(check["architectures"], np.int32))
    np.testing.assert_allclose(check["sums"], sums)
    assert np.isfinite(sums).all()
    assert (sums > 0).all()


@pytest.fixture
def clock(monkeypatch):
    """A part takes 2 ms once and 5 ms twice, a whole network 30 ms."""
    milliseconds = {3: 2.0, 4: 5.0, 2: 30.0}  # by how many arguments a program takes

    def seconds(call, repeats):
        call()
        return np.full(repeats, milliseconds[len(call.args)] / 1e3)

    monkeypatch.setattr(benchmark, "seconds", seconds)


def test_a_measured_table_of_choices_of_their_own_is_whole(clock, path):
    space = make_space(
        widths=(12, 12, 12, 12), strides=(2, 1, 1, 1), layer_choices=(("E2K3",), ("E2K3",), (), ())
    )
    files.write_json(path, latency.measure_table(space, SIZE, TIMING, check=0))
    record = json.loads(path.read_text())
    assert [layer.keys() for layer in record["layers"]] == [
        {"E2K3"},
        {"E2K3"},
        {"E2K3", "identity"},
        {"E2K3", "identity"},
    ]
    widths = [layer["E2K3"].keys() for layer in record["layers"]]
    assert widths == [{"8"}, {"12"}, {"12"}, {"12"}]
    assert record["head"].keys() == {"12"}
    assert np.isfinite(latency.load(path, space, SIZE)(every_path(space.allowed))).all()


def test_equal_blocks_are_one_part_whatever_their_layers_may_take():
    fixed, free = (
        make_space(widths=(12,) * 3, strides=(2, 1, 1), skip="none", layer_choices=own)
        for own in ((("E2K3",),) * 3, ())
    )
    both = make_space(widths=(12,) * 3, strides=(2, 1, 1), layer_choices=(("E2K3",),) * 2 + ((),))
    second, third = plan(both, 8)["layers"][1:]
    assert second["E2K3"] == third["E2K3"]
    assert plan(fixed, 8) == plan(free, 8)


def test_a_time_is_what_a_block_adds_and_the_stem_has_the_rest(clock):
    space = make_space(widths=(12,), strides=(1,), skip="none")
    timing = replace(TIMING, dtype="bfloat16", batch_size=2)
    record = latency.measure_table(space, SIZE, timing, check=1)
    assert record["layers"] == [{"E2K3": {"8": pytest.approx(3)}}]
    assert record["head"] == {"12": pytest.approx(3)}
    assert record["stem"] == pytest.approx(30 - 3 - 3)
    assert record["spread"] == {"stem": 0, "layers": [{"E2K3": {"8": 0}}], "head": {"12": 0}}
    assert record["check"] == {
        "architectures": [[0]],
        "sums": [pytest.approx(30)],
        "measured": [pytest.approx(30)],
        "median_error": pytest.approx(0),
        "worst_error": pytest.approx(0),
        "kendall_tau": None,
    }
    assert record["dtype"] == "bfloat16"
    assert "check" not in latency.measure_table(space, SIZE, TIMING, check=0)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"batch_size": 0}, "batch_size is 0; allowed: 1 or more"),
        ({"repeats": 0}, "repeats is 0; allowed: 1 or more"),
        ({"dtype": "int8"}, "dtype 'int8'; allowed: float32, bfloat16"),
    ],
)
def test_impossible_timings(setting, message):
    with pytest.raises(InputError, match=message):
        replace(TIMING, **setting)


def test_a_check_is_looked_at_before_anything_is_compiled(compilations):
    with pytest.raises(InputError, match="check is -1; allowed: 0 or more"):
        latency.measure_table(SPACE, SIZE, TIMING, check=-1)
    assert compilations() == 0
