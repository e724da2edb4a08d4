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
    """Choices that run in the same arrays, those of the largest; see `Choice.branch`.

    Attributes:
      graph: of the module of the first.
      choices: their numbers in the space; the first has all arrays that any of them has.
      bundles: those that it has arrays in.
      taps: by choice of the space, see `Choice.taps`; empty if one size, or none, is there.
    """

    graph: nnx.GraphDef
    choices: tuple[int, ...]
    bundles: tuple[Bundle, ...]
    taps: tuple[int, ...]

    def shapes(self, bundle: Bundle, leaf: Leaf) -> dict[int, Dimensions]:
        """Of an array in each of the choices that have it."""
        own = {choice: bundle.index[choice] for choice in self.choices}
        return {choice: leaf.shapes[index] for choice, index in own.items() if index >= 0}


@dataclass(frozen=True)
class Group:
    """Choices whose modules are one, but for shapes, and for arrays that some do without.

    Attributes:
      graph: of a module with all arrays; it knows no shapes.
      choices: their numbers in the space.
      bundles: all arrays.
      branches: the choices by shapes.
    """

    graph: nnx.GraphDef
    choices: tuple[int, ...]
    bundles: tuple[Bundle, ...]
    branches: tuple[Branch, ...]


@dataclass(frozen=True)
class Stage:
    """Layers of equal shape that follow each other: their numbers, and the groups of choices."""

    layers: range
    shape: Shape
    groups: tuple[Group, ...]

    @property
    def bundles(self) -> list[Bundle]:
        return [bundle for group in self.groups for bundle in group.bundles]


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
    names = dict.fromkeys(choice.group for choice in choices if choice)
    groups: list[Group] = []
    params: Params = {}
    stats: Stats = {}
    for name in names:
        own = {n: choice for n, choice in enumerate(choices) if choice and choice.group == name}
        built = {
            n: [functional.split(choice.build(shape, style, rng)) for _ in layers]
            for n, choice in own.items()
        }
        groups.append(_group(name, own, {n: nets[0] for n, nets in built.items()}, len(choices)))
        for bundle in groups[-1].bundles:
            networks = [built[n] for n in bundle.choices]
            params[bundle.name] = _stack(bundle.params, [[n.params for n in c] for c in networks])
            stats[bundle.name] = _stack(bundle.stats, [[n.stats for n in c] for c in networks])
    return Stage(layers, shape, tuple(groups)), params, stats


def _group(
    name: str, choices: Mapping[int, Choice], networks: Mapping[int, Network], num_choices: int
) -> Group:
    params = {n: functional.flatten(network.params) for n, network in networks.items()}
    stats = {n: functional.flatten(network.stats) for n, network in networks.items()}
    everything = tuple(networks)
    owners: dict[Path, tuple[int, ...]] = {}
    for path in dict.fromkeys(path for n in networks for path in (*params[n], *stats[n])):
        owners[path] = tuple(n for n in networks if path in params[n] or path in stats[n])

    def leaves(arrays: Mapping[int, Flat], owner: tuple[int, ...]) -> tuple[Leaf, ...]:
        absent = choices[everything[0]].absent
        return tuple(
            Leaf(path, tuple(arrays[n][path].shape for n in owner), absent(path))
            for path in owners
            if owners[path] == owner and path in arrays[owner[0]]
        )

    bundles = []
    for owner in sorted(dict.fromkeys([everything, *owners.values()]), key=len, reverse=True):
        own = next((path[0] for path in owners if owners[path] == owner), "")
        index = tuple(owner.index(n) if n in owner else -1 for n in range(num_choices))
        full_name = name if owner == everything else f"{name}_{own}"
        bundles.append(Bundle(full_name, owner, index, leaves(params, owner), leaves(stats, owner)))
    fullest = max(networks, key=lambda n: len(params[n]))
    if {*params[fullest], *stats[fullest]} != {*owners}:
        raise ValueError(f"no choice of the group {name!r} has all of its arrays")
    branches: dict[Hashable, list[int]] = {}
    for n in sorted(networks, key=lambda n: -len(params[n])):
        branches.setdefault(choices[n].branch, []).append(n)
    return Group(
        networks[fullest].graphdef,
        everything,
        tuple(bundles),
        tuple(
            Branch(
                networks[branch[0]].graphdef,
                tuple(branch),
                tuple(bundle for bundle in bundles if branch[0] in bundle.choices),
                _taps([choices[n].taps if n in branch else 0 for n in range(num_choices)], branch),
            )
            for branch in branches.values()
        ),
    )


def _taps(taps: list[int], branch: list[int]) -> tuple[int, ...]:
    return tuple(taps) if len({taps[n] for n in branch}) > 1 else ()


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


def crop(array: jax.Array, shape: Dimensions) -> jax.Array:
    """What `start` put into a larger array."""
    return lax.dynamic_slice(array, start(shape, array.shape), shape)
