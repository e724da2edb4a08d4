"""Many paths on the same images."""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from scarlet_jax.nn.functional import Params, Stats
from scarlet_jax.nn.layers import BatchStatistics
from scarlet_jax.supernet import network
from scarlet_jax.supernet.network import Plan
from scarlet_jax.supernet.paths import gather


def run_population(
    plan: Plan,
    params: Params,
    stats: Stats,
    images: jax.Array,
    architectures: jax.Array,
    count: jax.Array,
    norm: BatchStatistics | None,
) -> tuple[jax.Array, Stats]:
    """Runs many paths on the same images.

    The stem runs once for all. By branches, so does what a path shares with the one before it: two
    paths that begin with the same choices compute the same there, statistics included. So the first
    layers, which cost the most, run once for all neighbours in sorted order. By masks each path
    runs whole, as there are no conditionals.

    Args:
      plan, params: of the supernet, with a selection; all of its parameters.
      stats: of each path, as `paths.gather` gives them, stacked: paths with equal beginnings
        must have equal statistics there.
      images: float `[B, H, W, C]`, normalised.
      architectures: `int32[P, L]`, best sorted.
      count: `int32[]`, so many of them are needed.
      norm: as in `network.apply`.

    Returns:
      Logits `float32[P, B, classes]` and the statistics after each path; beyond `count` anything.
    """
    first = jax.tree.map(lambda leaf: leaf[0], stats)
    x, stem = network.run_stem(plan, params, first, images, norm)
    shares = plan.selection == "branch"

    def add(i: jax.Array, carry: Any) -> Any:
        all_logits, all_stats, last, outputs = carry
        path, own_stats = architectures[i], jax.tree.map(lambda leaf: leaf[i], stats)
        own = gather(plan.stages, params, path)
        same = jnp.cumprod(path == last).astype(bool)  # [L]
        before = (same, outputs) if shares else None
        logits, after, outputs = network.run_from_stem(plan, own, own_stats, x, path, norm, before)
        if norm is not None:
            after = after | {"stem": stem}
            all_stats = jax.tree.map(lambda leaf, one: leaf.at[i].set(one), all_stats, after)
        return all_logits.at[i].set(logits), all_stats, path, outputs if shares else None

    classes = params["head"]["classifier"]["bias"].shape[-1]
    logits = jnp.zeros((len(architectures), len(images), classes))
    nowhere = jnp.full(architectures.shape[1:], -1)
    own = [None] * len(plan.stages) if norm is None else first["stages"]
    nothing = [*zip(_empty_maps(plan, x), own, strict=True)] if shares else None
    until = count if shares else len(architectures)  # accelerators want loops of a known length
    logits, after, *_ = lax.fori_loop(0, until, add, (logits, stats, nowhere, nothing))
    return logits, after


def _empty_maps(plan: Plan, x: jax.Array) -> Iterator[jax.Array]:
    """Zeros in the shapes of the stages' feature maps, from the stem's output on."""
    height, width = x.shape[1:3]
    for stage in plan.stages:
        height, width = stage.shape.side(height), stage.shape.side(width)
        shape = len(stage.layers), len(x), height, width, stage.shape.c_out
        yield jnp.zeros(shape, x.dtype)
