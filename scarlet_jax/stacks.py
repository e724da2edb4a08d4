"""How a supernet keeps its arrays, and how a path's arrays are taken out and written back.

The arrays of a stage lie in stacks `[layers, members, n]`: all weights of a block that the same
choices have, flattened one after the other. So a path is taken out by a few slices, and
gradients and updates are as large as the path, not as large as the supernet.

A tree of such arrays is `{"stem": ..., "stages": [[{group: {kind: stack}}]], "head": ...}`: for
each stage its modules (`supernet.Module`), for each module the groups of weights that share
members ("common", "se", "depthwise/0", ...), for each group its kernels and its vectors.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

Groups = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Place:
    """Where an array of a block lies: its group and kind, its offset and shape there."""

    group: str
    kind: str
    offset: int
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Layout:
    """Where the arrays of a block lie: a place for each leaf of a tree."""

    treedef: Any
    places: tuple[Place, ...]


@dataclass(frozen=True)
class Stack:
    """What a stack holds: `layers` along its first axis, choices along its second."""

    layers: range
    members: tuple[int, ...]


Index = dict[tuple[int, int, str], Stack]  # by stage, module and group


def pack(tree: Any) -> tuple[Groups, Layout]:
    """Flattens a module's arrays `[layers, members, ...]` into stacks.

    Returns:
      The stacks by group and kind, NumPy arrays, and where each array lies in them.
    """
    leaves, treedef = jax.tree_util.tree_flatten_with_path(tree)
    pieces: dict[tuple[str, str], list[np.ndarray]] = {}
    places = []
    for keypath, leaf in leaves:
        group, kind = _name(keypath)
        earlier = pieces.setdefault((group, kind), [])
        offset = sum(piece.shape[-1] for piece in earlier)
        places.append(Place(group, kind, offset, leaf.shape[2:]))
        earlier.append(np.reshape(leaf, (*leaf.shape[:2], -1)))
    stacks: Groups = {}
    for (group, kind), parts in pieces.items():
        stacks.setdefault(group, {})[kind] = np.concatenate(parts, axis=-1)
    return stacks, Layout(treedef, tuple(places))


def _name(keypath: Sequence[Any]) -> tuple[str, str]:
    first, *rest = [key.key for key in keypath]
    kind = "kernel" if keypath[-1].key == "kernel" else "vector"
    if first == "depthwise":
        return f"depthwise/{rest[0]}", kind
    return ("se" if first == "se" else "common"), kind


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def unpack(layout: Layout, rows: Groups) -> Any:
    """A block's arrays out of its rows `{group: {kind: [n]}}`."""
    leaves = []
    for place in layout.places:
        row = rows[place.group][place.kind]
        size = int(np.prod(place.shape))
        leaves.append(row[place.offset : place.offset + size].reshape(place.shape))
    return jax.tree.unflatten(layout.treedef, leaves)


def repack(layout: Layout, tree: Any) -> Groups:
    """The rows of a block's arrays: the inverse of `unpack`."""
    pieces: dict[str, dict[str, list[jax.Array]]] = {}
    for place, leaf in zip(layout.places, jax.tree.leaves(tree), strict=True):
        pieces.setdefault(place.group, {}).setdefault(place.kind, []).append(leaf.ravel())
    return jax.tree.map(jnp.concatenate, pieces, is_leaf=lambda part: isinstance(part, list))


# Plain differentiation would pad the gradient of every array to the whole row, and add.
unpack.defvjp(
    lambda layout, rows: (unpack(layout, rows), None),
    lambda layout, _, cotangents: (repack(layout, cotangents),),
)


def take(index: Index, tree: Any, architecture: jax.Array) -> Any:
    """The arrays of a path.

    Args:
      index: of the supernet.
      tree: its parameters or statistics, or what holds such trees, as an optimizer's state.
      architecture: `int32[L]`.

    Returns:
      The tree with every stack `[layers, members, n]` sliced to `[layers, n]`; what all paths
      share is as it was. A stack without a layer's choice gives some other block there:
      `holds` tells which.
    """

    def one(keypath: Any, leaf: jax.Array) -> jax.Array:
        stack = _find(index, keypath)
        if stack is None:
            return leaf
        slots = _slots(stack, architecture)
        size = (1, 1, leaf.shape[2])
        rows = [
            lax.dynamic_slice(leaf, (i, slots[i], 0), size, allow_negative_indices=False)[0]
            for i in range(len(stack.layers))
        ]
        return jnp.concatenate(rows)

    return jax.tree_util.tree_map_with_path(one, tree)


def put(index: Index, tree: Any, part: Any, architecture: jax.Array) -> Any:
    """Writes a path's arrays back: the inverse of `take`."""

    def one(keypath: Any, leaf: jax.Array, rows: jax.Array) -> jax.Array:
        stack = _find(index, keypath)
        if stack is None:
            return rows
        slots = _slots(stack, architecture)
        for i in range(len(stack.layers)):
            start = (i, slots[i], 0)
            leaf = lax.dynamic_update_slice(
                leaf, rows[i][None, None], start, allow_negative_indices=False
            )
        return leaf

    return jax.tree_util.tree_map_with_path(one, tree, part)


def holds(index: Index, part: Any, architecture: jax.Array) -> Any:
    """Which arrays of `take` are those of the path's own blocks: bools that broadcast to them."""

    def one(keypath: Any, _: jax.Array) -> jax.Array:
        stack = _find(index, keypath)
        if stack is None:
            return jnp.ones((), bool)
        held = (architecture[:, None] == jnp.array(stack.members)).any(1, keepdims=True)
        return held[stack.layers.start : stack.layers.stop]  # [layers, 1]

    return jax.tree_util.tree_map_with_path(one, part)


def _find(index: Index, keypath: Sequence[Any]) -> Stack | None:
    """The stack at a key path; None for what all paths share."""
    keys: list[Any] = [getattr(key, "key", getattr(key, "idx", None)) for key in keypath]
    if "stages" not in keys:
        return None
    stage, module, group, *_ = keys[keys.index("stages") + 1 :]
    return index[stage, module, group]


def _slots(stack: Stack, architecture: jax.Array) -> jax.Array:
    """`int32[layers]`: the place of each layer's choice in the stack; 0 if it has none.

    Written for all layers, so that the compiler finds equal members in stages equal.
    """
    places = jnp.arange(len(stack.members), dtype=jnp.int32)
    slots = jnp.where(architecture[:, None] == jnp.array(stack.members), places, 0).sum(1)
    return slots[stack.layers.start : stack.layers.stop]
