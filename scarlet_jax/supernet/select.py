"""A layer of the supernet: the block of one choice, on the weights of a path.

Two selections, of one function. By branches, `lax.switch` runs the block in its own shapes,
which suits CPUs. By masks, each group's largest block runs once, with zeros around the choice's
weights, and the output of the choice's group is taken: no control flow, for which a GPU would have
to ask its host, and the same shapes for every choice.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from scarlet_jax.nn import functional
from scarlet_jax.nn.convolution import largest_divisor
from scarlet_jax.nn.functional import Params, Stats
from scarlet_jax.nn.layers import BatchStatistics
from scarlet_jax.supernet.stage import (
    Branch,
    Bundle,
    Dimensions,
    Flat,
    Leaf,
    Stage,
    crop,
    largest,
    start,
)

SELECTIONS = ("auto", "branch", "masked")


@dataclass(frozen=True)
class How:
    """How blocks are run.

    Attributes:
      selection: one of `SELECTIONS`; "auto" takes branches where a program is lowered for CPUs.
      cache_bytes: with running statistics and branches, a block takes as many images at a time as
        have their widest feature map in so many bytes; 0 for all at once.
    """

    selection: str = "auto"
    cache_bytes: int = 0


class Fixed(NamedTuple):
    """What a block is run with beside its parameters and input, and without a gradient."""

    stats: Stats
    choice: jax.Array
    batch: BatchStatistics | None


Output = tuple[jax.Array, Stats]
Run = Callable[[Params, jax.Array, Fixed], Output]


def mixed_block(
    stage: Stage,
    how: How,
    params: Params,
    stats: Stats,
    x: jax.Array,
    choice: jax.Array,
    batch: BatchStatistics | None,
) -> Output:
    """Runs the block of a choice.

    Plain differentiation through `lax.switch` writes residuals of every branch. Here only the input
    is a residual, and the backward pass computes the block again.

    Args:
      stage: of the layer.
      how: it is run.
      params, stats: of the layer on a path, `{bundle: {name: array}}`.
      x: `[B, H, W, C]`.
      choice: `int32[]`, of the space.
      batch: how batch norm sees the batch; None for running statistics.

    Returns:
      `[B, ceil(H / stride), ceil(W / stride), D]`, and the statistics after it.
    """
    branches = [branch for group in stage.groups for branch in group.branches]
    numbers = np.zeros(len(stage.bundles[0].index), np.int32)
    for number, branch in enumerate(branches):
        numbers[list(branch.choices)] = number
    blocks: dict[str, list[Run]] = {
        "branch": [partial(_run, branch, how.cache_bytes) for branch in branches],
        "masked": [partial(_masked, stage)],
    }

    def select(change: Callable[[Run], Callable[..., Any]], *args: Any) -> Any:
        """What `change` makes of the choice's block, called with these arguments."""

        def switch(name: str, params: Params, x: jax.Array, fixed: Fixed, *more: Any) -> Any:
            options = [change(block) for block in blocks[name]]
            if len(options) == 1:
                return options[0](params, x, fixed, *more)
            return lax.switch(look_up(numbers, fixed.choice), options, params, x, fixed, *more)

        if how.selection != "auto":
            return switch(how.selection, *args)
        cpu, default = (partial(switch, name) for name in ("branch", "masked"))
        return lax.platform_dependent(*args, cpu=cpu, default=default)

    @jax.custom_vjp
    def run(params: Params, x: jax.Array, fixed: Fixed) -> Output:
        return select(lambda block: block, params, x, fixed)

    def backward(residuals: Any, cotangents: Output) -> Any:
        return (*select(_pull_back, *residuals, cotangents[0]), None)

    run.defvjp(lambda *args: (run(*args), args), backward)
    return run(params, x, Fixed(stats, choice, batch))


def _pull_back(block: Run) -> Callable[..., tuple[Params, jax.Array]]:
    """The gradients of a block's parameters and input, of its output's."""

    def pull(params: Params, x: jax.Array, fixed: Fixed, cotangent: jax.Array) -> Any:
        # Without the barrier, the compiler may keep what the forward pass has computed.
        params, x, cotangent = lax.optimization_barrier((params, x, cotangent))
        _, gradient = jax.vjp(lambda params, x: block(params, x, fixed)[0], params, x)
        return gradient(cotangent)

    return pull


def _run(branch: Branch, cache_bytes: int, params: Params, x: jax.Array, fixed: Fixed) -> Output:
    """The block of a choice, in the arrays of the largest of its branch."""
    own: Flat = {}
    own_stats: Flat = {}
    for bundle in branch.bundles:
        flat, flat_stats = map(functional.flatten, (params[bundle.name], fixed.stats[bundle.name]))
        for leaf in bundle.params:
            own[leaf.path] = _own(bundle, leaf, branch.choices, flat[leaf.path], fixed.choice)
        for leaf in bundle.stats:
            shape = largest(_shapes(bundle, leaf, branch.choices).values())
            own_stats[leaf.path] = crop(flat_stats[leaf.path], shape)
    arrays, arrays_stats = functional.unflatten(own), functional.unflatten(own_stats)
    taps = look_up(branch.taps, fixed.choice) if branch.taps else None

    def run(x: jax.Array) -> Output:
        return functional.apply(branch.graph, arrays, arrays_stats, x, fixed.batch, taps)

    if fixed.batch is None:
        widest = max((len(array) for array in own.values() if array.ndim == 1), default=x.shape[-1])
        return _in_pieces(lambda x: run(x)[0], x, widest, cache_bytes), fixed.stats
    y, new = run(x)
    after, moved = dict(fixed.stats), functional.flatten(new)
    for bundle in branch.bundles:
        flat = functional.flatten(fixed.stats[bundle.name])
        for leaf in bundle.stats:
            first = start(moved[leaf.path].shape, flat[leaf.path].shape)
            flat[leaf.path] = lax.dynamic_update_slice(flat[leaf.path], moved[leaf.path], first)
        after[bundle.name] = functional.unflatten(flat)
    return y, after


def _in_pieces(
    run: Callable[[jax.Array], jax.Array], x: jax.Array, widest: int, cache_bytes: int
) -> jax.Array:
    """A few images at a time, whose feature maps stay in cache through a whole block."""
    numbers = x[0, ..., 0].size * widest
    images = largest_divisor(len(x), cache_bytes // (numbers * x.dtype.itemsize))
    if not cache_bytes or images == len(x):
        return run(x)
    y = lax.map(run, x.reshape(-1, images, *x.shape[1:]))  # [B / images, images, H, W, D]
    return y.reshape(len(x), *y.shape[2:])


def _masked(stage: Stage, params: Params, x: jax.Array, fixed: Fixed) -> Output:
    """All groups, each as one branch, and the output of the choice's."""
    outputs = []
    for group in stage.groups:
        y, stats = _run(group.whole, 0, params, x, fixed)
        is_own = _is_any(group.whole.choices, fixed.choice)
        names = [bundle.name for bundle in group.whole.bundles]
        before, after = ({name: tree[name] for name in names} for tree in (fixed.stats, stats))
        moved = jax.tree.map(partial(jnp.where, is_own), after, before)
        outputs.append((is_own, y, moved))
    _, y, after = outputs[0]
    for is_own, other, moved in outputs[1:]:
        y, after = jnp.where(is_own, other, y), after | moved
    return y, after


def _shapes(bundle: Bundle, leaf: Leaf, choices: Iterable[int]) -> dict[int, Dimensions]:
    """Of an array in each of the choices that have it."""
    own = {choice: bundle.index[choice] for choice in choices}
    return {choice: leaf.shapes[index] for choice, index in own.items() if index >= 0}


def _own(
    bundle: Bundle, leaf: Leaf, choices: tuple[int, ...], array: jax.Array, choice: jax.Array
) -> jax.Array:
    """A choice's array in the shape of the largest of some choices: zeros are around it, and where
    the choice is without, what makes it do nothing."""
    shapes = _shapes(bundle, leaf, choices)
    whole = largest(shapes.values())
    array = crop(array, whole)
    order = [list(shapes).index(n) if n in shapes else 0 for n in range(len(bundle.index))]
    index = look_up(order, choice)
    for axis, sizes in enumerate(zip(*shapes.values(), strict=True)):
        if len(set(sizes)) > 1:
            first = look_up([start(shape, whole)[axis] for shape in shapes.values()], index)
            offset = lax.broadcasted_iota(jnp.int32, whole, axis) - first
            array = jnp.where((offset >= 0) & (offset < look_up(sizes, index)), array, 0)
    if len(shapes) < len(choices):
        array = jnp.where(_is_any(shapes, choice), array, leaf.absent)
    return array


def _is_any(choices: Iterable[int], choice: jax.Array) -> jax.Array:
    return (jnp.array(list(choices), jnp.int32) == choice).any()


def look_up(table: Sequence[int] | np.ndarray, index: jax.Array) -> jax.Array:
    """`table[index]` of a few numbers: `int32[]`, without a gather."""
    numbers = np.asarray(table, np.int32)
    chosen = jnp.arange(len(numbers), dtype=jnp.int32) == index
    return jnp.where(chosen, numbers, 0).sum(dtype=jnp.int32)
