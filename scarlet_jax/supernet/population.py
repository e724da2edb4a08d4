"""Many paths on the same images."""

from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from scarlet_jax.nn import functional
from scarlet_jax.nn.functional import Params, Stats
from scarlet_jax.nn.layers import BatchStatistics
from scarlet_jax.supernet import network
from scarlet_jax.supernet.network import Outputs, Plan
from scarlet_jax.supernet.paths import gather
from scarlet_jax.supernet.select import How


def run_population(
    plan: Plan,
    params: Params,
    stats: Stats,
    images: jax.Array,
    architectures: jax.Array,
    count: jax.Array,
    batch: BatchStatistics | None = None,
    cache_bytes: int = 0,
) -> tuple[jax.Array, Stats]:
    """Runs many paths on the same images.

    By branches, what a path shares with the one before it is computed once: two paths that begin
    with the same choices compute the same there, statistics included. So the first layers, which
    cost the most, run once for all neighbours in sorted order. By masks all of them run, one after
    the other, as there is no control flow.

    Args:
      plan, params: of the supernet; all of its parameters.
      stats: of each path, as `network.gather` gives them, stacked: paths with equal beginnings
        must have equal statistics there.
      images: float `[B, H, W, C]`, normalised.
      architectures: `int32[P, L]`, best sorted.
      count: `int32[]`, so many of them are needed.
      batch, cache_bytes: as in `network.apply`.

    Returns:
      Logits `float32[P, B, classes]` and the statistics after each path; beyond `count` anything.
    """
    arguments = (params, stats, images, architectures, count, batch)
    selections = {
        "branch": partial(_with_common_beginnings, plan, How("branch", cache_bytes)),
        "masked": partial(_one_after_the_other, replace(plan, selection="masked")),
    }
    if plan.selection != "auto":
        return selections[plan.selection](*arguments)
    return lax.platform_dependent(
        *arguments, cpu=selections["branch"], default=selections["masked"]
    )


def _one_after_the_other(
    plan: Plan,
    params: Params,
    stats: Stats,
    images: jax.Array,
    architectures: jax.Array,
    count: jax.Array,
    batch: BatchStatistics | None,
) -> tuple[jax.Array, Stats]:
    def one(inputs: tuple[jax.Array, Stats]) -> tuple[jax.Array, Stats]:
        path, own_stats = inputs
        own = gather(plan.stages, params, path)
        return network.run(plan, own, own_stats, images, path, batch)

    return lax.map(one, (architectures, stats))


def _with_common_beginnings(
    plan: Plan,
    how: How,
    params: Params,
    stats: Stats,
    images: jax.Array,
    architectures: jax.Array,
    count: jax.Array,
    batch: BatchStatistics | None,
) -> tuple[jax.Array, Stats]:
    first = jax.tree.map(lambda leaf: leaf[0], stats)
    x, stem_stats = network.run_stem(plan, params, first, images, batch)

    def head(y: jax.Array, stats: Stats) -> tuple[jax.Array, Stats]:
        return functional.apply(plan.head, params["head"], stats["head"], y, batch)

    def score(i: jax.Array, carry: Any) -> Any:
        all_logits, all_stats, last, outputs = carry
        path, own_stats = architectures[i], jax.tree.map(lambda leaf: leaf[i], all_stats)
        own = gather(plan.stages, params, path)
        same = jnp.cumprod(path == last).astype(bool)  # [L]
        y, outputs = network.run_layers(
            plan, how, own, own_stats, x, path, batch, True, (same, outputs)
        )
        logits, head_stats = head(y, own_stats)
        after = {"stem": stem_stats, "stages": [own for _, own in outputs], "head": head_stats}
        all_stats = jax.tree.map(lambda leaf, own: leaf.at[i].set(own), all_stats, after)
        return all_logits.at[i].set(logits), all_stats, path, outputs

    outputs = _empty(plan, first, x)
    logits, _ = jax.eval_shape(lambda: head(outputs[-1][0][-1], first))
    all_logits = jnp.zeros((len(architectures), *logits.shape), logits.dtype)
    carry = (all_logits, stats, jnp.full(architectures.shape[1:], -1), outputs)
    all_logits, all_stats, _, _ = lax.fori_loop(0, count, score, carry)
    return all_logits, all_stats


def _empty(plan: Plan, stats: Stats, x: jax.Array) -> Outputs:
    """Zeros in the shapes of what layers compute, from the stem's output on."""
    outputs: Outputs = []
    height, width = x.shape[1:3]
    for stage, own in zip(plan.stages, stats["stages"], strict=True):
        height, width = stage.shape.side(height), stage.shape.side(width)
        maps = jnp.zeros((len(stage.layers), len(x), height, width, stage.shape.c_out), x.dtype)
        outputs.append((maps, jax.tree.map(jnp.zeros_like, own)))
    return outputs
