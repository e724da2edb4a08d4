"""The supernet: every choice of every layer in one network, keyed by an architecture array.

logits = f(parameters, statistics, images, architecture), one compiled program for every
architecture. Layers of equal shape that follow each other form a stage, which is compiled
once and scanned over. `scarlet_jax.stacks` says how the arrays are kept.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from scarlet_jax import stacks
from scarlet_jax.errors import InputError
from scarlet_jax.nn import bank, functional, inference
from scarlet_jax.nn.bank import Bank
from scarlet_jax.nn.blocks import STEM_KERNEL, Head, InvertedBottleneck, Stabilizer, Stem, ZeroPad
from scarlet_jax.nn.convolution import largest_divisor
from scarlet_jax.nn.layers import BatchStatistics
from scarlet_jax.nn.switch import plain, switch
from scarlet_jax.space import SKIP, Choice, Layer, Space, kernel_sizes, part_expansion
from scarlet_jax.stacks import Layout

STABILIZERS = ("els", "none")
DTYPES = ("float32", "bfloat16")


@dataclass(frozen=True)
class Skip:
    """What a stage's skip is: its graph, and where its arrays lie."""

    graph: Any
    params: Layout
    stats: Layout


@dataclass(frozen=True)
class Stage:
    """Layers of equal shape that follow each other, each with all choices of the space.

    Attributes:
      layers: their numbers.
      stacks: where each choice's arrays lie.
      skip: or None in a space without.
      bank: their blocks.
    """

    layers: range
    stacks: tuple[stacks.Stack, ...]
    skip: Skip | None
    bank: Bank


@dataclass(frozen=True)
class Plan:
    """A supernet without its arrays."""

    space: Space
    stabilizer: str
    dtype: str
    stem: Any  # graphs
    stages: tuple[Stage, ...]
    head: Any

    @property
    def index(self) -> stacks.Index:
        """Where the choices of each stage lie."""
        return tuple(stage.stacks for stage in self.stages)


class Computed(NamedTuple):
    """What layers have computed: outputs `[layers, B, H, W, C]` if asked for, and statistics.

    Statistics only of a batch: running ones stay as they are.
    """

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
      cache_bytes: without a gradient, a block computes as many images at a time as have their
        widest feature map in so many bytes; 0 for all at once. Pays on CPUs.

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
    how = _How(batch, cache_bytes, keep_maps=features)
    stem = _run_stem(plan, params, stats, images, how)
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
    batch: BatchStatistics,
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
    how = _How(batch, cache_bytes, keep_maps=True)
    stem = _run_stem(plan, params, first, images, how)

    def step(i: jax.Array, carry: Any) -> Any:
        all_logits, all_stats, last, computed = carry
        path = inference.read(architectures, i)
        part = stacks.take(plan.index, params, path)
        old = jax.tree.map(lambda leaf: inference.read(leaf, i), all_stats)
        same = jnp.cumprod(path == last).astype(bool)  # [L]
        logits, new, computed = _run_after_stem(plan, part, old, stem, path, how, (same, computed))
        all_stats = jax.tree.map(lambda leaf, own: inference.write(leaf, own, i), all_stats, new)
        return inference.write(all_logits, logits, i), all_stats, path, computed

    empty = _empty(plan, first, stem[0])
    maps: Any = empty[-1].maps
    logits = jax.eval_shape(lambda: _run_head(plan, params, first, maps[-1], how)[0])
    all_logits = jnp.zeros((len(architectures), *logits.shape), logits.dtype)
    carry = (all_logits, stats, jnp.full(architectures.shape[1:], -1), empty)
    all_logits, all_stats, _, _ = lax.fori_loop(0, count, step, carry)
    return all_logits, all_stats


class _How(NamedTuple):
    """How layers run."""

    batch: BatchStatistics | None
    cache_bytes: int
    keep_maps: bool


def _run_stem(plan: Plan, params: Any, stats: Any, images: jax.Array, how: _How) -> Any:
    def run(images: jax.Array) -> Any:
        return functional.apply(
            plan.stem, params["stem"], stats["stem"], images.astype(plan.dtype), how.batch
        )

    if how.batch is not None:
        return run(images)
    area = images[0, ..., 0].size // plan.space.stem_stride**2
    patches = area * images.shape[-1] * STEM_KERNEL**2
    pieces = images.reshape(-1, _in_cache(images, how.cache_bytes, patches), *images.shape[1:])
    y = lax.map(lambda piece: run(piece)[0], pieces)
    return y.reshape(len(images), *y.shape[2:]), stats["stem"]


def _empty(plan: Plan, stats: Any, stem: jax.Array) -> list[Computed]:
    """Zeros in the shapes of what layers compute."""
    computed, size = [], stem.shape[1:3]
    for stage, rows in zip(plan.stages, stats["stages"], strict=True):
        size = bank.output_size(stage.bank, size)
        width = plan.space.layers[stage.layers.start].width
        maps = jnp.zeros((len(stage.layers), len(stem), *size, width), stem.dtype)
        computed.append(Computed(maps, jax.tree.map(jnp.zeros_like, rows)))
    return computed


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
    logits, head_stats = _run_head(plan, params, stats, x, how)
    if how.batch is not None:
        stages = [c.stats for c in computed]
        stats = {"stem": stem_stats, "stages": stages, "head": head_stats}
    return logits, stats, computed


def _run_head(plan: Plan, params: Any, stats: Any, x: jax.Array, how: _How) -> tuple[Any, Any]:
    return functional.apply(plan.head, params["head"], stats["head"], x, how.batch)


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
        run_layer = partial(_run_layer, plan.space.choices, stage, how)
        if len(stage.layers) > 1:
            x, new = lax.scan(run_layer, x, inputs)
        else:
            x, new = run_layer(x, jax.tree.map(lambda leaf: leaf[0], inputs))
            new = jax.tree.map(lambda leaf: leaf[None], new)
        computed.append(new)
    return x, computed


def _run_layer(
    choices: Sequence[Choice], stage: Stage, how: _How, x: jax.Array, inputs: Any
) -> tuple[jax.Array, Computed]:
    """One layer. Inputs: its rows `[n]`, its choice `int32[]`, what was before."""
    params, stats, choice, before = inputs

    def compute() -> tuple[jax.Array, Any]:
        return _run_choice(choices, stage, how, x, params, stats, choice)

    if before is None:
        y, new = compute()
    else:
        same, computed = before
        y, new = lax.cond(same, lambda: tuple(computed), compute)
    return y, Computed(y if how.keep_maps else None, new)


def _run_choice(
    choices: Sequence[Choice],
    stage: Stage,
    how: _How,
    x: jax.Array,
    params: Any,
    stats: Any,
    choice: jax.Array,
) -> tuple[jax.Array, Any]:
    """Switches between the blocks and the skip."""
    unit = part_expansion(choices)
    if how.batch is None or how.batch.used is not None:
        images = _in_cache(x, how.cache_bytes, x[0].size * unit)
        ways = [inference.way(stage.bank, images)]
    else:
        ways = [bank.way(stage.bank)]
    if stage.skip is not None:
        ways.append(plain(partial(_skip, stage.skip)))
    kernels = kernel_sizes(choices)
    is_skip, *chosen = (
        _look_up(table, choice)
        for table in (
            [int(c.is_skip) for c in choices],
            [c.expansion // unit for c in choices],
            [0 if c.is_skip else kernels.index(c.kernel) for c in choices],
            [int(c.se) for c in choices],
        )
    )
    return switch(ways, is_skip, (params, x), bank.Chosen(stats, how.batch, *chosen))


def _skip(skip: Skip, operands: Any, chosen: bank.Chosen) -> tuple[Any, Any]:
    params, x = operands
    arrays = stacks.unpack(skip.params, params, "shared")
    return functional.apply(skip.graph, arrays, {}, x)[0], chosen.batch and chosen.stats


def _in_cache(x: jax.Array, cache_bytes: int, size: int) -> int:
    """So many of the images fit in cache if one takes so many numbers; a divisor of them."""
    if not cache_bytes:
        return len(x)
    return largest_divisor(len(x), cache_bytes // (size * x.dtype.itemsize))


def _look_up(table: Sequence[int], choice: jax.Array) -> jax.Array:
    return inference.read(jnp.array(table, jnp.int32), choice)


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
      InputError: for a stabilizer, dtype or size that is not allowed, or a space without blocks.
    """
    check_model(stabilizer, dtype)
    check_network(num_classes, channels)
    if all(choice.is_skip for choice in space.choices):
        raise InputError(f"space {space.name!r} has only a skip; a supernet needs a block")
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
) -> tuple[Stage, Any, Any]:
    """A stage with the stacks of its parameters and statistics."""
    repeats, shape = len(layers), (c_in, layer.width, layer.stride)
    unit = part_expansion(space.choices)
    most = max(choice.expansion for choice in space.choices) // unit
    kernels = kernel_sizes(space.choices)
    # By choice, and what it is there; both of parameters and of statistics.
    trees: dict[Choice, list[Any]] = {}
    for expansion in sorted({c.expansion for c in space.choices if not c.is_skip}):
        choices = [choice for choice in space.choices if choice.expansion == expansion]
        blocks = InvertedBottleneck(*shape, choices, repeats=repeats, rng=rng)
        _, *both = functional.split(blocks)
        both = [bank.to_parts(tree, expansion // unit, most, max(kernels)) for tree in both]
        for choice in choices:
            trees[choice] = [_member(tree, choices, choice) for tree in both]
    largest = max(trees, key=lambda choice: (choice.se, choice.expansion))
    whole = Bank(
        layer.stride,
        layer.stride == 1 and c_in == layer.width,
        tuple(kernels),
        most,
        *(stacks.lay_out(tree, most) for tree in trees[largest]),
    )
    skip = None
    if any(choice.is_skip for choice in space.choices):
        built = (
            Stabilizer(*shape, repeats=repeats)
            if stabilizer == "els"
            else ZeroPad(layer.width, layer.stride)
        )
        graph, *both = functional.split(built)
        trees[SKIP] = [{"shared": jax.tree.map(lambda leaf: leaf[:, 0], tree)} for tree in both]
        skip = Skip(graph, *(stacks.lay_out(tree, most) for tree in trees[SKIP]))
    (params, of_params), (stats, of_stats) = (
        stacks.pack([trees[choice][i] for choice in space.choices], layout, layers)
        for i, layout in enumerate((whole.params, whole.stats))
    )
    return Stage(layers, (*of_params, *of_stats), skip, whole), params, stats


def _member(tree: Any, choices: Sequence[Choice], choice: Choice) -> Any:
    """The arrays of one of the blocks, `[layers, ...]`; those of SE are stacked without others."""
    with_se = [c for c in choices if c.se]
    own = {group: (with_se if group == "se" else choices) for group in tree}
    return {
        group: jax.tree.map(lambda leaf, of=of: leaf[:, of.index(choice)], tree[group])
        for group, of in own.items()
        if choice in of
    }
