"""Spaces of other papers, written down by settings alone, against their published counts."""

import dataclasses
import json
from math import ceil
from pathlib import Path

import jax
import numpy as np
import pytest
from conftest import randomised
from test_supernet import assert_close

from scarlet_jax import cost, settings, subnet, supernet
from scarlet_jax import space as spaces
from scarlet_jax.configs import nas_bench_macro
from scarlet_jax.network_size import NetworkSize
from scarlet_jax.nn import functional
from scarlet_jax.run.setup import make_space
from scarlet_jax.space import scaled_width

TESTS = Path(__file__).parent
GOLDEN = json.loads((TESTS / "golden" / "nas_bench_macro.json").read_text())["networks"]
EVERYTHING = TESTS.parents[1] / "shared" / "reference" / "nas-bench-macro_cifar10.json"
CIFAR = NetworkSize(image_size=32, num_classes=10, channels=3)


@pytest.fixture(scope="module")
def macro():
    return make_space(settings.check(nas_bench_macro.get_config()))


def decoded(encodings):
    return np.array([list(map(int, encoding)) for encoding in encodings], np.int32)


def check_counts(space, published):
    counts = cost.costs(space, decoded(published), CIFAR)
    assert counts.tolist() == [[own["macs"], own["params"]] for own in published.values()]


def test_a_dozen_of_nas_bench_macro(macro):
    assert len(GOLDEN) == 12
    check_counts(macro, GOLDEN)


@pytest.mark.skipif(not EVERYTHING.exists(), reason="needs ../shared/reference")
def test_all_encodings_of_nas_bench_macro(macro):
    published = json.loads(EVERYTHING.read_text())
    assert len(published) == macro.num_architectures == 6561
    check_counts(
        macro,
        {key: {"macs": own["flops"], "params": own["params"]} for key, own in published.items()},
    )


@pytest.mark.parametrize("encoding", ["00000000", "01020102"])
def test_counts_are_those_of_the_networks_arrays(macro, encoding):
    network = subnet.create(macro, decoded([encoding])[0], num_classes=10)
    size = sum(leaf.size for leaf in jax.tree.leaves(network.params))
    assert size == cost.of_network(macro, decoded([encoding])[0], "identity", CIFAR).params


@pytest.fixture(scope="module")
def macro_supernet(macro):
    return randomised(supernet.create(macro, num_classes=10))


@pytest.mark.parametrize("selection", ["branch", "masked"])
def test_a_skip_that_downsamples_stays_in_the_derived_network(macro, macro_supernet, selection):
    """In layers that change width or stride a convolution, and nothing in others."""
    plan, params, stats = macro_supernet
    plan = dataclasses.replace(plan, selection=selection)
    images = np.random.default_rng(0).standard_normal((2, 9, 9, 3)).astype(np.float32)
    run = jax.jit(lambda path: supernet.apply(plan, params, stats, images, path)[0])
    for path in decoded(["00100201", "11010020"]):
        alone = subnet.extract(macro, macro_supernet, path)
        assert_close(run(path), functional.apply(*alone, images)[0], 1e-5)
        derived = subnet.create(macro, path, num_classes=10)
        assert jax.tree.map(np.shape, derived.params) == jax.tree.map(np.shape, alone.params)


def test_a_skip_that_downsamples_is_no_layer_though_it_has_its_layers_width(macro):
    assert macro.is_skip.tolist() == [True, False, False]
    assert not macro.keeps_width.any()
    kept = dataclasses.replace(macro, choices=(spaces.SKIP, *macro.choices[1:]))
    assert kept.is_skip.tolist() == kept.keeps_width.tolist() == [True, False, False]


# Published networks as stages: width, stride of the first layer, and the layers' blocks.
MOBILENET_V2 = (
    (24, 2, ["E6K3"] * 2),
    (32, 2, ["E6K3"] * 3),
    (64, 2, ["E6K3"] * 4),
    (96, 1, ["E6K3"] * 3),
    (160, 2, ["E6K3"] * 3),
    (320, 1, ["E6K3"]),
)
MNASNET_B1 = (
    (24, 2, ["E3K3"] * 3),
    (40, 2, ["E3K5"] * 3),
    (80, 2, ["E6K5"] * 3),
    (96, 1, ["E6K3"] * 2),
    (192, 2, ["E6K5"] * 4),
    (320, 1, ["E6K3"]),
)
# At 1.3 the multiplier would widen the head too, which MnasNet's does not do.
MNASNET_B1_WIDE = tuple((scaled_width(w, 1.3), *others) for w, *others in MNASNET_B1)
SINGLE_PATH = (
    (24, 2, ["E3K3"] * 3),
    (40, 2, ["E6K5", *["E3K3"] * 3]),
    (80, 2, ["E6K5", *["E3K3"] * 3]),
    (96, 1, ["E6K5", *["E3K5"] * 3]),
    (192, 2, ["E6K5"] * 4),
    (320, 1, ["E6K3"]),
)
# Where ProxylessNAS has none of its blocks there is an identity, of one width and stride 1.
PROXYLESS_CPU = (
    (24, 1, ["E1K3"]),
    (32, 2, ["E6K3", *["E3K3"] * 3]),
    (48, 2, ["E6K3", "E3K3", "E3K3", "E3K5"]),
    (88, 2, ["E6K3", "identity", "identity", "E3K3"]),
    (104, 1, ["E6K5", *["E3K3"] * 3]),
    (216, 2, ["E6K5", "E3K5", "E3K5", "E3K3"]),
    (360, 1, ["E6K5"]),
)
PROXYLESS_GPU = (
    (24, 1, ["E1K3"]),
    (32, 2, ["E3K5", *["identity"] * 3]),
    (56, 2, ["E3K7", "identity", "identity", "E3K3"]),
    (112, 2, ["E6K7", "identity", "identity", "E3K5"]),
    (128, 1, ["E6K5", "identity", "E3K3", "E3K5"]),
    (256, 2, ["E6K7", "E6K7", "E6K7", "E6K5"]),
    (432, 1, ["E6K7"]),
)
PROXYLESS_MOBILE = (
    (16, 1, ["E1K3"]),
    (32, 2, ["E3K5", "E3K3", "identity", "identity"]),
    (40, 2, ["E3K7", "E3K3", "E3K5", "E3K5"]),
    (80, 2, ["E6K7", *["E3K5"] * 3]),
    (96, 1, ["E6K5", *["E3K5"] * 3]),
    (192, 2, ["E6K7", "E6K7", "E3K7", "E3K7"]),
    (320, 1, ["E6K7"]),
)
PROXYLESS_MOBILE_WIDTHS = (24, 40, 56, 112, 136, 256, 448)  # of the one 1.4 times as wide
PROXYLESS_MOBILE_14 = tuple(
    (width, *others)
    for width, (_, *others) in zip(PROXYLESS_MOBILE_WIDTHS, PROXYLESS_MOBILE, strict=True)
)
EFFICIENTNET_LITE0 = (
    (16, 1, ["E1K3"]),
    (24, 2, ["E6K3"] * 2),
    (40, 2, ["E6K5"] * 2),
    (80, 2, ["E6K3"] * 3),
    (112, 1, ["E6K5"] * 3),
    (192, 2, ["E6K5"] * 4),
    (320, 1, ["E6K3"]),
)


def lite(width, depth):
    """A larger EfficientNet-Lite: all but stem, head, first and last stage have more layers."""
    return [
        (
            scaled_width(channels, width),
            stride,
            names if len(names) == 1 else names[:1] * ceil(len(names) * depth),
        )
        for channels, stride, names in EFFICIENTNET_LITE0
    ]


# Its first block expands to 96 of 32 channels, which its source writes as 4 times its output's 24.
EFFICIENTNET_EDGETPU_S = (
    (24, 1, ["F3K3"]),
    (32, 2, ["F8K3"] * 2),
    (48, 2, ["F8K3"] * 4),
    (96, 2, ["E8K5"] * 5),
    (144, 1, ["E8K5"] * 4),
    (192, 2, ["E8K5"] * 2),
)


def counts_of(stages, **settings):
    """MACs at 224 pixels and parameters, with 1000 classes, of a space of one network."""
    names = [name for _, _, blocks in stages for name in blocks]
    space = spaces.make_space(
        name="published",
        widths=[width for width, _, blocks in stages for _ in blocks],
        strides=[
            1 if number else stride for _, stride, blocks in stages for number in range(len(blocks))
        ],
        choices=tuple(dict.fromkeys(names)),
        layer_choices=[(name,) for name in names],
        **settings,
    )
    assert space.num_architectures == 1
    macs, params = cost.costs(space, spaces.parse(space, ",".join(names)))
    return int(macs), int(params)


# A first block of expansion 1 is a layer of E1K3 without a separable block, or that.
ALONE = {"separable_width": 0}


# Parameters, and thousandths of 10^9 MACs, from torchvision's mobilenetv2.py and mnasnet.py:
# `num_params` and `_ops` of their weights. A list of all its models (a weblog of Haozhe Sun's) and
# imgclsmob's pytorch/README.md have the same parameters.
@pytest.mark.parametrize(
    ("stages", "settings", "params", "macs"),
    [
        (MOBILENET_V2, {}, 3_504_872, 301),
        (((16, 1, ["E1K3"]), *MOBILENET_V2), ALONE, 3_504_872, 301),
        (MNASNET_B1, {"width_multiplier": 0.5}, 2_218_512, 104),
        (MNASNET_B1, {"width_multiplier": 0.75}, 3_170_208, 215),
        (MNASNET_B1, {}, 4_383_312, 314),
        (MNASNET_B1_WIDE, {"stem_width": 40, "separable_width": 24}, 6_282_256, 526),
    ],
)
def test_networks_of_torchvision(stages, settings, params, macs):
    own_macs, own_params = counts_of(stages, **settings)
    assert own_params == params
    assert round(own_macs / 1e6) == macs


# Parameters alone: MACs are given with batch norm and activations, or rounded to two digits.
# Single-Path NAS, ProxylessNAS: imgclsmob's pytorch/README.md and the asserts of its models, whose
# weights are the authors'. EfficientNet-Lite0 to 4: the authors' test of them in tensorflow/tpu,
# efficientnet/lite/efficientnet_lite_builder_test.py.
@pytest.mark.parametrize(
    ("stages", "settings", "params"),
    [
        (SINGLE_PATH, {}, 4_421_616),
        (PROXYLESS_CPU, {**ALONE, "stem_width": 40, "head_width": 1432}, 4_361_648),
        (PROXYLESS_GPU, {**ALONE, "stem_width": 40, "head_width": 1728}, 7_119_848),
        (PROXYLESS_MOBILE, ALONE, 4_080_512),
        (PROXYLESS_MOBILE_14, {**ALONE, "stem_width": 48, "head_width": 1792}, 6_857_568),
        (EFFICIENTNET_LITE0, ALONE, 4_652_008),
        (lite(1.0, 1.1), ALONE, 5_416_680),
        (lite(1.1, 1.2), ALONE, 6_092_072),
        (lite(1.2, 1.4), ALONE, 8_197_096),
        (lite(1.4, 1.8), ALONE, 13_006_568),
    ],
)
def test_parameters_of_searched_networks(stages, settings, params):
    assert counts_of(stages, **settings)[1] == params


def test_fused_blocks_of_efficientnet_edgetpu():
    """EfficientNet-EdgeTPU-S has 5.44 million parameters in timm's tables, which round."""
    assert round(counts_of(EFFICIENTNET_EDGETPU_S, **ALONE)[1] / 1e6, 2) == 5.44


def test_the_space_of_proxylessnas_has_a_fixed_block_and_no_skip_where_the_shape_changes():
    blocks = tuple(f"E{e}K{k}" for e in (3, 6) for k in (3, 5, 7))
    layers = [
        (width, 1 if number else stride, blocks if number == 0 else (*blocks, "identity"))
        for width, stride, names in PROXYLESS_MOBILE[1:]
        for number in range(len(names))
    ]
    widths, strides, own = zip((16, 1, ("E1K3",)), *layers, strict=True)
    space = spaces.make_space(
        name="proxylessnas",
        widths=widths,
        strides=strides,
        choices=("E1K3", *blocks, "identity"),
        layer_choices=own,
        separable_width=0,
        activation="relu6",
    )
    assert space.num_architectures == 6**6 * 7**15
    path = spaces.parse(space, ",".join(n for _, _, names in PROXYLESS_MOBILE for n in names))
    assert cost.costs(space, path)[1] == 4_080_512
