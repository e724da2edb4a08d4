"""A layer of the supernet: the block of one choice, on the weights of a path.

Two selections, of one function. By branches, `lax.switch` runs the block of the choice's branch,
in arrays no larger than that needs, which suits CPUs. By masks, each group's largest block runs
once, with zeros around the choice's weights, and the output of the choice's group is taken: no
conditionals, for which a GPU would have to ask its host, and the same shapes for every choice.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from scarlet_jax.nn import functional
from scarlet_jax.nn.functional import Arrays, Params, Stats
from scarlet_jax.nn.layers import BatchStatistics
from scarlet_jax.supernet.stage import Branch, Bundle, Leaf, Stage, crop, largest, start

SELECTIONS = ("auto", "branch", "masked")


class Fixed(NamedTuple):
    """What a block is run with beside its parameters and input, and without a gradient."""

    stats: Stats
    choice: jax.Array
    norm: BatchStatistics | None


Output = tuple[jax.Array, Stats | None]
Run = Callable[[Params, jax.Array, Fixed], Output]


def mixed_block(
    stage: Stage,
    selection: str,
    params: Params,
    stats: Stats,
    x: jax.Array,
    choice: jax.Array,
    norm: BatchStatistics | None,
) -> Output:
    """Runs the block of a choice.

    Plain differentiation through `lax.switch` writes what every branch needs for its gradient. Here
    only what the block is given is kept, and the backward pass computes the block again.

    Args:
      stage: of the layer.
      selection: "branch" or "masked".
      params, stats: the layer's, of a path, as `paths.gather` gives them without the layers' axis.
      x: `[B, H, W, C]`.
      choice: `int32[]`.
      norm: by which statistics batch norm normalises; None: running ones.

    Returns:
      `[B, ceil(H / stride), ceil(W / stride), D]`, and the statistics after it; None for
      running ones, which stay.
    """
    options: dict[str, list[Run]] = {
        "branch": [partial(_run, branch) for branch in stage.branches],
        "masked": [partial(_masked, stage)],
    }
    blocks = options[selection]  # "auto" is decided before
    number_of = {n: i for i, branch in enumerate(stage.branches) for n in branch.choices}

    @jax.custom_vjp
    def run(params: Params, x: jax.Array, fixed: Fixed) -> Output:
        return lax.switch(_look_up(number_of, fixed.choice), blocks, params, x, fixed)

    def backward(residuals: tuple[Params, jax.Array, Fixed], cotangents: Output) -> Any:
        number = _look_up(number_of, residuals[-1].choice)
        pulls = [partial(_pull_back, block) for block in blocks]
        return (*lax.switch(number, pulls, *residuals, cotangents[0]), None)

    run.defvjp(lambda *args: (run(*args), args), backward)
    return run(params, x, Fixed(stats, choice, norm))


def _pull_back(
    block: Run, params: Params, x: jax.Array, fixed: Fixed, cotangent: jax.Array
) -> tuple[Params, jax.Array]:
    """The gradients of a block's parameters and input, of its output's."""
    # Without the barrier, the compiler may keep what the forward pass has computed.
    params, x, cotangent = lax.optimization_barrier((params, x, cotangent))
    _, gradient = jax.vjp(lambda params, x: block(params, x, fixed)[0], params, x)
    return gradient(cotangent)


def _run(branch: Branch, params: Params, x: jax.Array, fixed: Fixed) -> Output:
    """The block of a choice, in the arrays of the largest of its branch."""
    own, own_stats = (_own_arrays(branch, tree, fixed.choice) for tree in (params, fixed.stats))
    taps = _look_up(dict(branch.taps), fixed.choice) if branch.taps else None
    y, moved = functional.apply(branch.graphdef, own, own_stats, x, fixed.norm, taps)
    if fixed.norm is None:
        return y, None
    after, flat_moved = dict(fixed.stats), functional.flatten(moved)
    for bundle in branch.bundles:
        flat: Arrays = {}
        for leaf, array in bundle.arrays(fixed.stats):
            value = flat_moved[leaf.names]
            first = start(value.shape, array.shape)
            flat[leaf.names] = lax.dynamic_update_slice(array, value, first)
        after[bundle.name] = functional.unflatten(flat)
    return y, after


def _masked(stage: Stage, params: Params, x: jax.Array, fixed: Fixed) -> Output:
    """All groups, each as one branch, and the output of the choice's."""
    first, *others = stage.groups
    output = _run(first, params, x, fixed)
    for group in others:
        is_own = _look_up(dict.fromkeys(group.choices, True), fixed.choice)
        found = _run(group, params, x, fixed)
        output = jax.tree.map(partial(jnp.where, is_own), found, output)
    return output


def _own_arrays(branch: Branch, tree: Params, choice: jax.Array) -> Params:
    """A choice's parameters or statistics, in the shapes of the largest of its branch: zeros are
    around them, and where the choice is without, what makes an array do nothing."""
    own: Arrays = {}
    for bundle in branch.bundles:
        for leaf, array in bundle.arrays(tree):
            own[leaf.names] = _own(bundle, leaf, branch.choices, array, choice)
    return functional.unflatten(own)


def _own(
    bundle: Bundle, leaf: Leaf, choices: tuple[int, ...], array: jax.Array, choice: jax.Array
) -> jax.Array:
    shapes = {n: leaf.shapes[i] for n in choices if (i := bundle.index[n]) >= 0}
    whole = largest(shapes.values())
    array = crop(array, whole)
    for axis, sizes in enumerate(zip(*shapes.values(), strict=True)):
        if len(set(sizes)) > 1:
            first = _look_up({n: start(s, whole)[axis] for n, s in shapes.items()}, choice)
            size = _look_up(dict(zip(shapes, sizes, strict=True)), choice)
            offset = lax.broadcasted_iota(jnp.int32, whole, axis) - first
            array = jnp.where((offset >= 0) & (offset < size), array, 0)
    if len(shapes) < len(choices) and leaf.absent is not None:
        has = _look_up(dict.fromkeys(shapes, True), choice)
        array = jnp.where(has, array, leaf.absent)
    return array


def _look_up(numbers: Mapping[int, int], choice: jax.Array) -> jax.Array:
    """A choice's number, `int32[]`, without a gather; 0 for one that has none."""
    own, values = (jnp.array(list(n), jnp.int32) for n in (numbers.keys(), numbers.values()))
    return jnp.where(own == choice, values, 0).sum(dtype=jnp.int32)
