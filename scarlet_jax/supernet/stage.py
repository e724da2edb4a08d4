"""The weights of a supernet's layers: every array by name, with axes `[layers, choices]` in front.

Layers of equal shape that follow each other form a stage. Choices of one group, such as all
inverted bottlenecks, share arrays, each padded with zeros to the largest. What only some of a group
have, as squeeze-and-excitation, is a bundle of its own. So a stage's weights are
`{bundle: {name: array[layers, choices, ...]}}`, and those of a path `array[layer, choice]` of each.
"""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from flax import nnx
from jax import lax

from scarlet_jax.blocks import Choice, Shape, Style
from scarlet_jax.nn import functional
from scarlet_jax.nn.functional import Network, Params, Path, Stats
from scarlet_jax.space import Layer, Space

Flat = dict[Path, Any]  # arrays by the names that lead to them
Dimensions = tuple[int, ...]


@dataclass(frozen=True)
class Leaf:
    """An array of several choices, padded to the largest.

    Attributes:
      path: its names in their modules.
      shapes: of each choice's own.
      absent: what stands for it in a choice of the group without it.
    """

    path: Path
    shapes: tuple[Dimensions, ...]
    absent: float


@dataclass(frozen=True)
class Bundle:
    """Arrays that the same choices of a group have.

    Attributes:
      name: in the tree of a stage.
      choices: their numbers in the space, in the order of the arrays' second axis.
      index: where each of the space's choices is along that axis; -1 for those without.
      params, stats: the arrays.
    """

    name: str
    choices: tuple[int, ...]
    index: tuple[int, ...]
    params: tuple[Leaf, ...]
    stats: tuple[Leaf, ...]


@dataclass(frozen=True)
class Branch:
    """Choices that run in the same arrays, those of the largest.

    Attributes:
      graph: of a module with all arrays that any of them has; it knows no shapes.
      choices: their numbers in the space.
      bundles: that they have arrays in.
      taps: by choice of the space, see `Choice.taps`; empty if one size, or none, is there.
    """

    graph: nnx.GraphDef
    choices: tuple[int, ...]
    bundles: tuple[Bundle, ...]
    taps: tuple[int, ...]


@dataclass(frozen=True)
class Group:
    """Choices that share arrays: all of them as one branch, and by `Choice.branch`."""

    whole: Branch
    branches: tuple[Branch, ...]


@dataclass(frozen=True)
class Stage:
    """Layers of equal shape that follow each other: their numbers, and the groups of choices."""

    layers: range
    shape: Shape
    groups: tuple[Group, ...]

    @property
    def bundles(self) -> list[Bundle]:
        return [bundle for group in self.groups for bundle in group.whole.bundles]


def shapes(space: Space) -> list[tuple[Shape, range]]:
    """The runs of equal layers, each with their numbers; one that changes width or stride stands
    alone."""
    found: list[tuple[Shape, Layer, range]] = []
    for number, (c_in, layer) in enumerate(zip(space.widths[:-1], space.layers, strict=True)):
        shape = Shape(c_in, layer.width, layer.stride)
        if found and shape.preserves_shape and found[-1][:2] == (shape, layer):
            found[-1] = (shape, layer, range(found[-1][2].start, number + 1))
        else:
            found.append((shape, layer, range(number, number + 1)))
    return [(shape, layers) for shape, _, layers in found]


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
    """
    groups: list[Group] = []
    params: Params = {}
    stats: Stats = {}
    for name in dict.fromkeys(choice.group for choice in choices if choice):
        own = {n: choice for n, choice in enumerate(choices) if choice and choice.group == name}
        built = {
            n: [functional.split(choice.build(shape, style, rng)) for _ in layers]
            for n, choice in own.items()
        }
        groups.append(_group(name, own, {n: nets[0] for n, nets in built.items()}, len(choices)))
        for bundle in groups[-1].whole.bundles:
            networks = [built[n] for n in bundle.choices]
            params[bundle.name] = _stack(bundle.params, [[n.params for n in c] for c in networks])
            stats[bundle.name] = _stack(bundle.stats, [[n.stats for n in c] for c in networks])
    return Stage(layers, shape, tuple(groups)), params, stats


def _group(
    name: str, choices: Mapping[int, Choice], networks: Mapping[int, Network], num_choices: int
) -> Group:
    """From the networks of one layer."""
    arrays = {
        n: (functional.flatten(network.params), functional.flatten(network.stats))
        for n, network in networks.items()
    }
    owners: dict[Path, tuple[int, ...]] = {}  # of each array
    for path in dict.fromkeys(path for kinds in arrays.values() for kind in kinds for path in kind):
        owners[path] = tuple(n for n, kinds in arrays.items() if any(path in k for k in kinds))

    def bundle(owner: tuple[int, ...]) -> Bundle:
        own = [path for path in owners if owners[path] == owner]
        params, stats = (
            tuple(
                Leaf(
                    path,
                    tuple(arrays[n][kind][path].shape for n in owner),
                    choices[owner[0]].absent(path),
                )
                for path in own
                if path in arrays[owner[0]][kind]
            )
            for kind in (0, 1)
        )
        index = tuple(owner.index(n) if n in owner else -1 for n in range(num_choices))
        suffix = "" if len(owner) == len(choices) else f"_{own[0][0]}"
        return Bundle(name + suffix, owner, index, params, stats)

    bundles = [bundle(owner) for owner in dict.fromkeys([tuple(networks), *owners.values()])]

    def branch(own: Sequence[int]) -> Branch:
        fullest = max(own, key=lambda n: len(arrays[n][0]))
        if any(set(own) & set(b.choices) and fullest not in b.choices for b in bundles):
            raise ValueError(f"of {name}, no choice has the arrays of all of {own}")
        taps = tuple(choices[n].taps if n in own else 0 for n in range(num_choices))
        return Branch(
            networks[fullest].graphdef,
            tuple(own),
            tuple(b for b in bundles if fullest in b.choices),
            taps if len({taps[n] for n in own}) > 1 else (),
        )

    by_branch: dict[Hashable, list[int]] = {}
    for n, choice in choices.items():
        by_branch.setdefault(choice.branch, []).append(n)
    return Group(branch(list(networks)), tuple(map(branch, by_branch.values())))


def _stack(leaves: Iterable[Leaf], trees: Sequence[Sequence[Params]]) -> Params:
    """Arrays `[layers, choices, ...]` of trees by choice and layer."""
    stacked: Flat = {}
    for leaf in leaves:
        whole = largest(leaf.shapes)
        array = np.zeros((len(trees[0]), len(trees), *whole), np.float32)
        for choice, (shape, layers) in enumerate(zip(leaf.shapes, trees, strict=True)):
            first = start(shape, whole)
            inside = tuple(slice(s, s + n) for s, n in zip(first, shape, strict=True))
            for layer, tree in enumerate(layers):
                array[layer, choice][inside] = functional.flatten(tree)[leaf.path]
        stacked[leaf.path] = array
    return functional.unflatten(stacked)


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
