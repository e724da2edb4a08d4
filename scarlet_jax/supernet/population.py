"""Many paths on the same images."""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from scarlet_jax.nn import functional
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
    norm: BatchStatistics | None = None,
) -> tuple[jax.Array, Stats]:
    """Runs many paths on the same images.

    By branches, what a path shares with the one before it is computed once: two paths that begin
    with the same choices compute the same there, statistics included. So the first layers, which
    cost the most, run once for all neighbours in sorted order. By masks all of them run, one after
    the other, as there are no conditionals.

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
    if plan.selection == "masked":
        return lax.map(
            lambda one: network.run(
                plan, gather(plan.stages, params, one[0]), one[1], images, one[0], norm
            ),
            (architectures, stats),
        )
    first = jax.tree.map(lambda leaf: leaf[0], stats)
    x, stem_stats = network.run_stem(plan, params, first, images, norm)

    def add(i: jax.Array, carry: Any) -> Any:
        all_logits, all_stats, last, outputs = carry
        path, own_stats = architectures[i], jax.tree.map(lambda leaf: leaf[i], stats)
        own = gather(plan.stages, params, path)
        same = jnp.cumprod(path == last).astype(bool)  # [L]
        y, outputs = network.run_layers(plan, own, own_stats, x, path, norm, True, (same, outputs))
        logits, head_stats = functional.apply(plan.head, own["head"], own_stats["head"], y, norm)
        if norm is not None:
            stage_stats = [after for _, after in outputs]
            after = {"stem": stem_stats, "stages": stage_stats, "head": head_stats}
            all_stats = jax.tree.map(lambda leaf, one: leaf.at[i].set(one), all_stats, after)
        return all_logits.at[i].set(logits), all_stats, path, outputs

    classes = params["head"]["classifier"]["bias"].shape[-1]
    logits = jnp.zeros((len(architectures), len(images), classes))
    nowhere = jnp.full(architectures.shape[1:], -1)
    nothing = [
        (maps, None if norm is None else own)
        for maps, own in zip(_empty_maps(plan, x), first["stages"], strict=True)
    ]
    logits, after, *_ = lax.fori_loop(0, count, add, (logits, stats, nowhere, nothing))
    return logits, after


def _empty_maps(plan: Plan, x: jax.Array) -> Iterator[jax.Array]:
    """Zeros in the shapes of the stages' feature maps, from the stem's output on."""
    height, width = x.shape[1:3]
    for stage in plan.stages:
        height, width = stage.shape.side(height), stage.shape.side(width)
        shape = len(stage.layers), len(x), height, width, stage.shape.c_out
        yield jnp.zeros(shape, x.dtype)
