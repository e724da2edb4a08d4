"""Settings are checked before any work, and the bounds against exact extremes."""

import itertools

import numpy as np
import pytest

from configs import base
from scarlet_jax import cost, search
from scarlet_jax import space as spaces
from scarlet_jax.errors import InputError
from scarlet_jax.search.problem import cost_range

NETWORK = {"image_size": 16, "num_classes": 4, "channels": 3}
TINY = spaces.make_space(
    name="tiny", widths=(8, 8, 16, 16), strides=(1, 2, 1, 1), expansions=(2,), kernels=(3, 5)
)


def problem(space=TINY, **settings):
    config = base.get_config().search
    config.update(settings)
    return search.make_problem(space, config, **NETWORK)


def test_the_defaults_are_a_problem():
    defaults = search.make_problem(
        spaces.S2, base.get_config().search, image_size=224, num_classes=1000, channels=3
    )
    assert defaults.population == 70
    assert defaults.objectives == ("accuracy", "macs")
    assert defaults.macs_band == (23_156_736, 500_000_000)  # the least is supplementary table 2's


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"population": 1}, r"population is 1; allowed: an integer of 2 or more"),
        ({"generations": -1}, r"generations is -1"),
        ({"picks": 0}, r"picks is 0"),
        ({"max_tries": 0}, r"max_tries is 0"),
        ({"mutation_ratio": 1.2}, r"mutation_ratio is 1.2; allowed: 0 to 1"),
        ({"p_evaluated": -0.1}, r"p_evaluated is -0.1"),
        ({"accuracy_min": 76.0}, r"accuracy_min is 76.0; allowed: 0 to 1"),
        ({"p_random": 0.5}, r"p_random \+ p_reinforced \+ p_prior is 1.3 \(0.5 \+ 0.65 \+ 0.15\)"),
        ({"p_random": float("nan")}, r"p_random is nan"),
        ({"objectives": ("accuracy", "flops")}, r"'flops'.*allowed: .*accuracy, macs, params"),
        ({"objectives": ("macs", "macs")}, r"each once"),
        ({"objectives": (), "weights": ()}, r"one or more of"),
        ({"weights": (1.0,)}, r"weights has 1 values for 2 objectives"),
        ({"weights": (1.5, -0.5)}, r"weights is \(1.5, -0.5\)"),
        ({"weights": (0.0, 0.0)}, r"not all of them 0"),
        ({"weights": (1.0, float("inf"))}, r"weights is \(1.0, inf\)"),
        ({"macs_min": 200, "macs_max": 100}, r"macs_min is 200 but macs_max 100"),
    ],
)
def test_wrong_settings_are_named(settings, message):
    with pytest.raises(InputError, match=message):
        problem(**settings)


def test_absent_settings_and_a_space_without_choices_are_refused():
    with pytest.raises(InputError, match="search settings lack population, generations"):
        search.make_problem(TINY, {"picks": 5}, **NETWORK)
    single = spaces.make_space(
        name="single", widths=(8,), strides=(1,), expansions=(2,), kernels=(3,), skip=False
    )
    with pytest.raises(InputError, match="'single' has one choice a layer"):
        problem(single)


@pytest.mark.parametrize("skip", [True, False])
def test_cost_range_equals_enumeration(skip):
    space = spaces.make_space(
        name="all",
        widths=(8, 24, 8, 16),
        strides=(1, 2, 1, 1),
        expansions=(2,),
        kernels=(3, 5),
        skip=skip,
    )
    everything = np.array(list(itertools.product(range(space.num_choices), repeat=space.depth)))
    counts = cost.costs(space, everything, **NETWORK)
    expected = tuple(zip(counts.min(axis=0), counts.max(axis=0), strict=True))
    assert cost_range(space, *NETWORK.values()) == expected


def test_bounds_that_no_architecture_meets_name_the_nearest_possible_value():
    (macs_low, macs_high), (params_low, _) = problem().cost_range
    with pytest.raises(InputError, match=f"macs_max is {macs_low - 1:,}.*value is {macs_low:,}"):
        problem(macs_max=macs_low - 1)
    with pytest.raises(InputError, match=f"macs_min is {macs_high + 1:,}.*value is {macs_high:,}"):
        problem(macs_min=macs_high + 1)
    with pytest.raises(InputError, match=f"params_max is 1,.*value is {params_low:,}"):
        problem(params_max=1)
    assert problem(macs_min=macs_low, macs_max=macs_low).macs_band == (macs_low, macs_low)
    assert problem(macs_min=macs_high).macs_band == (macs_high, macs_high)


@pytest.mark.parametrize(
    ("objectives", "expected"),
    [
        (("accuracy", "macs"), [0.7, 0.3]),
        (("macs", "accuracy", "params"), [0.15, 0.7, 0.15]),
        (("accuracy",), [1.0]),
        (("macs", "params"), [0.5, 0.5]),
    ],
)
def test_reinforcement_is_guided_as_table_1_says(objectives, expected):
    weights = (1.0,) * len(objectives)
    guides = problem(objectives=objectives, weights=weights).guide_probabilities
    np.testing.assert_allclose(guides, expected)
