"""The supernet: every choice of every layer in one network, keyed by an architecture array.

logits = f(parameters, statistics, images, architecture), one compiled program for every
architecture. Layers of equal shape that follow each other are compiled once and scanned over.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

import jax
import numpy as np
from flax import nnx
from jax import lax

from scarlet_jax.blocks import Shape
from scarlet_jax.blocks.ends import Head, Stem
from scarlet_jax.blocks.skips import PaddedSkip, StabilizedSkip
from scarlet_jax.errors import InputError, check_one_of
from scarlet_jax.nn import functional
from scarlet_jax.nn.functional import Params, Stats
from scarlet_jax.nn.layers import BatchStatistics
from scarlet_jax.space import Space
from scarlet_jax.supernet import stage as stages
from scarlet_jax.supernet.paths import gather, scatter
from scarlet_jax.supernet.select import SELECTIONS, Output, mixed_block
from scarlet_jax.supernet.stage import Stage

STABILIZERS = {"els": StabilizedSkip(), "none": PaddedSkip()}
DTYPES = ("float32", "bfloat16")

# Of layers, by stage: feature maps `[layers, B, H, W, C]` if a later call needs them, and changed
# statistics.
Outputs = list[tuple[jax.Array | None, Stats | None]]


@dataclass(frozen=True)
class Plan:
    """A supernet without its arrays."""

    space: Space  # whose choices its layers have
    stabilizer: str  # what a skip is, one of `STABILIZERS`
    dtype: str  # of the computation
    selection: str  # how a choice is made, one of `select.SELECTIONS`
    stem: nnx.GraphDef
    stages: tuple[Stage, ...]  # of its layers
    head: nnx.GraphDef


def for_platform(plan: Plan, platform: str) -> Plan:
    """The supernet with "auto" decided, where a program's platform is known before it is traced.

    Decided when a program is lowered, the choice would stay in it as a conditional of one branch
    around collectives, which XLA does not remove.
    """
    if plan.selection != "auto":
        return plan
    return replace(plan, selection="branch" if platform == "cpu" else "masked")


def create(
    space: Space,
    *,
    num_classes: int,
    channels: int = 3,
    stabilizer: str = "els",
    dtype: str = "float32",
    selection: str = "auto",
    seed: int = 0,
) -> functional.Network:
    """Initialises a supernet.

    Args:
      space: the search space.
      num_classes: outputs of the classifier.
      channels: channels of the images.
      stabilizer: what a skip is: "els", or "none" (zero-padded identity, the ablation).
      dtype: of the computation, "float32" or "bfloat16"; weights are float32 always.
      selection: how a layer takes one of its choices: "branch", "masked", or "auto", see `select`.
      seed: of the initial weights.

    Returns:
      Its plan, parameters and statistics, for `apply`.

    Raises:
      InputError: for a setting or size that is not allowed, or a space without blocks.
    """
    check_one_of("stabilizer", stabilizer, STABILIZERS)
    check_one_of("dtype", dtype, DTYPES)
    check_one_of("selection", selection, SELECTIONS)
    if all(choice.keeps_width for choice in space.choices):
        raise InputError(f"space {space.name!r} has only a skip; a supernet needs a block")
    rng = np.random.default_rng(seed)
    stem = functional.split(Stem(space, channels, rng=rng))
    choices = [STABILIZERS[stabilizer] if c.keeps_width else c for c in space.choices]
    built = []
    for shape, layers in _equal_layers(space):
        allowed = space.allowed[layers.start]
        own = [choice if has else None for choice, has in zip(choices, allowed, strict=True)]
        built.append(stages.create(own, shape, space.style, layers, rng))
    head = functional.split(Head(space, space.widths[-1], num_classes, rng=rng))
    made, params, stats = zip(*built, strict=True)
    network = functional.Network(
        Plan(space, stabilizer, dtype, selection, stem.graphdef, made, head.graphdef),
        {"stem": stem.params, "stages": list(params), "head": head.params},
        {"stem": stem.stats, "stages": list(stats), "head": head.stats},
    )
    return functional.on_device(network)


def _equal_layers(space: Space) -> Iterator[tuple[Shape, range]]:
    """The runs of equal layers, each with its shape; one that changes width or stride stands
    alone."""
    widths = zip(space.widths[:-1], space.layers, strict=True)
    shapes = [Shape(c_in, layer.width, layer.stride) for c_in, layer in widths]
    kinds = [
        layer if shape.preserves_shape else number
        for number, (shape, layer) in enumerate(zip(shapes, space.layers, strict=True))
    ]
    for _, equal in groupby(range(space.depth), kinds.__getitem__):
        first, *others = equal
        yield shapes[first], range(first, first + 1 + len(others))


def apply(
    plan: Plan,
    params: Params,
    stats: Stats,
    images: jax.Array,
    architecture: jax.Array,
    norm: BatchStatistics | None = None,
) -> tuple[jax.Array, Stats]:
    """Runs one path.

    Args:
      plan: of the supernet.
      params, stats: its arrays.
      images: float `[B, H, W, C]`, normalised.
      architecture: `int32[L]`; a change of values never recompiles.
      norm: by which statistics batch norm normalises; None: running ones.

    Returns:
      Logits `float32[B, classes]`, and the statistics after it.
    """
    if plan.selection == "auto":  # decided when the program is lowered
        others = params, stats, images, architecture, norm
        return lax.platform_dependent(
            cpu=lambda: apply(for_platform(plan, "cpu"), *others),
            default=lambda: apply(for_platform(plan, "default"), *others),
        )
    own_params, own_stats = (gather(plan.stages, tree, architecture) for tree in (params, stats))
    logits, after = run(plan, own_params, own_stats, images, architecture, norm)
    return logits, stats if norm is None else scatter(plan.stages, stats, after, architecture)


def run(
    plan: Plan,
    params: Params,
    stats: Stats,
    images: jax.Array,
    architecture: jax.Array,
    norm: BatchStatistics | None = None,
) -> tuple[jax.Array, Stats]:
    """`apply` on the arrays of the path alone, as `gather` gives them, with a selection."""
    x, stem_stats = run_stem(plan, params, stats, images, norm)
    logits, after, _ = run_from_stem(plan, params, stats, x, architecture, norm)
    return logits, stats if norm is None else after | {"stem": stem_stats}


def run_stem(
    plan: Plan, params: Params, stats: Stats, images: jax.Array, norm: BatchStatistics | None
) -> tuple[jax.Array, Stats]:
    x = images.astype(plan.dtype)
    return functional.apply(plan.stem, params["stem"], stats["stem"], x, norm)


def run_from_stem(
    plan: Plan,
    params: Params,
    stats: Stats,
    x: jax.Array,
    architecture: jax.Array,
    norm: BatchStatistics | None,
    before: tuple[jax.Array, Outputs] | None = None,
) -> tuple[jax.Array, Stats, Outputs]:
    """From the stem's output on: logits, statistics, and the outputs of all layers.

    Args:
      plan, params, stats, architecture, norm: as in `run`.
      x: output of the stem, `[B, H, W, C]`.
      before: which layers are as in an earlier call, `bool[L]`, and their outputs there, which are
        not computed again.
    """
    outputs: Outputs = []
    for i, stage in enumerate(plan.stages):
        layers = slice(stage.layers.start, stage.layers.stop)

        def layer(x: jax.Array, inputs: Any, stage: Stage = stage) -> tuple[jax.Array, Any]:
            weights, statistics, choice, earlier = inputs

            def compute() -> Output:
                return mixed_block(stage, plan.selection, weights, statistics, x, choice, norm)

            if earlier is None:
                y, after = compute()
                return y, (None, after)
            y, after = lax.cond(earlier[0], lambda: earlier[1], compute)
            return y, (y, after)

        earlier = None if before is None else (before[0][layers], before[1][i])
        inputs = params["stages"][i], stats["stages"][i], architecture[layers], earlier
        if len(stage.layers) > 1:
            x, output = lax.scan(layer, x, inputs)
        else:  # its shapes may change, as those of a loop must not
            x, output = layer(x, jax.tree.map(lambda leaf: leaf[0], inputs))
            output = jax.tree.map(lambda leaf: leaf[None], output)
        outputs.append(output)
    logits, head = functional.apply(plan.head, params["head"], stats["head"], x, norm)
    return logits, {"stages": [after for _, after in outputs], "head": head}, outputs
