"""How a supernet keeps its arrays, and how a path's arrays are taken out and written back.

All blocks of a layer lie one after the other in a row, and equal layers in a stack `[layers, n]`.
A path has rows as well, but as long as the longest block: for each layer the weights of the one
block on it, whatever the block. So a path is taken out by one slice a layer, and gradients and
updates are as large as the path, not as large as the supernet.

A supernet's tree is `{"stem": ..., "stages": [{kind: stack}], "head": ...}`; a path's tree is the
same with rows in place of stacks. A block has three groups of arrays: those it has once, those of
its parts (`nn.bank`), part by part, and those of SE, part by part.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

GROUPS = ("shared", "part", "se")  # in the order of a block
PARTED = ("part", "se")  # groups of arrays that come in parts
KINDS = ("kernel", "vector", "statistic")  # those of statistics, and of parameters the others
Rows = dict[str, jax.Array]  # by kind


@dataclass(frozen=True)
class Place:
    """Where an array of a part lies: its names, the first its group; its offset and shape."""

    path: tuple[str, ...]
    kind: str
    offset: int
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Section:
    """Where a group's arrays of one kind lie in a block.

    Attributes:
      start: where they begin, and `after_parts` more for each part of the block.
      size: of one part.
    """

    group: str
    kind: str
    start: int
    after_parts: int
    size: int


@dataclass(frozen=True)
class Layout:
    """Where the arrays of a block lie, whatever its parts; `room` is how many there may be."""

    places: tuple[Place, ...]
    sections: tuple[Section, ...]
    room: int


@dataclass(frozen=True)
class Stack:
    """Where the blocks of a layer lie in a stack of one kind.

    Attributes:
      layers: along its first axis.
      starts: along its second, by choice.
      sizes: of each.
      longest: of a row.
    """

    kind: str
    layers: range
    starts: tuple[int, ...]
    sizes: tuple[int, ...]
    longest: int


Index = tuple[tuple[Stack, ...], ...]  # by stage


def lay_out(tree: Any, room: int) -> Layout:
    """Where the arrays of a block go.

    Args:
      tree: `{group: ...}` of arrays `[layers, ...]`, those of the groups in `PARTED`
        `[layers, parts, ...]`.
      room: parts of the widest block of the layer.
    """
    places: list[Place] = []
    sizes: dict[tuple[str, str], int] = {}
    for keypath, leaf in jax.tree_util.tree_leaves_with_path(tree):
        path = tuple(key.key for key in keypath)
        kind = _kind(path[-1])
        shape = leaf.shape[2 if path[0] in PARTED else 1 :]
        offset = sizes.get((path[0], kind), 0)
        places.append(Place(path, kind, offset, shape))
        sizes[path[0], kind] = offset + int(np.prod(shape))
    sections = []
    for kind in KINDS:
        start = after_parts = 0
        for group in GROUPS:
            if (group, kind) in sizes:
                size = sizes[group, kind]
                sections.append(Section(group, kind, start, after_parts, size))
                if group in PARTED:
                    after_parts += size
                else:
                    start += size
    return Layout(tuple(places), tuple(sections), room)


def pack(
    trees: Sequence[Any], layout: Layout, layers: range
) -> tuple[dict[str, np.ndarray], list[Stack]]:
    """Flattens the blocks of layers into stacks.

    Args:
      trees: a tree for each choice, as `lay_out` takes it.
      layout: of the widest block.
      layers: their numbers.
    """
    blocks = [_flat_block(tree, len(layers)) for tree in trees]
    arrays, stacks = {}, []
    for kind in KINDS:
        own = [block[kind] for block in blocks]
        sizes = [array.shape[1] for array in own]
        if any(sizes):
            # The longest last: a row is in range from every start, if there is a block so long.
            order = np.argsort(sizes, kind="stable")
            starts = np.zeros(len(sizes), int)
            starts[order[1:]] = np.cumsum(np.array(sizes)[order])[:-1]
            longest = max(_length(layout, kind), *sizes)
            tail = np.zeros((len(layers), longest - max(sizes)), np.float32)
            arrays[kind] = np.concatenate([*(own[i] for i in order), tail], axis=1)
            stacks.append(Stack(kind, layers, tuple(starts.tolist()), tuple(sizes), longest))
    return arrays, stacks


def _length(layout: Layout, kind: str) -> int:
    sections = [section for section in layout.sections if section.kind == kind]
    return sum(s.size * (layout.room if s.group in PARTED else 1) for s in sections)


def _kind(name: str) -> str:
    return {"kernel": "kernel", "mean": "statistic", "var": "statistic"}.get(name, "vector")


def _flat_block(tree: Any, layers: int) -> dict[str, np.ndarray]:
    """The arrays of a block by kind, `[layers, n]`, in the order of a layout."""
    flat: dict[str, list[np.ndarray]] = {
        kind: [np.zeros((layers, 0), np.float32)] for kind in KINDS
    }
    for group in GROUPS:
        of_kind: dict[str, list[np.ndarray]] = {}
        for keypath, leaf in jax.tree_util.tree_leaves_with_path(tree.get(group, {})):
            parts = leaf.shape[1] if group in PARTED else 1
            array = np.reshape(leaf, (layers, parts, -1))
            of_kind.setdefault(_kind(keypath[-1].key), []).append(array)
        for kind, arrays in of_kind.items():
            flat[kind].append(np.concatenate(arrays, axis=2).reshape(layers, -1))
    return {kind: np.concatenate(arrays, axis=1) for kind, arrays in flat.items()}


def unpack(layout: Layout, rows: Rows, group: str, part: Any = None, parts: Any = 0) -> Any:
    """The arrays of a group in the rows `[n]` of a layer; of one part, or of all, `[room, ...]`.

    Groups without parts have one, and no axis for it. Parts that a block lacks are not zero if
    another group follows.

    Args:
      layout: of the block.
      rows: by kind.
      group: its name.
      part: `int32[]`, which; None for all.
      parts: of the block; needed for what lies after parts, which is SE.
    """
    tree: dict[str, Any] = {}
    flat = {}
    for section in _sections(layout, group):
        stacked = group in PARTED and part is None
        shape = (layout.room, section.size) if stacked else (section.size,)
        start = _start(section, parts, 0 if part is None else part)
        row = lax.dynamic_slice(
            rows[section.kind], start, (int(np.prod(shape)),), allow_negative_indices=False
        )
        flat[section.kind] = row.reshape(shape)
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


def repack(
    layout: Layout, rows: Rows, group: str, tree: Any, part: Any = 0, parts: Any = 0
) -> Rows:
    """Rows with the arrays of a group written in: the inverse of `unpack`.

    Args:
      layout, rows, group, parts: as there.
      tree: arrays of the given part; those of all parts, `[room, ...]`, from part 0 on.
      part: `int32[]`.
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
        start = _start(section, parts, part)
        new[section.kind] = lax.dynamic_update_slice(
            new[section.kind], piece, start, allow_negative_indices=False
        )
    return new


def _start(section: Section, parts: Any, part: Any) -> tuple[Any]:
    return (section.start + parts * section.after_parts + part * section.size,)


def _sections(layout: Layout, group: str) -> list[Section]:
    return [section for section in layout.sections if section.group == group]


def take(index: Index, tree: Any, architecture: jax.Array) -> Any:
    """The arrays of a path.

    Args:
      index: of the supernet.
      tree: its parameters or statistics, or what holds such trees, as an optimizer's state.
      architecture: `int32[L]`.

    Returns:
      The tree with rows `[layers, n]` in place of stacks, n of the longest block; what all paths
      share is as it was. Beyond the arrays of a layer's block, a row holds zeros.
    """
    found = _find(index, architecture)

    def one(network: Any) -> Any:
        if not _is_network(network):
            return network
        stages = [
            {kind: _take_rows(stack, *where[kind]) for kind, stack in stage.items()}
            for where, stage in zip(found, network["stages"], strict=True)
        ]
        return {**network, "stages": stages}

    return jax.tree.map(one, tree, is_leaf=_is_network)


def put(index: Index, tree: Any, part: Any, architecture: jax.Array) -> Any:
    """Writes a path's arrays back: the inverse of `take`."""
    found = _find(index, architecture)

    def one(network: Any, path: Any) -> Any:
        if not _is_network(network):
            return path
        stages = [
            {kind: _put_rows(stack, rows[kind], *where[kind][1:]) for kind, stack in stage.items()}
            for where, stage, rows in zip(found, network["stages"], path["stages"], strict=True)
        ]
        return {**path, "stages": stages}

    return jax.tree.map(one, tree, part, is_leaf=_is_network)


class Found(NamedTuple):
    """Where the blocks of a path lie in a stack, and how long a row is."""

    longest: int
    starts: jax.Array  # int32[layers]
    sizes: jax.Array  # int32[layers]


def _find(index: Index, architecture: jax.Array) -> list[dict[str, Found]]:
    """By stage and kind. One look-up for all, as each would be kernels to compile."""
    flat = [stack for stage in index for stack in stage]
    tables = jnp.array([(stack.starts, stack.sizes) for stack in flat], jnp.int32)
    chosen = architecture[:, None] == jnp.arange(tables.shape[2], dtype=jnp.int32)
    found = (tables[:, :, None] * chosen).sum(-1)  # [stacks, 2, L]
    places = iter(found)
    return [
        {
            stack.kind: Found(
                stack.longest, *next(places)[:, stack.layers.start : stack.layers.stop]
            )
            for stack in stage
        }
        for stage in index
    ]


def _is_network(tree: Any) -> bool:
    return isinstance(tree, dict) and "stages" in tree


@partial(jax.jit, static_argnums=1)
def _take_rows(stack: jax.Array, longest: int, starts: jax.Array, sizes: jax.Array) -> jax.Array:
    """Copies in a loop: what is chosen by an index, XLA would fuse with all that reads the rows."""

    def copy(layer: jax.Array, rows: jax.Array) -> jax.Array:
        block = _slice_of(stack, layer, starts[layer], longest)
        own = jnp.where(jnp.arange(longest) < sizes[layer], block, 0)
        return lax.dynamic_update_slice(rows, own, (layer, 0), allow_negative_indices=False)

    rows = lax.empty((len(stack), longest), stack.dtype)
    return lax.fori_loop(0, len(stack), copy, rows)


@jax.jit
def _put_rows(stack: jax.Array, rows: jax.Array, starts: jax.Array, sizes: jax.Array) -> jax.Array:
    longest = rows.shape[1]

    def write(layer: jax.Array, stack: jax.Array) -> jax.Array:
        start = starts[layer]
        own = jnp.arange(longest) < sizes[layer]
        block = jnp.where(own, rows[layer], _slice_of(stack, layer, start, longest))
        return lax.dynamic_update_slice(stack, block, (layer, start), allow_negative_indices=False)

    return lax.fori_loop(0, len(stack), write, stack)


def _slice_of(stack: jax.Array, layer: jax.Array, start: jax.Array, size: int) -> jax.Array:
    return lax.dynamic_slice(stack, (layer, start), (1, size), allow_negative_indices=False)
