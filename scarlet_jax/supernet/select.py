"""A layer of the supernet: the block of one choice, on the weights of a path.

Two ways to choose, of one function. By branches, `lax.switch` runs the block in its own shapes,
which suits CPUs. By masks, each group's largest block runs once, with zeros around the choice's
weights, and the output of the choice's group is taken: no control flow, for which a GPU would have
to ask its host, and the same shapes for every choice.
"""

from collections.abc import Callable, Sequence
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
from scarlet_jax.supernet.stage import Branch, Bundle, Flat, Group, Stage, crop, pad

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
    is kept, and the backward pass computes the block again.

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
    branches = [(group, branch) for group in stage.groups for branch in group.branches]
    numbers = np.zeros(len(stage.bundles[0].index), np.int32)
    for number, (_, branch) in enumerate(branches):
        numbers[list(branch.choices)] = number
    blocks: dict[str, list[Run]] = {
        "branch": [partial(_branch, *branch, how.cache_bytes) for branch in branches],
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


def _branch(
    group: Group, branch: Branch, cache_bytes: int, params: Params, x: jax.Array, fixed: Fixed
) -> Output:
    """The block of a branch, on arrays cropped to its own shapes."""
    own: Flat = {}
    own_stats: Flat = {}
    for bundle in branch.bundles:
        index = bundle.index[branch.choices[0]]
        arrays = params[bundle.name]
        if any(bundle.index[choice] < 0 for choice in branch.choices):
            arrays = _fill_absent(bundle, arrays, fixed.choice)
        own |= crop(bundle.params, index, arrays)
        own_stats |= crop(bundle.stats, index, fixed.stats[bundle.name])
    cropped, cropped_stats = functional.unflatten(own), functional.unflatten(own_stats)

    def run(x: jax.Array) -> Output:
        return functional.apply(branch.graph, cropped, cropped_stats, x, fixed.batch)

    if fixed.batch is None:
        widest = max((len(array) for array in own.values() if array.ndim == 1), default=x.shape[-1])
        return _in_pieces(lambda x: run(x)[0], x, widest, cache_bytes), fixed.stats
    y, new = run(x)
    after = {
        bundle.name: pad(bundle.stats, fixed.stats[bundle.name], functional.flatten(new))
        for bundle in branch.bundles
    }
    return y, fixed.stats | after


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
    """The largest block of each group, with zeros around the choice's weights."""
    y: jax.Array | None = None
    after: Stats = {}
    for group in stage.groups:
        own: Flat = {}
        own_stats: Flat = {}
        for bundle in group.bundles:
            arrays = _mask(bundle, params[bundle.name], fixed.choice)
            if bundle.choices != group.choices:
                arrays = _fill_absent(bundle, arrays, fixed.choice)
            own |= functional.flatten(arrays)
            own_stats |= functional.flatten(fixed.stats[bundle.name])
        output, new = functional.apply(
            group.graph, functional.unflatten(own), functional.unflatten(own_stats), x, fixed.batch
        )
        is_own = look_up(group.bundles[0].index, fixed.choice) >= 0
        y = output if y is None else jnp.where(is_own, output, y)
        flat = functional.flatten(new)
        for bundle in group.bundles:
            moved = {
                p.path: jnp.where(is_own, flat[p.path], own_stats[p.path]) for p in bundle.stats
            }
            after[bundle.name] = functional.unflatten(moved)
    assert y is not None, "a stage has a group"
    return y, after


def _mask(bundle: Bundle, tree: Params, choice: jax.Array) -> Params:
    """Zeros outside of what the choice has of these arrays."""
    flat, masked = functional.flatten(tree), {}
    index = jnp.maximum(look_up(bundle.index, choice), 0)
    for leaf in bundle.params:
        array = flat[leaf.path]
        for axis in range(array.ndim):
            sizes = [shape[axis] for shape in leaf.shapes]
            if len(set(sizes)) > 1:
                start = look_up([leaf.start(shape)[axis] for shape in leaf.shapes], index)
                offset = lax.broadcasted_iota(jnp.int32, array.shape, axis) - start
                array = jnp.where((offset >= 0) & (offset < look_up(sizes, index)), array, 0)
        masked[leaf.path] = array
    return functional.unflatten(masked)


def _fill_absent(bundle: Bundle, tree: Params, choice: jax.Array) -> Params:
    """What makes these arrays do nothing, if the choice does without them."""
    flat, has = functional.flatten(tree), look_up(bundle.index, choice) >= 0
    return functional.unflatten(
        {leaf.path: jnp.where(has, flat[leaf.path], leaf.absent) for leaf in bundle.params}
    )


def look_up(table: Sequence[int] | np.ndarray, index: jax.Array) -> jax.Array:
    """`table[index]` of a few numbers: `int32[]`, without a gather."""
    numbers = np.asarray(table, np.int32)
    chosen = jnp.arange(len(numbers), dtype=jnp.int32) == index
    return jnp.where(chosen, numbers, 0).sum(dtype=jnp.int32)
