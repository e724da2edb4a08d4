"""Spaces of other papers, written down by settings alone, against their published counts."""

import dataclasses
import json
from pathlib import Path

import jax
import numpy as np
import pytest
from test_supernet import assert_close

from configs import nas_bench_macro
from scarlet_jax import cost, settings, subnet, supernet
from scarlet_jax import space as spaces
from scarlet_jax.network_size import NetworkSize
from scarlet_jax.nn import functional
from scarlet_jax.run.setup import make_space

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


@pytest.mark.parametrize("selection", ["branch", "masked"])
def test_a_skip_that_downsamples_stays_in_the_derived_network(selection):
    """In layers that change width or stride a convolution, and nothing in others."""
    space = spaces.make_space(
        name="m",
        widths=(12, 12, 16),
        strides=(2, 1, 1),
        choices=("identity", "E3K3"),
        skip="downsample",
        stem_width=8,
        separable_width=0,
        head_width=16,
        activation="relu",
    )
    network = supernet.create(space, num_classes=5)
    plan = dataclasses.replace(network.graphdef, selection=selection)
    images = np.random.default_rng(0).standard_normal((2, 9, 9, 3)).astype(np.float32)
    run = jax.jit(lambda path: supernet.apply(plan, network.params, network.stats, images, path)[0])
    for path in ([0, 0, 0], [1, 0, 0], [0, 1, 1]):
        alone = subnet.extract(space, network, path)
        assert_close(run(np.array(path, np.int32)), functional.apply(*alone, images)[0], 1e-5)
        derived = subnet.create(space, path, num_classes=5)
        assert jax.tree.map(np.shape, derived.params) == jax.tree.map(np.shape, alone.params)


# MobileNetV2 as torchvision has it: 3,504,872 parameters and 300.77M MACs at 224 pixels. Its first
# block, of expansion 1, is the separable block here.
MOBILENET_V2 = ((24, 2, 2), (32, 3, 2), (64, 4, 2), (96, 3, 1), (160, 3, 2), (320, 1, 1))


def test_mobilenet_v2():
    space = spaces.make_space(
        name="mobilenet_v2",
        widths=[width for width, count, _ in MOBILENET_V2 for _ in range(count)],
        strides=[
            stride if first else 1
            for _, count, stride in MOBILENET_V2
            for first in [True] + [False] * (count - 1)
        ],
        choices=("E6K3",),
        skip="none",
        activation="relu6",
    )
    macs, params = cost.costs(space, np.zeros(space.depth, np.int32))
    assert params == 3_504_872
    assert round(macs / 1e6, 2) == 300.77
    # The same with that block as a layer of one choice.
    explicit = spaces.make_space(
        name="explicit",
        widths=(16, *(layer.width for layer in space.layers)),
        strides=(1, *(layer.stride for layer in space.layers)),
        choices=("E1K3", "E6K3"),
        layer_choices=(("E1K3",), *[("E6K3",)] * space.depth),
        skip="none",
        separable_width=0,
        activation="relu6",
    )
    path = [0] + [1] * space.depth
    assert cost.costs(explicit, np.array(path, np.int32)).tolist() == [macs, params]


def test_proxylessnas_has_a_fixed_block_and_no_skip_where_the_shape_changes():
    """21 layers behind a fixed first block; a phone's table of it is complete."""
    blocks = tuple(f"E{e}K{k}" for e in (3, 6) for k in (3, 5, 7))
    stages = ((24, 4, 2), (40, 4, 2), (80, 4, 2), (96, 4, 1), (192, 4, 2), (320, 1, 1))
    own = [blocks if first else () for _, n, _ in stages for first in [True] + [False] * (n - 1)]
    space = spaces.make_space(
        name="proxylessnas",
        widths=(16, *(width for width, count, _ in stages for _ in range(count))),
        strides=(
            1,
            *(s if first else 1 for _, n, s in stages for first in [True] + [False] * (n - 1)),
        ),
        choices=("E1K3", *blocks, "identity"),
        layer_choices=(("E1K3",), *(o if o else (*blocks, "identity") for o in own)),
        separable_width=0,
        activation="relu6",
    )
    assert space.num_architectures == 6**6 * 7**15
    assert (space.allowed[:, 0] == (np.arange(22) == 0)).all()
