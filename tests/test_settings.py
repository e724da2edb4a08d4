"""Settings: one schema of types, ranges and meanings, and one line for whatever it refuses."""

import functools
import importlib
import math
import sys
from pathlib import Path

import optax
import pytest
import small
from absl import flags
from hypothesis import given
from hypothesis import strategies as st
from ml_collections import config_flags

from scarlet_jax import settings
from scarlet_jax.configs import base
from scarlet_jax.differences import flatten
from scarlet_jax.errors import InputError
from scarlet_jax.run.setup import prepare

ROOT = Path(__file__).parent.parent
PRESETS = sorted(path.stem for path in (ROOT / "configs").glob("[!_]*.py"))
NAMES = sorted(flatten(base.get_config().to_dict()))


def change(config, name, value):
    """Sets a setting, whatever its type is."""
    *sections, last = name.split(".")
    section = functools.reduce(getattr, sections, config)
    with config.unlocked(), config.ignore_type():
        section[last] = value
    return config


@pytest.mark.parametrize("preset", PRESETS)
def test_every_configuration_is_allowed(preset):
    config = importlib.import_module(f"configs.{preset}").get_config()
    assert settings.check(config).to_dict() == config.to_dict()


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("seed", -1, "seed is -1; allowed: integers from 0 to 4,294,967,295"),
        ("seed", 2**64, "seed is 18446744073709551616"),
        ("seed", 1.0, "seed is 1.0"),
        ("seed", None, "seed is None"),
        ("space.expansions", (0,), r"space.expansions\[0\] is 0"),
        ("space.expansions", (2.5,), r"space.expansions\[0\] is 2.5; .*integers from 1"),
        ("space.kernels", (), r"space.kernels is \(\); allowed: a list of 1 or more"),
        ("space.kernels", (3, 4), r"space.kernels\[1\] is 4; allowed: odd numbers"),
        ("space.strides", (3,) * 19, r"space.strides\[0\] is 3; .*integers from 1 to 2"),
        (
            "space.layer_choices",
            ("E3K3",) * 19,
            r"layer_choices\[0\] is 'E3K3'; allowed: a list of",
        ),
        ("space.layer_choices", ((3,),) * 19, r"layer_choices\[0\]\[0\] is 3; allowed: .* text"),
        ("space.width_multiplier", math.inf, "space.width_multiplier is inf"),
        ("space.name", "a\nb", r"space.name is 'a\\nb'; allowed: printable text"),
        ("space.skip", True, "space.skip is True; allowed: identity, downsample, none"),
        ("model.dtype", "float16", "model.dtype is 'float16'; allowed: float32, bfloat16"),
        ("data.path", "ftp://host/x", "data.path is 'ftp://host/x'; .* a URL of no bucket"),
        ("data.crop_scale", 0.5, "data.crop_scale is 0.5; allowed: a list of 2"),
        ("data.crop_scale", (0.5, 0.4), "data.crop_scale is .*; allowed: the least first"),
        ("data.mean", (0.5,), r"data.mean is \(0.5,\); .* each of the 3 channels"),
        ("data.mean", ("a", 0.5, 0.5), r"data.mean\[0\] is 'a'"),
        ("data.std", (0.0, 0.2, 0.2), r"data.std\[0\] is 0.0"),
        ("data.channels", 2, "data.channels is 2; allowed: 1, 3"),
        ("data.validation", 1.0, "data.validation is 1.0; allowed: numbers from 0 to under 1"),
        ("data.jitter", math.nan, "data.jitter is nan"),
        ("data.workers", 10**9, "data.workers is 1000000000; allowed: integers from 0 to 1,024"),
        ("supernet.steps", 0, "supernet.steps is 0; allowed: integers from 1"),
        ("supernet.eval_paths", 0, "supernet.eval_paths is 0"),
        ("supernet.optimizer", "adam", "supernet.optimizer is 'adam'; allowed: a section"),
        (
            "supernet.optimizer.name",
            "a",
            "optimizer.name is 'a'; allowed, of Optax: .* lion, .*muon",
        ),
        ("subnet.optimizer.name", "momo", r"subnet.optimizer.name is 'momo'; .*\('?.*'value'\); "),
        ("supernet.optimizer.kwargs", 3, "supernet.optimizer.kwargs is 3"),
        (
            "supernet.optimizer.kwargs",
            {"beta": 1.0},
            "kwargs is {'beta': 1.0}; sgd does not take 'beta'; allowed: momentum, nesterov, acc",
        ),
        (
            "subnet.optimizer",
            {"name": "lion", "kwargs": {"weight_decay": 0.1}},
            "subnet.optimizer.kwargs is {.*}; lion has other settings for 'weight_decay'; .*: b1,",
        ),
        ("supernet.optimizer.kwargs.momentum", math.nan, "kwargs is {'momentum': nan}; .*numbers"),
        ("supernet.optimizer.kwargs", {"momentum": 2**70}, r"kwargs is .*\(integers of 32 bits\)"),
        ("supernet.shared_gradient", "max", "shared_gradient is 'max'; allowed: mean, sum"),
        ("supernet.warmup_steps", 50_000, "supernet.warmup_steps is 50000; .* steps=50000"),
        ("supernet.step_milestones", (2.0,), r"supernet.step_milestones\[0\] is 2.0"),
        ("supernet.statistics_rate", 0.0, "statistics_rate is 0.0; allowed: numbers from above 0"),
        ("subnet.dropout", math.nan, "subnet.dropout is nan"),
        ("subnet.learning_rate", -1.0, "subnet.learning_rate is -1.0"),
        ("search.batch_size", -8, "search.batch_size is -8; allowed: integers from 1"),
        ("search.generations", 10**40, "search.generations is 1000"),
        ("search.statistics", "mean", "statistics is 'mean'; allowed: running, batch, recal"),
        ("search.pick_min", math.nan, "search.pick_min is nan; allowed: a number, or inf"),
        ("search.objectives.macs.max", math.nan, "search.objectives.macs.max is nan"),
        (
            "search.objectives",
            {"flops": {}},
            "search.objectives.flops has no table; allowed without: accuracy, macs, params, lat",
        ),
        (
            "search.objectives",
            {"other": {"table": "t.json", "weight": 2.0}},
            "search.objectives.other.weight is 2.0; allowed: numbers from 0 to 1",
        ),
        ("search.objectives", {"other": 3}, "search.objectives.other is 3; allowed: a section"),
        ("search", 3, "search is 3; allowed: a section"),
    ],
)
def test_what_is_not_allowed_is_named_in_one_line(name, value, message):
    with pytest.raises(InputError, match=message) as caught:
        settings.check(change(base.get_config(), name, value))
    assert "\n" not in str(caught.value)


def test_all_that_is_wrong_is_named_at_once():
    config = change(change(base.get_config(), "seed", -1), "search.picks", 0)
    with pytest.raises(InputError, match=r"seed is -1; .*; search.picks is 0; "):
        settings.check(config)


def test_a_home_folder_is_found(monkeypatch):
    monkeypatch.setenv("HOME", "/home/someone")
    config = change(base.get_config(), "data.path", "~/images")
    assert settings.check(config).data.path == "/home/someone/images"
    with pytest.raises(InputError, match=r"data.path is '~nobody-at-all/x'; "):
        settings.check(change(base.get_config(), "data.path", "~nobody-at-all/x"))


def test_lists_do_for_tuples_and_integers_for_numbers():
    config = change(base.get_config(), "space.kernels", [3, 5])
    config = change(config, "supernet.learning_rate", 1)
    checked = settings.check(config)
    assert checked.space.kernels == (3, 5)
    assert checked.supernet.learning_rate == 1.0


@pytest.mark.parametrize(
    ("name", "kwargs"),
    [("sgd", {"momentum": 0.9}), ("rmsprop", {"momentum": 0.9}), ("adamw", {}), ("lion", {})],
)
def test_the_default_momentum_holds_where_an_optimizer_takes_one(name, kwargs):
    config = change(base.get_config(), "supernet.optimizer.name", name)
    assert settings.check(config).supernet.optimizer.kwargs.to_dict() == kwargs


def test_what_is_not_the_default_is_not_dropped():
    config = change(base.get_config(), "supernet.optimizer.name", "adamw")
    with pytest.raises(InputError, match="adamw does not take 'momentum'"):
        settings.check(change(config, "supernet.optimizer.kwargs.momentum", 0.8))


def test_arguments_without_a_default_are_asked_for(monkeypatch):
    def halved(learning_rate, share, offset=0.0):
        return optax.sgd(learning_rate * share + offset)

    monkeypatch.setattr(optax, "halved", halved, raising=False)
    config = change(base.get_config(), "supernet.optimizer.name", "halved")
    with pytest.raises(InputError, match="halved needs share; allowed: share, offset"):
        settings.check(change(config, "supernet.optimizer.kwargs", {"offset": 1.0}))
    settings.check(change(config, "supernet.optimizer.kwargs", {"share": 0.5}))


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["name=adamw"], ("adamw", {})),
        (["kwargs.momentum=0.8"], ("sgd", {"momentum": 0.8})),
        (["name=lion", "kwargs={'b1': 0.8}"], ("lion", {"b1": 0.8})),
        (["kwargs={}"], ("sgd", {})),
        (
            ["kwargs={'momentum': 0.8, 'nesterov': True}"],
            ("sgd", {"momentum": 0.8, "nesterov": True}),
        ),
    ],
)
@pytest.mark.filterwarnings("ignore:the load_module")  # ml_collections'
def test_optimizers_from_a_command_line(monkeypatch, arguments, expected):
    given = [f"--config.supernet.optimizer.{argument}" for argument in arguments]
    monkeypatch.setattr(sys, "argv", ["train", f"--config={ROOT / 'configs/base.py'}", *given])
    flag_values = flags.FlagValues()
    config_flags.DEFINE_config_file("config", flag_values=flag_values)
    flag_values(sys.argv)
    optimizer = settings.check(flag_values.config).supernet.optimizer
    assert (optimizer.name, optimizer.kwargs.to_dict()) == expected


def test_a_section_alone_has_defaults():
    section = settings.check_section(settings.Search, {"picks": 3}, "search")
    assert (section.picks, section.population) == (3, 0)


NUMBERS = st.one_of(
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.sampled_from([0, 1, 2, 3, 8, 0.5, -1, 1e300, 2**31, 10**300, True, None]),
)
VALUES = st.one_of(
    NUMBERS,
    st.text(max_size=5),
    st.lists(NUMBERS, max_size=4),
    st.lists(NUMBERS, max_size=4).map(tuple),
    st.sampled_from(["none", "max", "~", "/", "..", "\0", "a\nb", "mnist", b"bytes", {}, {"a": 1}]),
)


@given(st.sampled_from(NAMES), VALUES)
def test_any_value_of_any_setting_is_taken_or_refused_in_one_line(image_folder, name, value):
    config = change(small.config(image_folder), name, value)
    if isinstance(value, int) and name in ("search.population", "search.max_tries"):
        return  # allowed ones take long
    refused = ""
    try:
        prepare(config, image_folder / "run")
    except (InputError, OSError) as error:
        refused = str(error)
    assert "\n" not in refused
    assert not (image_folder / "run").exists()
