"""The arrays of a path: taken out of the supernet's by one index a layer, and written back."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from scarlet_jax.nn.functional import Params
from scarlet_jax.supernet.stage import Stage


def gather(stages: Sequence[Stage], tree: Params, architecture: jax.Array) -> Params:
    """The arrays of a path, `[layers, ...]` in place of `[layers, choices, ...]`.

    Where the path has no block of a bundle, they are those of the bundle's first choice.

    Args:
      stages: of the supernet.
      tree: its parameters, statistics, gradients or optimizer state; what is not in `stages`, all
        paths share.
      architecture: `int32[L]`.
    """

    def take(index: jax.Array, leaf: jax.Array) -> jax.Array:
        layers = np.arange(len(leaf))
        return leaf.at[layers, jnp.maximum(index, 0)].get(mode="promise_in_bounds")

    return tree | {"stages": _by_bundle(stages, take, architecture, tree["stages"])}


def scatter(stages: Sequence[Stage], tree: Params, own: Params, architecture: jax.Array) -> Params:
    """Writes a path's arrays back; those of blocks that are not on it stay.

    Args:
      stages, tree, architecture: as in `gather`.
      own: the path's arrays.
    """

    def put(index: jax.Array, leaf: jax.Array, value: jax.Array) -> jax.Array:
        # Beyond the last choice, where nothing is written, if the path has no such block.
        index = jnp.where(index < 0, leaf.shape[1], index)
        at = leaf.at[np.arange(len(leaf)), index]
        return at.set(value, mode="drop", unique_indices=True, indices_are_sorted=True)

    return own | {"stages": _by_bundle(stages, put, architecture, tree["stages"], own["stages"])}


def _by_bundle(
    stages: Sequence[Stage], change: Callable[..., jax.Array], architecture: jax.Array, *trees: Any
) -> list[Params]:
    """The change of every array, by where the path's blocks are in it, `int32[layers]`; -1:
    nowhere."""
    changed = []
    for number, stage in enumerate(stages):
        choices = architecture[stage.layers.start : stage.layers.stop]
        own = {}
        for bundle in stage.bundles:
            index = jnp.array(bundle.index, jnp.int32)[choices]
            arrays = [tree[number][bundle.name] for tree in trees]
            own[bundle.name] = jax.tree.map(partial(change, index), *arrays)
        changed.append(own)
    return changed
