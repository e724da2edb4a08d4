import json
from dataclasses import replace

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from scarlet_jax import space as spaces
from scarlet_jax.errors import InputError
from scarlet_jax.space import S1, S2, Layer, Space

BLOCKS = ("E3K3", "E3K5")
# The first layer is fixed, and the second, of stride 2, has no skip.
OWN = spaces.make_space(
    name="own",
    widths=(8, 16, 16),
    strides=(1, 2, 1),
    expansions=(3,),
    kernels=(3, 5),
    layer_choices=(("E3K5",), BLOCKS, ()),
)
SPACES = st.sampled_from([S1, S2])


@st.composite
def space_and_architecture(draw):
    space = draw(st.sampled_from([S1, S2, OWN]))
    layers = [st.sampled_from(np.flatnonzero(own).tolist()) for own in space.allowed]
    return space, list(draw(st.tuples(*layers)))


def test_s1_is_numbered_as_the_specification_says():
    for index, choice in enumerate(S1.choices[:6]):
        assert index == 3 * (choice.expansion == 6) + (choice.kernel - 3) // 2
        assert not choice.se
    assert S1.num_choices == 7
    assert S1.choices[6].is_skip
    assert S1.depth == 19


def test_s2_is_s1_then_the_same_with_se_then_the_skip():
    assert S2.choices[:6] == S1.choices[:6]
    assert S2.choices[6:12] == tuple(replace(c, se=True) for c in S1.choices[:6])
    assert S2.num_choices == 13
    assert S2.choices[12].is_skip
    assert S2.layers == S1.layers


def test_total_stride_is_that_of_mobilenet():
    assert S2.stride == 32


@given(space_and_architecture())
def test_every_written_form_reads_back(case):
    space, architecture = case
    names = spaces.to_names(space, architecture)
    for text in (spaces.to_text(architecture), ",".join(names), " , ".join(names).lower()):
        np.testing.assert_array_equal(spaces.parse(space, text), architecture)
    in_front = {"architecture": architecture, "macs": 3.5, "picked": True, "blocks": names}
    blocks_alone = {"blocks": names}
    named = {"space": space.name, "architecture": architecture, "blocks": names}
    for record in (named, architecture, names, in_front, blocks_alone):
        text = json.dumps(record, indent=1)
        read = spaces.parse(space, f" {text}\n")
        assert read.dtype == np.int32
        np.testing.assert_array_equal(read, architecture)


TEXTS = st.one_of(
    st.text(),
    st.lists(st.one_of(st.text(max_size=3), st.sampled_from(["0", "-1", "E3K3", "٣", "1e3", "07"])))
    .map(lambda words: words * 19)
    .map(lambda words: ",".join(words[:19])),
    st.recursive(
        st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text()),
        lambda inner: st.one_of(
            st.lists(inner),
            st.lists(inner, min_size=19, max_size=19),
            st.dictionaries(st.sampled_from(["space", "architecture", "blocks", "front"]), inner),
        ),
    ).map(json.dumps),
)


@given(SPACES, TEXTS)
def test_any_text_is_an_architecture_or_one_line(space, text):
    try:
        architecture = spaces.parse(space, text)
    except InputError as error:
        message = str(error)
        assert message.isprintable()
        assert len(message) < 400
    else:
        np.testing.assert_array_equal(spaces.validate(space, architecture), architecture)
        assert spaces.label(text, architecture).isprintable()


@pytest.mark.parametrize(
    ("text", "name"),
    [("scarlet-a", "scarlet-a"), ("0,1", "0,1"), ("[0, 1]", "0,1"), (' {"a":\n1}', "0,1")],
)
def test_what_an_architecture_is_called(text, name):
    assert spaces.label(text, [0, 1]) == name


def test_layers_have_choices_of_their_own():
    assert spaces.choice_names(OWN) == ["E3K3", "E3K5", "identity"]
    assert [layer.choices for layer in OWN.layers] == [(1,), (0, 1), None]
    assert OWN.allowed.astype(int).tolist() == [[0, 1, 0], [1, 1, 0], [1, 1, 1]]
    assert OWN.num_architectures == 1 * 2 * 3
    assert S1.allowed.all()
    assert S1.num_architectures == 7**19
    named = {"name": "n", "widths": (8, 8), "strides": (1, 1), "kernels": (3,), "skip": "none"}
    space = spaces.make_space(**named, layer_choices=(("E6K3", "E3K3"), ["E6K3"]))
    assert space.layers == (Layer(8, 1), Layer(8, 1, (1,)))  # by index; all of them is None
    assert space.allowed.tolist() == [[True, True], [False, True]]


def test_a_layers_choices_are_ascending_indices():
    for own in ((), (1, 0), (0, 0), (2,), (-1,)):
        with pytest.raises(InputError, match=r"has choices \(.*\) at layer 0; allowed: .* 0 to 1"):
            Space(name="t", layers=(Layer(8, 1, own),), choices=S1.choices[:2])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0,1,2", r"choice 0 \(E3K3\) at layer 0, where space 'own' allows E3K5, or 1$"),
        (
            "E3K5,identity,identity",
            r"choice 2 \(identity\) at layer 1, where space 'own' allows E3K3, E3K5, or 0, 1$",
        ),
        ("all-identity", r"choice 2 \(identity\) at layer 0, where"),
        ("[1, 2, 0]", r"choice 2 \(identity\) at layer 1, where"),
        (
            "E3K5,E3K7,0",
            r"unknown choice 'E3K7' at layer 1; space 'own' allows E3K3, E3K5, or 0, 1$",
        ),
        ("1,0,x", r"'x' at layer 2; space 'own' allows E3K3, E3K5, identity, or 0 to 2$"),
        ("1,0,0,x", r"'x' at layer 3; space 'own' allows E3K3, E3K5, identity, or 0 to 2$"),
        ("1,0,3", r"choice 3 at layer 2; space 'own' allows 0 to 2$"),
    ],
)
def test_what_a_layer_does_not_allow_is_named(text, message):
    with pytest.raises(InputError, match=message):
        spaces.parse(OWN, text)


def test_presets_of_any_depth():
    tiny = spaces.make_space(name="t", widths=(8, 8), strides=(2, 1))
    assert spaces.to_names(tiny, spaces.parse(tiny, "all-identity")) == ["identity"] * 2
    assert spaces.to_names(tiny, spaces.parse(tiny, "ALL-K7E6")) == ["E6K7"] * 2


def test_uniform_sampling_covers_every_choice_evenly():
    population = spaces.sample(S2, np.random.default_rng(0), 20_000)
    assert population.shape == (20_000, 19)
    assert population.dtype == np.int32
    expected = 20_000 / 13
    for layer in population.T:
        counts = np.bincount(layer, minlength=13)
        # Five standard deviations of a binomial count.
        assert np.abs(counts - expected).max() < 5 * np.sqrt(expected)


def test_sampling_draws_each_layers_own_choices_evenly():
    population = spaces.sample(OWN, np.random.default_rng(0), 6000)
    np.testing.assert_array_equal(spaces.validate(OWN, population), population)
    paths, counts = np.unique(population, axis=0, return_counts=True)
    assert len(paths) == 6
    assert np.abs(counts - 1000).max() < 5 * np.sqrt(1000)


def test_width_multiplier_rounds_to_multiples_of_8_and_keeps_1():
    half = spaces.make_space(name="h", widths=(32, 40, 96), strides=(1, 1, 1), width_multiplier=0.5)
    # 40 / 2 = 20 rounds up to 24; MobileNetV2's rule.
    assert [layer.width for layer in half.layers] == [16, 24, 48]
    assert half.head_width == 1280
    assert half.stem_width == 16
    assert spaces.scaled_width(17, 1.0) == 17


@pytest.mark.parametrize(
    ("architecture", "message"),
    [
        ([0] * 18, r"shape \[18\]; space 's1' takes \[19\]"),
        ([0.5] * 19, "dtype float64"),
        ([0] * 18 + [7], "choice 7 at layer 18; space 's1' allows 0 to 6"),
        ([[0] * 18 + [-1]], "choice -1 at layer 18"),
        (np.zeros((1, 1, 19), int), r"shape \[1, 1, 19\]"),
    ],
)
def test_wrong_architectures_are_named(architecture, message):
    with pytest.raises(InputError, match=message):
        spaces.validate(S1, architecture)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("scarlet-d", "no architecture is called 'scarlet-d'; allowed: scarlet-a"),
        ("scarlet-a", "unknown choice 'E3K7_SE' at layer 3; space 's1' allows E3K3"),
        ("E3K3,E9K9", "unknown choice 'E9K9' at layer 1"),
        ("1,2,3", r"shape \[3\]"),
        ("1,,3", "unknown choice '' at layer 1; space 's1' allows E3K3, .*, identity, or 0 to 6$"),
        ("0," * 18 + "7", "choice 7 at layer 18; space 's1' allows 0 to 6"),
        ("1,-1", "unknown choice '-1' at layer 1"),
        ("1,+1", r"unknown choice '\+1' at layer 1"),
        ("1,٣", "unknown choice '٣' at layer 1"),
        ("1,３", "unknown choice '３' at layer 1"),
        ("1,²", "unknown choice '²' at layer 1"),
        ("1,1_0", "unknown choice '1_0' at layer 1"),
        ("1," + "9" * 5000, r"unknown choice '9{12}\.{3}9+' at layer 1"),
        ("", "no architecture is called ''"),
        ("a\nb", r"no architecture is called 'a\\nb'"),
    ],
)
def test_text_that_does_not_parse(text, message):
    with pytest.raises(InputError, match=message):
        spaces.parse(S1, text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1,", "not JSON"),
        ("[" * 100_000, "not JSON: maximum recursion depth"),
        (f"[{'9' * 5000}]", "not JSON: Exceeds the limit"),
        ('{"space": "s2", "architecture": []}', "space 's2'; expected 's1'"),
        ('{"architecture": 3}', "holds int; expected a list"),
        ('{"space": "s1", "front": []}', r"has \['space', 'front'\]; expected architecture or bl"),
        ("[1, 2.0]", "unknown choice 2.0 at layer 1"),
        ("[1, true]", "unknown choice True at layer 1"),
        ("[1, null]", "unknown choice None at layer 1"),
        ("[1, 2]", r"shape \[2\]; space 's1' takes \[19\]"),
        (
            json.dumps({"architecture": [6] * 19, "blocks": ["E3K3"] * 19}),
            "architecture 6,6,.* has other blocks than its JSON says",
        ),
    ],
)
def test_json_that_does_not_parse(text, message):
    with pytest.raises(InputError, match=message):
        spaces.parse(S1, text)


def test_json_must_hold_a_list():
    with pytest.raises(InputError, match="holds int; expected a list"):
        spaces.from_json(S1, "3")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"strides": (1,)}, "2 widths but 1 strides"),
        ({"layer_choices": ((),)}, "2 widths but layer_choices of 1 layers"),
        (
            {"layer_choices": ((), ("E3K3", "E9K9", "skip"))},
            "has layer_choices 'E9K9', 'skip' at layer 1; allowed there: E3K3, E3K5, .*, identity$",
        ),
        ({"strides": (1, 3)}, "stride 3; allowed: 1, 2"),
        ({"kernels": (4,)}, "E3K4; allowed: .* an odd kernel"),
        ({"choices": ("E3K3", "E3X3")}, "space 't' has choice 'E3X3'; allowed: such as E3K5_SE"),
        ({"choices": ("identity",), "skip": "none"}, "has choice 'identity'; allowed: such as"),
        ({"activation": "gelu"}, "activation 'gelu'; allowed: hard_swish, relu, relu6, silu"),
        (
            {"se": (True,), "expansions": (2,), "se_ratio": 99},
            "E2K3_SE on 8 channels; allowed for SE",
        ),
        ({"kernels": (3, 3)}, "has a choice twice"),
        ({"widths": (8, 0)}, "width below 1"),
        ({"expansions": (), "skip": "none"}, "at least one layer and one choice"),
        ({"width_multiplier": 0.0}, "width_multiplier is 0.0"),
    ],
)
def test_impossible_spaces(settings, message):
    with pytest.raises(InputError, match=message):
        spaces.make_space(**{"name": "t", "widths": (8, 8), "strides": (1, 1)} | settings)


def test_unknown_space():
    with pytest.raises(InputError, match="no space is called 's3'; allowed: s1, s2"):
        spaces.get_space("s3")
