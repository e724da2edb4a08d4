"""A supernet's layer by branches and by masks, against the plain block alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from scarlet_jax import blocks, supernet
from scarlet_jax import space as spaces
from scarlet_jax.blocks import Shape, Style
from scarlet_jax.nn import functional
from scarlet_jax.nn.convolution import native_depthwise
from scarlet_jax.nn.layers import BatchStatistics
from scarlet_jax.space import S1, S2
from scarlet_jax.supernet import STABILIZERS, paths, stage
from scarlet_jax.supernet.select import mixed_block

C_IN = 4
BATCH = BatchStatistics(rate=0.5)
STYLE = Style()
# S1's and S2's blocks, and every other kind.
CHOICES = (
    *S2.choices[:-1],
    STABILIZERS["els"],
    *(blocks.read(name) for name in ("F2K3", "F3K5", "E1K3", "E1K5_SE")),
    blocks.read("identity", "downsample"),
)
SHAPES = [
    (7, Shape(C_IN, C_IN, 1)),
    (6, Shape(C_IN, 6, 1)),
    (7, Shape(C_IN, 6, 2)),
    (8, Shape(C_IN, C_IN, 2)),
]
SELECTIONS = ("branch", "masked")


def random_stage(choices, shape, seed=0):
    """With statistics, scales and biases that are not trivial; zeros around all arrays."""
    rng = np.random.default_rng(seed)
    made, params, stats = stage.create(choices, shape, STYLE, range(1), rng)

    def noisy(leaf):
        return leaf + np.where(leaf == 0, 0, rng.uniform(0.1, 0.4, leaf.shape)).astype(np.float32)

    return made, jax.tree.map(noisy, params), jax.tree.map(noisy, stats)


def weighted(y, cotangent):
    return (y.astype(jnp.float32) * cotangent).sum()


def gradient_of_layer(made, selection, dtype, cotangent, batch=BATCH):
    """`(params, stats, x, choice) -> ((loss, (y, stats)), (gradients, x's gradient))`."""

    def loss(params, x, stats, choice):
        path = choice[None]
        own, own_stats = (
            jax.tree.map(
                lambda leaf: leaf[0], paths.gather([made], {"stages": [t]}, path)["stages"][0]
            )
            for t in (params, stats)
        )
        y, after = mixed_block(made, selection, own, own_stats, x.astype(dtype), choice, batch)
        assert y.dtype == dtype
        if batch is not None:
            after = {"stages": [jax.tree.map(lambda leaf: leaf[None], after)]}
            after = paths.scatter([made], {"stages": [stats]}, after, path)["stages"][0]
        return weighted(y, cotangent), (y, after)

    gradient = jax.value_and_grad(loss, argnums=(0, 1), has_aux=True)
    return jax.jit(lambda params, stats, x, choice: gradient(params, x, stats, choice))


def own_arrays(tree, made, number, like):
    """The choice's arrays out of a stage's, in the shapes of a network alone."""
    flat = {
        path: (leaf, bundle.index[number])
        for bundle in made.bundles
        if bundle.index[number] >= 0
        for path, leaf in functional.flatten(tree[bundle.name]).items()
    }

    def crop(path, shape):
        leaf, index = flat[path]
        array = np.asarray(leaf)[0, index]
        for axis, size in enumerate(shape):
            is_tap = len(shape) > 2 and axis < 2
            start = (array.shape[axis] - size) // 2 if is_tap else 0
            array = np.take(array, range(start, start + size), axis)
        return jnp.asarray(array)

    return functional.unflatten(
        {path: crop(path, leaf.shape) for path, leaf in functional.flatten(like).items()}
    )


def plain_gradient(monkeypatch, network, dtype, cotangent, x, batch=BATCH):
    def loss(params, x):
        y, after = functional.apply(network.graphdef, params, network.stats, x.astype(dtype), batch)
        return weighted(y, cotangent), (y, after)

    def plain_depthwise(x, kernel, stride, taps):
        assert taps is None  # a block alone has no taps of another's
        return native_depthwise(x, kernel, stride)

    with monkeypatch.context() as patched:
        patched.setattr("scarlet_jax.nn.layers.depthwise", plain_depthwise)
        gradient = jax.value_and_grad(loss, argnums=(0, 1), has_aux=True)
        return jax.jit(gradient)(network.params, x)


def alone(choice, shape, made, params, stats, number):
    """The block with its weights out of the stage's."""
    network = functional.split(choice.build(shape, STYLE, np.random.default_rng(1)))
    return network._replace(
        params=own_arrays(params, made, number, network.params),
        stats=own_arrays(stats, made, number, network.stats),
    )


def error(ours, theirs):
    ours, theirs = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
    return np.linalg.norm(ours - theirs) / max(np.linalg.norm(theirs), 1e-30)


def errors(found, expected):
    return jax.tree.leaves(jax.tree.map(error, found, expected))


def make_data(size, shape, seed=0):
    rng, out = np.random.default_rng(seed), shape.side(size)
    return tuple(
        rng.standard_normal(dimensions).astype(np.float32)
        for dimensions in ((3, size, size, shape.c_in), (3, out, out, shape.c_out))
    )


def total(tree):
    return sum(float(np.abs(leaf).sum()) for leaf in jax.tree.leaves(tree))


@pytest.mark.parametrize(("size", "shape"), SHAPES)
def test_values_and_gradients_of_every_choice(size, shape, monkeypatch):
    """Of all choices of S1 and S2 and all kinds: by branches, by masks, and alone."""
    made, params, stats = random_stage(CHOICES, shape)
    x, cotangent = make_data(size, shape)
    selections = [
        gradient_of_layer(made, selection, "float32", cotangent) for selection in SELECTIONS
    ]
    for number, choice in enumerate(CHOICES):
        network = alone(choice, shape, made, params, stats, number)
        (loss, (y, after)), (gradients, pulled) = plain_gradient(
            monkeypatch, network, "float32", cotangent, x
        )
        for selected in selections:
            (own_loss, (own_y, own_after)), (own_gradients, own_pulled) = selected(
                params, stats, x, np.int32(number)
            )
            found = (
                own_arrays(own_gradients, made, number, gradients),
                own_arrays(own_after, made, number, after),
            )
            ours = (own_loss, own_y, own_pulled, *found)
            assert max(errors(ours, (loss, y, pulled, gradients, after))) < 1e-4, choice.name
            # Other choices get nothing, nor does what pads this one.
            assert total(own_gradients) == pytest.approx(total(gradients), rel=1e-4)
            moved = jax.tree.map(np.subtract, own_after, stats)
            expected = jax.tree.map(np.subtract, after, network.stats)
            assert total(moved) == pytest.approx(total(expected), rel=1e-3, abs=1e-6)


def test_bfloat16_is_as_near_to_float32_as_the_plain_block(monkeypatch):
    shape = Shape(C_IN, 6, 2)
    made, params, stats = random_stage(CHOICES, shape)
    x, cotangent = make_data(8, shape)
    selections = [
        gradient_of_layer(made, selection, "bfloat16", cotangent) for selection in SELECTIONS
    ]
    for number in (0, 6, len(S2.choices)):
        network = alone(CHOICES[number], shape, made, params, stats, number)
        exact, plain = (
            plain_gradient(monkeypatch, network, dtype, cotangent, x)
            for dtype in ("float32", "bfloat16")
        )
        for selected in selections:
            (loss, (y, after)), (gradients, pulled) = selected(params, stats, x, np.int32(number))
            found = (
                (loss, (y, own_arrays(after, made, number, exact[0][1][1]))),
                (own_arrays(gradients, made, number, exact[1][0]), pulled),
            )
            assert max(errors(found, exact)) < 1.5 * max(errors(plain, exact))


@pytest.mark.parametrize("selection", SELECTIONS)
def test_running_statistics_have_gradients_too(selection, monkeypatch):
    shape, number = Shape(C_IN, C_IN, 1), 7
    made, params, stats = random_stage(CHOICES, shape)
    x, cotangent = make_data(7, shape)
    network = alone(CHOICES[number], shape, made, params, stats, number)
    (loss, (y, _)), (gradients, pulled) = plain_gradient(
        monkeypatch, network, "float32", cotangent, x, None
    )
    (own_loss, (own_y, own_after)), (own_gradients, own_pulled) = gradient_of_layer(
        made, selection, "float32", cotangent, None
    )(params, stats, x, np.int32(number))
    ours = own_loss, own_y, own_pulled, own_arrays(own_gradients, made, number, gradients)
    assert max(errors(ours, (loss, y, pulled, gradients))) < 1e-4
    assert own_after is None  # the statistics stay


def test_a_space_of_less_has_less():
    """S1 has no squeeze-and-excitation, and two branches beside the skip."""
    made, params, _ = random_stage((*S1.choices[:-1], STABILIZERS["none"]), Shape(8, 8, 1))
    assert list(params) == ["inverted_bottleneck"]  # a skip that pads has no arrays
    assert [branch.choices for branch in made.groups] == [(0, 1, 2, 3, 4, 5), (6,)]
    assert [branch.choices for branch in made.branches] == [(0, 1, 2), (3, 4, 5), (6,)]
    assert params["inverted_bottleneck"]["depthwise"]["kernel"].shape == (1, 6, 7, 7, 48)


def products_and_convolutions(selection, platform):
    """In the program of a gradient, lowered for a platform."""
    choices = ("E2K3", "E3K5_SE", "identity")
    space = spaces.make_space(name="one layer", widths=(8,), strides=(1,), choices=choices)
    plan, params, stats = supernet.create(space, num_classes=2, selection=selection)

    @jax.jit
    @jax.grad
    def gradient(params, images, path):
        return supernet.apply(plan, params, stats, images, path, BATCH)[0].sum()

    images, path = jnp.zeros((2, 8, 8, 3)), jnp.zeros(space.depth, jnp.int32)
    text = gradient.trace(params, images, path).lower(lowering_platforms=(platform,)).as_text()
    return text.count("stablehlo.dot_general"), text.count("stablehlo.convolution")


def test_auto_is_what_suits_the_platform():
    """Branches for CPUs, masks for others, and nothing of the other; see `compile_check` for
    control flow in whole programs."""
    for platform, own in (("cpu", "branch"), ("tpu", "masked"), ("cuda", "masked")):
        counts = {name: products_and_convolutions(name, platform) for name in ("auto", *SELECTIONS)}
        assert counts["auto"] == counts[own]
        assert counts["branch"] > counts["masked"]


def test_weights_have_axes_of_layers_and_choices_in_front():
    """Each block's arrays by name, as it was built; zeros around, taps in the middle."""
    choices = tuple(blocks.read(name) for name in ("E2K3", "E3K5_SE", "F2K3"))
    shape, layers = Shape(4, 4, 1), range(5, 7)
    _, params, stats = stage.create(choices, shape, STYLE, layers, np.random.default_rng(0))
    rng = np.random.default_rng(0)
    built = [[functional.split(c.build(shape, STYLE, rng)) for _ in layers] for c in choices[:2]]
    for number, networks in enumerate(built):
        for layer, network in enumerate(networks):
            flat = functional.flatten(network.params)
            kernel, size = flat["depthwise", "kernel"], choices[number].kernel
            taps = params["inverted_bottleneck"]["depthwise"]["kernel"][layer, number]
            border = (5 - size) // 2
            np.testing.assert_array_equal(
                np.pad(kernel, ((border,) * 2, (border,) * 2, (0, 12 - kernel.shape[-1]))), taps
            )
            expand = flat["expand", "kernel"]
            np.testing.assert_array_equal(
                np.pad(expand, ((0, 0), (0, 12 - expand.shape[-1]))),
                params["inverted_bottleneck"]["expand"]["kernel"][layer, number],
            )
    se = params["inverted_bottleneck_se"]["se"]["squeeze"]["kernel"]
    assert se.shape == (2, 1, 12, 3)
    np.testing.assert_array_equal(se[1, 0], built[1][1].params["se"]["squeeze"]["kernel"])
    assert params["fused"]["expand"]["kernel"].shape == (2, 1, 3, 3, 4, 8)
    assert stats["inverted_bottleneck"]["bn1"]["mean"].shape == (2, 2, 12)


def test_a_path_is_one_index_a_layer():
    """Against NumPy; what the path has no block of stays."""
    choices = tuple(blocks.read(name) for name in ("E2K3", "E2K3_SE", "F2K3"))
    rng = np.random.default_rng(0)
    made, params, _ = stage.create(choices, Shape(4, 4, 1), STYLE, range(1, 4), rng)
    tree = {"stem": {"kernel": np.float32(1)}, "stages": [params]}
    path = np.array([9, 1, 2, 1], np.int32)  # layer 0 is of another stage
    own = jax.jit(lambda tree, path: paths.gather([made], tree, path))(tree, path)
    assert own["stem"] is not None
    expand = params["inverted_bottleneck"]["expand"]["kernel"]
    found = own["stages"][0]["inverted_bottleneck"]["expand"]["kernel"]
    np.testing.assert_array_equal(found[::2], expand[::2, 1])
    se = params["inverted_bottleneck_se"]["se"]["excite"]["bias"]
    new = jax.tree.map(lambda leaf: leaf + 1, own)
    after = jax.jit(lambda *args: paths.scatter([made], *args))(tree, new, path)
    assert after["stem"]["kernel"] == 2
    moved = jax.tree.map(np.subtract, after["stages"][0], params)
    by_block = {
        name: np.stack(
            [np.any(leaf, axis=tuple(range(2, leaf.ndim))) for leaf in jax.tree.leaves(t)]
        )
        for name, t in moved.items()
    }
    assert by_block["inverted_bottleneck"].all(0).tolist() == [
        [False, True],
        [False] * 2,
        [False, True],
    ]
    assert by_block["inverted_bottleneck"].any(0).tolist() == [
        [False, True],
        [False] * 2,
        [False, True],
    ]
    assert by_block["fused"].any(0).tolist() == [[False], [True], [False]]
    assert by_block["inverted_bottleneck_se"].any(0).tolist() == [[True], [False], [True]]
    assert se.shape == (3, 1, 8)
