"""Search tasks whose true Pareto fronts are known, for the engine and its peers alike.

Two kinds: the ZDT and DTLZ functions on integers, and synthetic architecture searches in S2 with
its real MACs, whose fronts a dynamic programme finds exactly. Every value is to be minimised.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import moocore
import numpy as np
from numpy.typing import NDArray

from scarlet_jax import cost
from scarlet_jax.blocks import InvertedBottleneckChoice
from scarlet_jax.path_table import PathTable
from scarlet_jax.space import S2, Array

Values = NDArray[np.float64]
LEVELS = 13  # as many as S2's choices
MARGIN = 0.1  # of the front's range: how far beyond its worst values the reference lies


@dataclass(frozen=True, eq=False)
class Task:
    """What is searched: architectures `int32[P, depth]` below `num_choices`.

    `score` gives the objectives that need an evaluation, `[P, M]`; `tables` the others.
    """

    name: str
    depth: int
    num_choices: int
    score: Callable[[Array], Values]
    tables: tuple[PathTable, ...]
    front: Values  # float64[F, K], the true one: evaluated objectives, then tables
    bounds: tuple[tuple[PathTable, float, float], ...] = ()  # cost, least, most

    def values(self, architectures: Array) -> Values:
        """All objectives, `float64[P, K]`."""
        computed = [table(architectures)[:, None] for table in self.tables]
        return np.concatenate([self.score(architectures), *computed], axis=1)

    def reached(self, architectures: Array) -> float:
        """Hypervolume as a share of the true front's.

        The reference point is the front's worst value in each objective, and a tenth of its
        range beyond; objectives are scaled by that range.
        """
        low, high = self.front.min(axis=0), self.front.max(axis=0)
        scaled = (self.values(architectures) - low) / (high - low)
        return float(moocore.hypervolume(scaled, ref=self._reference) / self._true)

    @property
    def _reference(self) -> Values:
        return np.full(self.front.shape[1], 1 + MARGIN)

    @cached_property
    def _true(self) -> float:
        low, high = self.front.min(axis=0), self.front.max(axis=0)
        return float(moocore.hypervolume((self.front - low) / (high - low), ref=self._reference))


def zdt1(seed: int) -> Task:
    """ZDT1, convex: the front is at 0 in all variables but the first. The seed says nothing."""
    return _zdt("ZDT1", lambda f1, g: g * (1 - np.sqrt(f1 / g)))


def zdt2(seed: int) -> Task:
    """ZDT2, concave. The seed says nothing."""
    return _zdt("ZDT2", lambda f1, g: g * (1 - (f1 / g) ** 2))


def dtlz2(seed: int) -> Task:
    """DTLZ2 with 3 objectives: an octant of a sphere. The seed says nothing."""

    def score(architectures: Array) -> Values:
        angles = architectures[:, :2] / (LEVELS - 1) * np.pi / 2
        # The middle level is the optimum of the other variables.
        radius = 1 + ((architectures[:, 2:] / (LEVELS - 1) - 0.5) ** 2).sum(axis=1)
        (first, second), (third, fourth) = np.cos(angles).T, np.sin(angles).T
        return np.stack([radius * first * second, radius * first * fourth, radius * third], axis=1)

    grid = np.stack(np.meshgrid(*[np.arange(LEVELS)] * 2), axis=-1).reshape(-1, 2)
    optimal = np.full((len(grid), 12), LEVELS // 2)
    optimal[:, :2] = grid
    return Task("DTLZ2, 3 objectives", 12, LEVELS, score, (), score(optimal.astype(np.int32)))


def additive(seed: int) -> Task:
    """S2 with a utility for each choice of each layer: larger blocks tend to be better."""
    return _architectures("S2, additive utilities", seed, main=1.0, pairs=0.0)


def paired(seed: int) -> Task:
    """The same, and each pair of choices in neighbouring layers has a utility of its own."""
    return _architectures("S2, with pairs", seed, main=1.0, pairs=0.3)


def pairs_alone(seed: int) -> Task:
    """Pairs alone: no choice is worth anything by itself."""
    return _architectures("S2, pairs alone", seed, main=0.0, pairs=1.0)


def bounded_additive(seed: int) -> Task:
    """`additive` within bounds that 1 random architecture in 100,000 satisfies.

    The front is that without bounds: nobody knows the true one.
    """
    return _bounded(additive(seed))


def bounded_pairs(seed: int) -> Task:
    """`pairs_alone` within the same bounds; the front is that without them as well."""
    return _bounded(pairs_alone(seed))


TASKS: dict[str, Callable[[int], Task]] = {
    function.__name__: function for function in (zdt1, zdt2, dtlz2, additive, paired, pairs_alone)
}


def _zdt(name: str, second: Callable[[Values, Values], Values]) -> Task:
    def score(architectures: Array) -> Values:
        levels = architectures / (LEVELS - 1)
        g = 1 + 9 * levels[:, 1:].mean(axis=1)
        return np.stack([levels[:, 0], second(levels[:, 0], g)], axis=1)

    optimal = np.zeros((LEVELS, 19), np.int32)
    optimal[:, 0] = np.arange(LEVELS)
    return Task(name, 19, LEVELS, score, (), score(optimal))


def _bounded(task: Task) -> Task:
    counts = cost.tables(S2)
    bounds = ((counts.macs, 350e6, 400e6), (counts.params, 0.0, 3e6))
    return replace(
        task, name=f"{task.name}, in 350 to 400 M MACs and 3 M parameters", bounds=bounds
    )


def _architectures(name: str, seed: int, main: float, pairs: float) -> Task:
    rng = np.random.default_rng(seed)
    depth, num_choices = S2.depth, S2.num_choices
    capacity = [
        choice.expansion / 6 + choice.kernel / 7 + 0.5 * choice.se
        if isinstance(choice, InvertedBottleneckChoice)
        else 0.0
        for choice in S2.choices
    ]
    alone = main * (1.5 * np.array(capacity) + 0.5 * rng.normal(size=(depth, num_choices)))
    joint = pairs * rng.normal(size=(depth - 1, num_choices, num_choices))
    layer = np.arange(depth)

    def score(architectures: Array) -> Values:
        utility = alone[layer, architectures].sum(axis=1)
        utility += joint[layer[:-1], architectures[:, :-1], architectures[:, 1:]].sum(axis=1)
        return -utility[:, None]

    macs = cost.tables(S2).macs
    return Task(name, depth, num_choices, score, (macs,), exact_front(alone, joint, macs))


def exact_front(alone: Values, joint: Values, table: PathTable) -> Values:
    """The true front of utility, negated, and a tabled cost, `float64[F, 2]`.

    A dynamic programme over layers: all that the rest of a path depends on is its last choice
    and the source of its next layer, so only what is non-dominated among paths with the same
    two need be kept.

    Args:
      alone: `float64[L, N]`, the utility of each choice in each layer.
      joint: `float64[L - 1, N, N]`, of each pair of choices in a layer and the next.
      table: the cost.
    """
    depth = len(alone)
    fronts: dict[tuple[int, int], Values] = {(-1, 0): np.array([[0.0, float(table.stem)]])}
    for layer in range(depth):
        reached: dict[tuple[int, int], list[Values]] = {}
        for (last, source), paths in fronts.items():
            for choice in np.flatnonzero(table.allowed[layer]).tolist():
                gain = alone[layer, choice] + (joint[layer - 1, last, choice] if layer else 0)
                after = source if table.keeps_width[choice] else layer + 1
                step = np.array([-gain, table.layers[layer, choice, source]])
                reached.setdefault((choice, after), []).append(paths + step)
        fronts = {state: non_dominated(np.concatenate(parts)) for state, parts in reached.items()}
    ends = [paths + np.array([0, table.head[source]]) for (_, source), paths in fronts.items()]
    return non_dominated(np.concatenate(ends))


def non_dominated(values: Values) -> Values:
    """The rows of `float64[P, K]` that no other dominates, each once."""
    return values[moocore.is_nondominated(values)]
