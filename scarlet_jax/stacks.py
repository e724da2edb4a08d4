"""How a supernet keeps its arrays, and how a path's arrays are taken out and written back.

The arrays of a stage lie in stacks `[layers, members, n]`: all weights of a block that the same
choices have, flattened one after the other. A path has rows `[layers, n]` instead: for each
layer the weights of the one block on it, whatever the block. So a path is taken out by a few
slices, and gradients and updates are as large as the path, not as large as the supernet.

A supernet's tree is `{"stem": ..., "stages": [[{group: {kind: stack}}]], "head": ...}`: for each
stage its modules (`supernet.Module`), for each module the groups of weights that share members
("common" and "se"), for each group its kernels and its vectors. A path's tree has no modules:
`{"stem": ..., "stages": [{group: {kind: rows}}], "head": ...}`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

GROUPS = ("common", "se")
KINDS = ("kernel", "vector")
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
        names = [key.key for key in keypath]
        group = "se" if names[0] == "se" else "common"
        kind = "kernel" if names[-1] == "kernel" else "vector"
        earlier = pieces.setdefault((group, kind), [])
        offset = sum(piece.shape[-1] for piece in earlier)
        places.append(Place(group, kind, offset, leaf.shape[2:]))
        earlier.append(np.reshape(leaf, (*leaf.shape[:2], -1)))
    stacks: Groups = {}
    for (group, kind), parts in pieces.items():
        stacks.setdefault(group, {})[kind] = np.concatenate(parts, axis=-1)
    return stacks, Layout(treedef, tuple(places))


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def unpack(layout: Layout, rows: Groups) -> Any:
    """A block's arrays out of its rows `{group: {kind: [n]}}`, which may be longer."""
    leaves = []
    for place in layout.places:
        row = rows[place.group][place.kind]
        size = int(np.prod(place.shape))
        leaves.append(row[place.offset : place.offset + size].reshape(place.shape))
    return jax.tree.unflatten(layout.treedef, leaves)


def repack(layout: Layout, tree: Any, rows: Groups) -> Groups:
    """Rows with a block's arrays in place of what they begin with: the inverse of `unpack`."""

    def one(group: str, kind: str, row: jax.Array) -> jax.Array:
        pieces = [
            leaf.ravel()
            for place, leaf in zip(layout.places, jax.tree.leaves(tree), strict=True)
            if (place.group, place.kind) == (group, kind)
        ]
        return jnp.concatenate([*pieces, row[sum(map(len, pieces)) :]])

    return {
        group: {kind: one(group, kind, row) for kind, row in kinds.items()}
        for group, kinds in rows.items()
    }


# Plain differentiation would pad the gradient of every array to the whole row, and add.
unpack.defvjp(
    lambda layout, rows: (unpack(layout, rows), rows),
    lambda layout, rows, cotangents: (
        repack(layout, cotangents, jax.tree.map(jnp.zeros_like, rows)),
    ),
)


def take(index: Index, tree: Any, architecture: jax.Array) -> Any:
    """The arrays of a path.

    Args:
      index: of the supernet.
      tree: its parameters or statistics, or what holds such trees, as an optimizer's state.
      architecture: `int32[L]`.

    Returns:
      The tree with rows `[layers, n]` in place of the stacks of a stage's modules, n of the
      longest; what all paths share is as it was. Beyond the arrays of a layer's block, a row
      holds anything.
    """
    places = _find(index, architecture)

    def one(network: Any) -> Any:
        if not _is_network(network):
            return network
        stages = [_take_stage(places, i, modules) for i, modules in enumerate(network["stages"])]
        return {**network, "stages": stages}

    return jax.tree.map(one, tree, is_leaf=_is_network)


def put(index: Index, tree: Any, part: Any, architecture: jax.Array) -> Any:
    """Writes a path's arrays back: the inverse of `take`."""
    places = _find(index, architecture)

    def one(network: Any, path: Any) -> Any:
        if not _is_network(network):
            return path
        stages = [
            _put_stage(places, i, modules, rows)
            for i, (modules, rows) in enumerate(zip(network["stages"], path["stages"], strict=True))
        ]
        return {**path, "stages": stages}

    return jax.tree.map(one, tree, part, is_leaf=_is_network)


class Found(NamedTuple):
    """Where a stack holds the choices of its layers: `int32[layers]`, and `bool[layers]` if."""

    slots: jax.Array
    held: jax.Array


Places = dict[tuple[int, int, str], Found]  # by stage, module and group


def _find(index: Index, architecture: jax.Array) -> Places:
    """The slot of each layer's choice in each stack; 0 if it has none.

    Written for all layers, so that the compiler finds equal members in stages equal.
    """
    places = {}
    for key, stack in index.items():
        layers = slice(stack.layers.start, stack.layers.stop)
        matches = architecture[:, None] == jnp.array(stack.members, jnp.int32)
        slots = jnp.where(matches, jnp.arange(len(stack.members), dtype=jnp.int32), 0).sum(1)
        places[key] = Found(slots[layers], matches.any(1)[layers])
    return places


def _is_network(tree: Any) -> bool:
    return isinstance(tree, dict) and "stages" in tree


def _take_stage(places: Places, number: int, modules: Sequence[Groups]) -> Groups:
    rows: Groups = {}
    for group in GROUPS:
        for kind in KINDS:
            stacks = [
                (places[number, j, group], groups[group][kind])
                for j, groups in enumerate(modules)
                if kind in groups.get(group, ())
            ]
            if stacks:
                rows.setdefault(group, {})[kind] = _take_rows(stacks)
    return rows


def _take_rows(stacks: Sequence[tuple[Found, jax.Array]]) -> jax.Array:
    """The row of each layer, `[layers, n]`, out of the stacks of its modules."""
    longest = max(leaf.shape[2] for _, leaf in stacks)
    first = stacks[0][1]
    rows = []
    for i in range(len(first)):
        row = jnp.zeros(longest, first.dtype)
        for found, leaf in stacks:
            start, size = (i, found.slots[i], 0), (1, 1, leaf.shape[2])
            own = lax.dynamic_slice(leaf, start, size, allow_negative_indices=False)[0, 0]
            row = jnp.where(found.held[i], jnp.pad(own, (0, longest - len(own))), row)
        rows.append(row)
    return jnp.stack(rows)


def _put_stage(
    places: Places, number: int, modules: Sequence[Groups], rows: Groups
) -> list[Groups]:
    return [
        {
            group: {
                kind: _put_rows(places[number, j, group], leaf, rows[group][kind])
                for kind, leaf in kinds.items()
            }
            for group, kinds in groups.items()
        }
        for j, groups in enumerate(modules)
    ]


def _put_rows(found: Found, leaf: jax.Array, rows: jax.Array) -> jax.Array:
    beyond = leaf.shape[1]  # where writes are dropped
    slots = jnp.where(found.held, found.slots, beyond)
    return leaf.at[jnp.arange(len(leaf)), slots].set(
        rows[:, : leaf.shape[2]], mode="drop", unique_indices=True, wrap_negative_indices=False
    )
