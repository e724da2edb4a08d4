"""The weights of a supernet's layers: every array by name, with axes `[layers, choices]` in front.

Layers of equal shape that follow each other form a stage. Choices of one group, such as all
inverted bottlenecks, share arrays, each padded with zeros to the largest. What only some of a group
have, as squeeze-and-excitation, is a bundle of its own. So a stage's weights are
`{bundle: {name: array[layers, choices, ...]}}`, and those of a path `array[layer, choice]` of each.
"""

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import jax
import numpy as np
from flax import nnx
from jax import lax

from scarlet_jax.blocks import Choice, Shape, Style
from scarlet_jax.nn import functional
from scarlet_jax.nn.functional import Arrays, KeyPath, Params, Stats

Dimensions = tuple[int, ...]


@dataclass(frozen=True)
class Leaf:
    """An array of several choices, padded to the largest."""

    names: KeyPath  # that lead to it in their modules
    shapes: tuple[Dimensions, ...]  # of each choice's own
    absent: float | None  # what fills it for a choice of the group without it: `Choice.absent`


@dataclass(frozen=True)
class Bundle:
    """Parameters and statistics that the same choices of a group have."""

    name: str  # in the tree of a stage
    index: tuple[int, ...]  # of the space's choices, along the arrays' second axis; -1: nowhere
    leaves: tuple[Leaf, ...]

    def arrays(self, tree: Params) -> Iterator[tuple[Leaf, jax.Array]]:
        """Those of a stage's parameters or statistics, each with what is known of it."""
        flat = functional.flatten(tree[self.name])
        return ((leaf, flat[leaf.names]) for leaf in self.leaves if leaf.names in flat)


@dataclass(frozen=True)
class Branch:
    """Choices that run in the same arrays, those of the largest."""

    graphdef: nnx.GraphDef  # of a module with all arrays that any of them has; it knows no shapes
    choices: tuple[int, ...]  # their numbers in the space
    bundles: tuple[Bundle, ...]  # that they have arrays in
    taps: tuple[tuple[int, int], ...]  # `Choice.taps` by choice; empty if they are all the same


@dataclass(frozen=True)
class Stage:
    """Layers of equal shape that follow each other."""

    layers: range  # their numbers
    shape: Shape  # of their blocks
    bundles: tuple[Bundle, ...]  # of their arrays
    groups: tuple[Branch, ...]  # their choices by `Choice.group`
    branches: tuple[Branch, ...]  # their choices by `Choice.group` and `Choice.branch`


def create(
    choices: Sequence[Choice | None],
    shape: Shape,
    style: Style,
    layers: range,
    rng: np.random.Generator,
) -> tuple[Stage, Params, Stats]:
    """A stage with random weights, as NumPy's arrays.

    Args:
      choices: all of the space; None for those that these layers do not have.
      shape, style: of their blocks.
      layers: their numbers.
      rng: of the weights.

    Raises:
      ValueError: if no choice of a group has the arrays of all of it, or different ones have parts
        of one module.
    """
    own = {n: choice for n, choice in enumerate(choices) if choice is not None}
    built = {
        n: [functional.split(choice.build(shape, style, rng)) for _ in layers]
        for n, choice in own.items()
    }
    params = {n: [functional.flatten(layer.params) for layer in built[n]] for n in own}
    stats = {n: [functional.flatten(layer.stats) for layer in built[n]] for n in own}
    shapes = {n: {path: a.shape for path, a in (params[n][0] | stats[n][0]).items()} for n in own}

    groups = _alike({n: choice.group for n, choice in own.items()})
    branches = _alike({n: (choice.group, choice.branch) for n, choice in own.items()})
    bundles = [bundle for group in groups for bundle in _bundles(group, own, shapes, len(choices))]
    if len({bundle.name for bundle in bundles}) < len(bundles):
        raise ValueError(f"two bundles of one name: {', '.join(b.name for b in bundles)}")

    def branch(members: Sequence[int]) -> Branch:
        fullest = max(members, key=lambda n: len(shapes[n]))
        if any(shapes[n].keys() - shapes[fullest].keys() for n in members):
            names = ", ".join(own[n].name for n in members)
            raise ValueError(f"of {names}, none has the arrays of all others")
        taps = tuple((n, own[n].taps) for n in members)
        return Branch(
            built[fullest][0].graphdef,
            tuple(members),
            tuple(bundle for bundle in bundles if bundle.index[fullest] >= 0),
            taps if len({size for _, size in taps}) > 1 else (),
        )

    stage = Stage(
        layers, shape, tuple(bundles), tuple(map(branch, groups)), tuple(map(branch, branches))
    )
    return (
        stage,
        {bundle.name: _stack(bundle, params) for bundle in bundles},
        {bundle.name: _stack(bundle, stats) for bundle in bundles},
    )


def _alike(keys: Mapping[int, Hashable]) -> list[list[int]]:
    """The numbers, by equal keys."""
    return [[n for n, own in keys.items() if own == key] for key in dict.fromkeys(keys.values())]


def _bundles(
    group: Sequence[int],
    choices: Mapping[int, Choice],
    shapes: Mapping[int, Mapping[KeyPath, Dimensions]],
    num_choices: int,
) -> Iterator[Bundle]:
    """Of the choices of a group, the arrays that the same ones have."""
    owners = {
        path: tuple(n for n in group if path in shapes[n]) for n in group for path in shapes[n]
    }
    for members in dict.fromkeys(owners.values()):
        paths = [path for path in owners if owners[path] == members]
        first = choices[members[0]]
        yield Bundle(
            first.group if len(members) == len(group) else f"{first.group}_{paths[0][0]}",
            tuple(members.index(n) if n in members else -1 for n in range(num_choices)),
            tuple(
                Leaf(path, tuple(shapes[n][path] for n in members), first.absent(path))
                for path in paths
            ),
        )


def _stack(bundle: Bundle, arrays: Mapping[int, Sequence[Arrays]]) -> Params:
    """Of the choices' arrays by layer, those of a bundle: `[layers, choices, ...]`."""
    own = [arrays[number] for number, index in enumerate(bundle.index) if index >= 0]
    stacked: Arrays = {}
    for leaf in bundle.leaves:
        if leaf.names in own[0][0]:
            padded = [[_pad(layer[leaf.names], largest(leaf.shapes)) for layer in o] for o in own]
            stacked[leaf.names] = np.stack([np.stack(layers) for layers in padded], axis=1)
    return functional.unflatten(stacked)


def _pad(array: np.ndarray, whole: Dimensions) -> np.ndarray:
    before = np.array(start(array.shape, whole), int)
    return np.pad(array, np.stack([before, np.array(whole) - array.shape - before], axis=-1))


def largest(shapes: Iterable[Dimensions]) -> Dimensions:
    """The shape that all fit into."""
    return tuple(max(sizes) for sizes in zip(*shapes, strict=True))


def start(own: Dimensions, whole: Dimensions) -> Dimensions:
    """Where an array lies in a larger one: channels first; taps, which are the first two axes of a
    kernel with more, in the middle, so that they see the same pixels."""
    return tuple(
        (most - size) // 2 if len(own) > 2 and axis < 2 else 0
        for axis, (size, most) in enumerate(zip(own, whole, strict=True))
    )


def crop(array: jax.Array, shape: Dimensions) -> jax.Array:
    """What `start` put into a larger array."""
    return lax.dynamic_slice(array, start(shape, array.shape), shape)
