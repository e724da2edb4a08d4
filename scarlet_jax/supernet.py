"""The supernet: every choice of every layer in one network, keyed by an architecture array.

logits = f(parameters, statistics, images, architecture), one compiled program for every
architecture. Layers of equal shape that follow each other form a stage, which is compiled
once and scanned over. `scarlet_jax.stacks` says how the arrays are kept.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import lax

from scarlet_jax import stacks
from scarlet_jax.errors import InputError
from scarlet_jax.nn import functional
from scarlet_jax.nn.blocks import Head, InvertedBottleneck, Stabilizer, Stem, ZeroPad
from scarlet_jax.nn.convolution import largest_divisor
from scarlet_jax.nn.layers import BatchStatistics
from scarlet_jax.nn.switch import Keep, switch
from scarlet_jax.space import Choice, Layer, Space, kernel_sizes
from scarlet_jax.stacks import Layout, Stack

STABILIZERS = ("els", "none")
DTYPES = ("float32", "bfloat16")


@dataclass(frozen=True)
class Module:
    """What a layer switches between: the blocks of one expansion, or the skip.

    Blocks of one expansion share a graph, so that switching needs one branch for each
    expansion, and in it one for each kernel size, instead of one for each choice.
    """

    graphdef: Any
    choices: tuple[Choice, ...]
    params: Layout
    stats: Layout

    def members(self, group: str) -> tuple[Choice, ...]:
        """The choices that have the weights of a group."""
        return tuple(choice for choice in self.choices if group == "common" or choice.se)


@dataclass(frozen=True)
class Stage:
    """Layers of equal shape that follow each other, each with all choices of the space."""

    layers: range
    modules: tuple[Module, ...]


@dataclass(frozen=True)
class Plan:
    """A supernet without its arrays."""

    space: Space
    stabilizer: str
    dtype: str
    stem: Any  # graphs
    stages: tuple[Stage, ...]
    head: Any

    @cached_property
    def index(self) -> stacks.Index:
        """Which layers and choices the stacks hold."""
        return {
            (i, j, group): Stack(
                stage.layers, tuple(self.space.choices.index(c) for c in module.members(group))
            )
            for i, stage in enumerate(self.stages)
            for j, module in enumerate(stage.modules)
            for group in stacks.GROUPS
        }


class Computed(NamedTuple):
    """What layers have computed: outputs `[layers, B, H, W, C]` if asked for, and statistics."""

    maps: jax.Array | None
    stats: Any


def apply(
    plan: Plan,
    params: Any,
    stats: Any,
    images: jax.Array,
    architecture: jax.Array,
    batch: BatchStatistics | None = None,
    features: bool = False,
    cache_bytes: int = 0,
) -> tuple[Any, Any]:
    """Runs one path.

    Args:
      plan: of the supernet.
      params, stats: its arrays.
      images: float `[B, H, W, C]`, normalised.
      architecture: `int32[L]`; a change of values never recompiles.
      batch: how batch norm sees the batch; None uses running statistics.
      features: whether to return every layer's feature map as well (figure 2).
      cache_bytes: with running statistics, a block computes as many images at a time as have
        their widest feature map in so many bytes; 0 for all at once. Pays on CPUs.

    Returns:
      Logits `float32[B, classes]`, with `features` a pair of them and a list of L arrays
      `[B, H, W, C]`; and the statistics after it.
    """
    part_params, part_stats = stacks.take(plan.index, (params, stats), architecture)
    output, part_stats = run(
        plan, part_params, part_stats, images, architecture, batch, features, cache_bytes
    )
    return output, stacks.put(plan.index, stats, part_stats, architecture)


def run(
    plan: Plan,
    params: Any,
    stats: Any,
    images: jax.Array,
    architecture: jax.Array,
    batch: BatchStatistics | None = None,
    features: bool = False,
    cache_bytes: int = 0,
) -> tuple[Any, Any]:
    """`apply` on the arrays of the path alone, as `stacks.take` gives them."""
    stem = _run_stem(plan, params, stats, images, batch)
    how = _How(batch, cache_bytes, keep_maps=features)
    logits, new_stats, computed = _run_after_stem(plan, params, stats, stem, architecture, how)
    maps = [feature for c in computed if c.maps is not None for feature in c.maps]
    return ((logits, maps) if features else logits), new_stats


def run_population(
    plan: Plan,
    params: Any,
    stats: Any,
    images: jax.Array,
    architectures: jax.Array,
    count: jax.Array,
    batch: BatchStatistics | None = None,
    cache_bytes: int = 0,
) -> tuple[jax.Array, Any]:
    """Runs many paths on the same images, and what a path shares with the one before it once.

    Two paths that begin with the same choices compute the same there, statistics included. So
    the first layers, which cost the most, run once for all neighbours in sorted order.

    Args:
      plan, params: of the supernet; all of its parameters.
      stats: of each path, as `stacks.take` gives them, stacked: paths with equal beginnings
        must have equal statistics there.
      images: float `[B, H, W, C]`, normalised.
      architectures: `int32[P, L]`, best sorted.
      count: `int32[]`, so many of them are run.
      batch, cache_bytes: as in `apply`.

    Returns:
      Logits `float32[P, B, classes]` and the statistics after each path; zeros and the old
      statistics beyond `count`.
    """
    first = jax.tree.map(lambda leaf: leaf[0], stats)
    stem = _run_stem(plan, params, first, images, batch)
    how = _How(batch, cache_bytes, keep_maps=True)

    def one(architecture: jax.Array, stats: Any, before: Any = None) -> Any:
        part = stacks.take(plan.index, params, architecture)
        return _run_after_stem(plan, part, stats, stem, architecture, how, before)

    def step(i: jax.Array, carry: Any) -> Any:
        all_logits, all_stats, last, computed = carry
        own = jax.tree.map(lambda leaf: leaf[i], all_stats)
        same = jnp.cumprod(architectures[i] == last).astype(bool)  # [L]
        logits, own, computed = one(architectures[i], own, (same, computed))
        all_stats = jax.tree.map(lambda leaf, row: leaf.at[i].set(row), all_stats, own)
        return all_logits.at[i].set(logits), all_stats, architectures[i], computed

    logits, _, computed = jax.eval_shape(one, architectures[0], first)
    empty = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), computed)
    all_logits = jnp.zeros((len(architectures), *logits.shape), logits.dtype)
    carry = (all_logits, stats, jnp.full(architectures.shape[1:], -1), empty)
    all_logits, stats, _, _ = lax.fori_loop(0, count, step, carry)
    return all_logits, stats


class _How(NamedTuple):
    """How layers run."""

    batch: BatchStatistics | None
    cache_bytes: int
    keep_maps: bool


def _run_stem(plan: Plan, params: Any, stats: Any, images: jax.Array, batch: Any) -> Any:
    return functional.apply(
        plan.stem, params["stem"], stats["stem"], images.astype(plan.dtype), batch
    )


def _run_after_stem(
    plan: Plan,
    params: Any,
    stats: Any,
    stem: tuple[jax.Array, Any],
    architecture: jax.Array,
    how: _How,
    before: tuple[jax.Array, list[Computed]] | None = None,
) -> tuple[jax.Array, Any, list[Computed]]:
    """A path from the stem's output and statistics on: logits, statistics, what layers gave."""
    x, stem_stats = stem
    x, computed = _run_stages(plan, params, stats, x, architecture, how, before)
    logits, head_stats = functional.apply(plan.head, params["head"], stats["head"], x, how.batch)
    new_stats = {"stem": stem_stats, "stages": [c.stats for c in computed], "head": head_stats}
    return logits, new_stats, computed


def _run_stages(
    plan: Plan,
    params: Any,
    stats: Any,
    x: jax.Array,
    architecture: jax.Array,
    how: _How,
    before: tuple[jax.Array, list[Computed]] | None = None,
) -> tuple[jax.Array, list[Computed]]:
    """All layers. Before: which of them, `bool[L]`, are as computed before, and what that was."""
    computed = []
    for i, stage in enumerate(plan.stages):
        layers = slice(stage.layers.start, stage.layers.stop)
        inputs = (
            params["stages"][i],
            stats["stages"][i],
            architecture[layers],
            None if before is None else (before[0][layers], before[1][i]),
        )
        run_layer = partial(_run_layer, plan.space.choices, stage.modules, how)
        if len(stage.layers) > 1:
            x, new = lax.scan(run_layer, x, inputs)
        else:
            x, new = run_layer(x, jax.tree.map(lambda leaf: leaf[0], inputs))
            new = jax.tree.map(lambda leaf: leaf[None], new)
        computed.append(new)
    return x, computed


def _run_layer(
    choices: Sequence[Choice], modules: Sequence[Module], how: _How, x: jax.Array, inputs: Any
) -> tuple[jax.Array, Computed]:
    """One layer. Inputs: its rows `[n]`, its choice `int32[]`, what was before."""
    params, stats, choice, before = inputs

    def compute() -> tuple[jax.Array, Any]:
        return _run_choice(choices, modules, how, x, params, stats, choice)

    if before is None:
        y, new = compute()
    else:
        same, computed = before
        y, new = lax.cond(same, lambda: tuple(computed), compute)
    return y, Computed(y if how.keep_maps else None, new)


def _run_choice(
    choices: Sequence[Choice],
    modules: Sequence[Module],
    how: _How,
    x: jax.Array,
    params: Any,
    stats: Any,
    choice: jax.Array,
) -> tuple[jax.Array, Any]:
    """Switches between modules; those of blocks get the indices of their kernel and of SE."""

    def branch(which: int, operands: Any, fixed: Any, keep: Keep) -> tuple[jax.Array, Any]:
        params, x = operands
        stats, batch, kernel_index, use_se = fixed
        module = modules[which]
        arrays = stacks.unpack(module.params, params), stacks.unpack(module.stats, stats)
        args = () if module.choices[0].is_skip else (batch, kernel_index, use_se, keep)

        def block(x: jax.Array) -> Any:
            return functional.apply(module.graphdef, *arrays, x, *args)

        if batch is None and how.cache_bytes:
            width = x.shape[-1] * max(module.choices[0].expansion, 1)
            image_bytes = x[0, ..., 0].size * width * x.dtype.itemsize
            y = _in_parts(lambda x: block(x)[0], x, how.cache_bytes // image_bytes)
            return y, stats
        y, new = block(x)
        return y, stacks.repack(module.stats, new, stats)

    owner = {choice: i for i, module in enumerate(modules) for choice in module.choices}
    sizes = [kernel_sizes(module.choices) for module in modules]
    index, kernel_index, use_se = (
        _look_up(table, choice)
        for table in (
            [owner[c] for c in choices],
            [sizes[owner[c]].index(c.kernel) for c in choices],
            [int(c.se) for c in choices],
        )
    )
    return switch(
        [partial(branch, which) for which in range(len(modules))],
        index,
        (params, x),
        (stats, how.batch, kernel_index, use_se),
    )


def _in_parts(function: Any, x: jax.Array, most: int) -> jax.Array:
    """`function(x)`, computed for at most so many images at a time."""
    size = largest_divisor(len(x), most)
    y = lax.map(function, x.reshape(-1, size, *x.shape[1:]))
    return y.reshape(len(x), *y.shape[2:])


def _look_up(table: Sequence[int], choice: jax.Array) -> jax.Array:
    """`table[choice]` for a choice in range, without the checks of plain indexing."""
    return lax.dynamic_index_in_dim(
        jnp.array(table, jnp.int32), choice, keepdims=False, allow_negative_indices=False
    )


def check_model(stabilizer: str, dtype: str) -> None:
    """Raises `InputError` for an unknown stabilizer or dtype."""
    for name, value, allowed in (("stabilizer", stabilizer, STABILIZERS), ("dtype", dtype, DTYPES)):
        if value not in allowed:
            raise InputError(f"{name} {value!r}; allowed: {', '.join(allowed)}")


def check_network(num_classes: int, channels: int) -> None:
    """Raises `InputError` for sizes that no network can be built from."""
    if num_classes < 1 or channels < 1:
        raise InputError(f"num_classes {num_classes}, channels {channels}; allowed: 1 or more")


def stage_shapes(space: Space) -> list[tuple[tuple[int, Layer], range]]:
    """The runs of layers that keep width and resolution, `((c_in, layer), layers)` each.

    A layer that changes either stands alone.
    """
    inputs = [space.separable_width, *(layer.width for layer in space.layers[:-1])]
    stages: list[tuple[tuple[int, Layer], range]] = []
    for number, shape in enumerate(zip(inputs, space.layers, strict=True)):
        keeps = shape == (shape[1].width, Layer(shape[1].width, 1))
        if keeps and stages and stages[-1][0] == shape:
            stages[-1] = (shape, range(stages[-1][1].start, number + 1))
        else:
            stages.append((shape, range(number, number + 1)))
    return stages


def create(
    space: Space,
    *,
    num_classes: int,
    channels: int = 3,
    stabilizer: str = "els",
    dtype: str = "float32",
    seed: int = 0,
) -> functional.Network:
    """Initialises a supernet.

    Args:
      space: the search space.
      num_classes: outputs of the classifier.
      channels: channels of the images.
      stabilizer: what a skip is: "els", or "none" (zero-padded identity, the ablation).
      dtype: of the computation, "float32" or "bfloat16"; weights are float32 always.
      seed: of the initial weights.

    Returns:
      Its plan, parameters and statistics, for `apply`.

    Raises:
      InputError: for a stabilizer, dtype or size that is not allowed.
    """
    check_model(stabilizer, dtype)
    check_network(num_classes, channels)
    rng = np.random.default_rng(seed)
    stem = functional.split(Stem(channels, space, rng=rng))
    built = [
        _create_stage(space, c_in, layer, layers, stabilizer, rng)
        for (c_in, layer), layers in stage_shapes(space)
    ]
    head = functional.split(Head(space.layers[-1].width, space, num_classes, rng=rng))
    stages, params, stats = zip(*built, strict=True)
    network = functional.Network(
        Plan(space, stabilizer, dtype, stem.graphdef, stages, head.graphdef),
        {"stem": stem.params, "stages": list(params), "head": head.params},
        {"stem": stem.stats, "stages": list(stats), "head": head.stats},
    )
    return functional.on_device(network)


def _create_stage(
    space: Space,
    c_in: int,
    layer: Layer,
    layers: range,
    stabilizer: str,
    rng: np.random.Generator,
) -> tuple[Stage, list[Any], list[Any]]:
    """A stage with the stacks of its parameters and statistics, one entry a module."""
    repeats = len(layers)
    banks: dict[int, list[Choice]] = {}
    for choice in sorted(space.choices, key=lambda choice: (choice.is_skip, choice.expansion)):
        banks.setdefault(choice.expansion, []).append(choice)
    modules, params, stats = [], [], []
    for choices in banks.values():
        if not choices[0].is_skip:
            shape = (c_in, layer.width, layer.stride)
            built: nnx.Module = InvertedBottleneck(*shape, choices, repeats=repeats, rng=rng)
        elif stabilizer == "els":
            built = Stabilizer(c_in, layer.width, layer.stride, repeats=repeats)
        else:
            built = ZeroPad(layer.width, layer.stride)
        graphdef, *arrays = functional.split(built)
        (param_stacks, param_layout), (stat_stacks, stat_layout) = map(stacks.pack, arrays)
        modules.append(Module(graphdef, tuple(choices), param_layout, stat_layout))
        params.append(param_stacks)
        stats.append(stat_stacks)
    return Stage(layers, tuple(modules)), params, stats
