"""How a supernet keeps its arrays, and how a path's arrays are taken out and written back.

The arrays of a stage lie in stacks `[layers, members, n]`: all weights of a block that the same
choices have, flattened one after the other. A path has rows `[layers, n]` instead: for each
layer the weights of the one block on it, whatever the block. So a path is taken out by a few
slices, and gradients and updates are as large as the path, not as large as the supernet.

A supernet's tree is `{"stem": ..., "stages": [[{group: {kind: stack}}]], "head": ...}`: for each
stage its modules (`supernet.Module`), for each module the groups of weights, and for each group
its kernels and its vectors. A path's tree is `{"stem": ..., "stages": [{kind: rows}], "head":
...}`. A row has the groups one after the other, each with room for as many parts
(`nn.bank`) as the widest block has, so that a narrow block is found where a wide one begins.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

GROUPS = ("shared", "part", "se")  # in the order of a row
PARTED = ("part", "se")  # groups of arrays that come in parts
KINDS = ("kernel", "vector")
Rows = dict[str, jax.Array]  # by kind
Groups = dict[str, dict[str, Any]]  # stacks by group and kind


@dataclass(frozen=True)
class Place:
    """Where an array of a part lies: its names, the first its group; its offset and shape."""

    path: tuple[str, ...]
    kind: str
    offset: int
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Section:
    """Where a group's arrays of one kind lie in a row: `parts` times `size` from `start` on."""

    group: str
    kind: str
    start: int
    size: int
    parts: int


@dataclass(frozen=True)
class Layout:
    """Where the arrays of a block lie in a row."""

    places: tuple[Place, ...]
    sections: tuple[Section, ...]


@dataclass(frozen=True)
class Stack:
    """What a stack holds.

    Attributes:
      layers: along its first axis.
      members: choices, along its second.
      parts: of each, along its third.
      room: parts that a row has room for.
    """

    layers: range
    members: tuple[int, ...]
    parts: int
    room: int


Index = dict[tuple[int, int, str], Stack]  # by stage, module and group


def pack(tree: Any, room: int) -> tuple[Groups, Layout]:
    """Flattens a module's arrays into stacks.

    Args:
      tree: `{group: ...}` of NumPy arrays `[layers, members, ...]`, those of the groups in
        `PARTED` `[layers, members, parts, ...]`.
      room: parts of the widest block of the stage.

    Returns:
      The stacks by group and kind, and where each array lies in a row.
    """
    pieces: dict[tuple[str, str], list[np.ndarray]] = {}
    places = []
    for keypath, leaf in jax.tree_util.tree_leaves_with_path(tree):
        path = tuple(key.key for key in keypath)
        lead = 3 if path[0] in PARTED else 2
        kind = "kernel" if path[-1] == "kernel" else "vector"
        earlier = pieces.setdefault((path[0], kind), [])
        offset = sum(piece.shape[-1] for piece in earlier)
        places.append(Place(path, kind, offset, leaf.shape[lead:]))
        earlier.append(np.reshape(leaf, (*leaf.shape[:lead], -1)))
    stacks: Groups = {}
    sections, ends = [], dict.fromkeys(KINDS, 0)
    for group in GROUPS:
        parts = room if group in PARTED else 1
        for kind in KINDS:
            if (group, kind) in pieces:
                joined = np.concatenate(pieces[group, kind], axis=-1)
                stacks.setdefault(group, {})[kind] = joined.reshape(*joined.shape[:2], -1)
                sections.append(Section(group, kind, ends[kind], joined.shape[-1], parts))
                ends[kind] += parts * joined.shape[-1]
    return stacks, Layout(tuple(places), tuple(sections))


def unpack(layout: Layout, rows: Rows, group: str, part: Any = None) -> Any:
    """The arrays of a group in the rows `[n]` of a layer; of one part, or of all, `[parts, ...]`.

    Groups without parts have one, and no axis for it.
    """
    tree: dict[str, Any] = {}
    flat = {}
    for section in _sections(layout, group):
        row, size = rows[section.kind], section.size
        if part is not None:
            start = (section.start + part * size,)
            row = lax.dynamic_slice(row, start, (size,), allow_negative_indices=False)
        else:
            row = row[section.start : section.start + section.parts * size]
            row = row.reshape(section.parts, size) if group in PARTED else row
        flat[section.kind] = row
    for place in layout.places:
        if place.path[0] == group:
            row = flat[place.kind]
            array = row[..., place.offset : place.offset + int(np.prod(place.shape))]
            *parents, name = place.path[1:]
            node = tree
            for parent in parents:
                node = node.setdefault(parent, {})
            node[name] = array.reshape(*row.shape[:-1], *place.shape)
    return tree


def repack(layout: Layout, rows: Rows, group: str, tree: Any, part: Any = 0) -> Rows:
    """Rows with the arrays of a group written in: the inverse of `unpack`.

    Args:
      tree: arrays of the given part; those of all parts, `[parts, ...]`, from part 0 on.
    """
    new = dict(rows)
    for section in _sections(layout, group):
        leaves = []
        for place in layout.places:
            if (place.path[0], place.kind) == (group, section.kind):
                leaf = tree
                for name in place.path[1:]:
                    leaf = leaf[name]
                lead = leaf.shape[: leaf.ndim - len(place.shape)]
                leaves.append(leaf.reshape(*lead, -1))
        piece = jnp.concatenate(leaves, axis=-1).ravel()
        start = (section.start + part * section.size,)
        new[section.kind] = lax.dynamic_update_slice(
            new[section.kind], piece, start, allow_negative_indices=False
        )
    return new


def _sections(layout: Layout, group: str) -> list[Section]:
    return [section for section in layout.sections if section.group == group]


def take(index: Index, tree: Any, architecture: jax.Array) -> Any:
    """The arrays of a path.

    Args:
      index: of the supernet.
      tree: its parameters or statistics, or what holds such trees, as an optimizer's state.
      architecture: `int32[L]`.

    Returns:
      The tree with rows `[layers, n]` in place of the stacks of a stage's modules, n of the
      longest; what all paths share is as it was. Beyond the arrays of a layer's block, a row
      holds zeros.
    """
    found = _find(index, architecture)

    def one(network: Any) -> Any:
        if not _is_network(network):
            return network
        stages = [_take_stage(index, found, i, m) for i, m in enumerate(network["stages"])]
        return {**network, "stages": stages}

    return jax.tree.map(one, tree, is_leaf=_is_network)


def put(index: Index, tree: Any, part: Any, architecture: jax.Array) -> Any:
    """Writes a path's arrays back: the inverse of `take`."""
    found = _find(index, architecture)

    def one(network: Any, path: Any) -> Any:
        if not _is_network(network):
            return path
        stages = [
            _put_stage(index, found, i, modules, rows)
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


class Piece(NamedTuple):
    """A stack `[layers, members, n]`, and where what it holds goes in a row, `room` in all."""

    leaf: jax.Array
    found: Found
    start: int
    room: int


def _pieces(
    index: Index, places: Places, key: tuple[int, int], groups: Groups, kind: str
) -> dict[str, Piece]:
    """Those of a module by group; the key is of its stage and of itself."""
    pieces, start = {}, 0
    for group in GROUPS:
        if kind in groups.get(group, ()):
            leaf, stack = groups[group][kind], index[*key, group]
            room = leaf.shape[2] // stack.parts * stack.room
            pieces[group] = Piece(leaf, places[*key, group], start, room)
            start += room
    return pieces


def _take_stage(index: Index, places: Places, number: int, modules: Sequence[Groups]) -> Rows:
    rows = {}
    for kind in KINDS:
        pieces = [
            piece
            for j, groups in enumerate(modules)
            for piece in _pieces(index, places, (number, j), groups, kind).values()
        ]
        if pieces:
            rows[kind] = _take_rows(pieces)
    return rows


def _take_rows(pieces: Sequence[Piece]) -> jax.Array:
    """The row of each layer, `[layers, n]`, out of the stacks that hold its choice."""
    return _copy_rows(
        [piece.leaf for piece in pieces],
        [piece.found for piece in pieces],
        tuple(piece.start for piece in pieces),
        max(piece.start + piece.room for piece in pieces),
    )


@partial(jax.jit, static_argnums=(2, 3))
def _copy_rows(
    leaves: Sequence[jax.Array], places: Sequence[Found], starts: Sequence[int], size: int
) -> jax.Array:
    """Copies in a loop: a choice between arrays, XLA would fuse with all that reads the rows, and
    choose anew for every number, 20 times slower on CPU."""

    def copy(
        leaf: jax.Array, slot: jax.Array, start: int, layer: jax.Array, rows: jax.Array
    ) -> jax.Array:
        own = lax.dynamic_slice(
            leaf, (layer, slot, 0), (1, 1, leaf.shape[2]), allow_negative_indices=False
        )
        to = (layer, start)
        return lax.dynamic_update_slice(rows, own[0], to, allow_negative_indices=False)

    def copy_held(layer: jax.Array, rows: jax.Array) -> jax.Array:
        for leaf, found, start in zip(leaves, places, starts, strict=True):
            way = partial(copy, leaf, found.slots[layer], start)
            rows = lax.cond(found.held[layer], way, lambda _, rows: rows, layer, rows)
        return rows

    layers = len(leaves[0])
    return lax.fori_loop(0, layers, copy_held, jnp.zeros((layers, size), leaves[0].dtype))


def _put_stage(
    index: Index, places: Places, number: int, modules: Sequence[Groups], rows: Rows
) -> list[Groups]:
    new: list[Groups] = []
    for j, groups in enumerate(modules):
        new.append({group: dict(kinds) for group, kinds in groups.items()})
        for kind in KINDS:
            for group, piece in _pieces(index, places, (number, j), groups, kind).items():
                new[-1][group][kind] = _put_rows(piece, rows[kind])
    return new


def _put_rows(piece: Piece, rows: jax.Array) -> jax.Array:
    leaf, found = piece.leaf, piece.found
    beyond = leaf.shape[1]  # where writes are dropped
    slots = jnp.where(found.held, found.slots, beyond)
    return leaf.at[jnp.arange(len(leaf)), slots].set(
        rows[:, piece.start : piece.start + leaf.shape[2]],
        mode="drop",
        unique_indices=True,
        wrap_negative_indices=False,
    )
