"""What is searched: the space, the objectives and their weights, the constraints, the settings.

Everything is checked here, before any architecture is evaluated.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scarlet_jax import cost
from scarlet_jax.errors import InputError
from scarlet_jax.space import Array, Space


@dataclass(frozen=True)
class Objective:
    """A column of the history, whether more of it is better, and whether it is evaluated.

    Evaluated are the paper's M objectives that need the supernet; the K - M others are
    computed from the architecture alone.
    """

    name: str
    maximize: bool
    evaluated: bool


OBJECTIVES = {
    objective.name: objective
    for objective in (
        Objective("accuracy", maximize=True, evaluated=True),
        Objective("macs", maximize=False, evaluated=False),
        Objective("params", maximize=False, evaluated=False),
    )
}


@dataclass(frozen=True)
class Problem:
    """A search problem; the fields after `channels` are those of `config.search`.

    Raises:
      InputError: for a setting out of range, naming it and what is allowed.
    """

    space: Space
    image_size: int
    num_classes: int
    channels: int
    population: int
    generations: int
    mutation_ratio: float
    p_random: float
    p_reinforced: float
    p_prior: float
    p_evaluated: float
    objectives: tuple[str, ...]
    weights: tuple[float, ...]
    macs_min: int
    macs_max: int
    params_max: int
    accuracy_min: float
    max_tries: int
    picks: int

    def __post_init__(self) -> None:
        _check_settings(self)
        _check_objectives(self)
        _check_bounds(self)

    @property
    def objective_specs(self) -> tuple[Objective, ...]:
        return tuple(OBJECTIVES[name] for name in self.objectives)

    @property
    def mutation_probabilities(self) -> tuple[float, float, float]:
        """Random, reinforced, prior-regulated."""
        return self.p_random, self.p_reinforced, self.p_prior

    @property
    def guide_probabilities(self) -> NDArray[np.float64]:
        """How often each objective guides a reinforced mutation, `float64[K]`.

        `p_evaluated` is shared by the evaluated objectives and the rest by the computed ones;
        where there are none of one kind, the other kind guides alone.
        """
        evaluated = np.array([spec.evaluated for spec in self.objective_specs])
        if evaluated.all() or not evaluated.any():
            return np.full(len(evaluated), 1 / len(evaluated))
        count = evaluated.sum()
        return np.where(
            evaluated, self.p_evaluated / count, (1 - self.p_evaluated) / (len(evaluated) - count)
        )

    @property
    def macs_band(self) -> tuple[int, int]:
        """Lowest and highest MACs that both the bounds and the space allow."""
        (low, high), _ = self.cost_range
        return max(low, self.macs_min), min(high, self.macs_max)

    @property
    def cost_range(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """The least and the most (MACs, then parameters) an architecture of the space has."""
        return cost_range(self.space, self.image_size, self.num_classes, self.channels)

    def costs(self, architectures: Array) -> NDArray[np.int64]:
        """MACs and parameters `int64[P, 2]` of a population `int32[P, L]`."""
        return cost.costs(
            self.space, architectures, self.image_size, self.num_classes, self.channels
        )

    def values(self, columns: Mapping[str, NDArray[Any]]) -> NDArray[np.float64]:
        """The objectives to minimise, `float64[E, K]`, from columns `[E]` by name."""
        return np.stack(
            [
                -columns[spec.name] if spec.maximize else columns[spec.name].astype(np.float64)
                for spec in self.objective_specs
            ],
            axis=1,
        )


def make_problem(
    space: Space, search: Mapping[str, Any], *, image_size: int, num_classes: int, channels: int
) -> Problem:
    """Builds the problem from `config.search`, whose settings for the evaluator it leaves out.

    Raises:
      InputError: for a setting that is absent or out of range, or a bound that no
        architecture of the space can meet.
    """
    own = {"space", "image_size", "num_classes", "channels"}
    names = [field.name for field in fields(Problem) if field.name not in own]
    absent = [name for name in names if name not in search]
    if absent:
        raise InputError(f"search settings lack {', '.join(absent)}")
    settings = {name: search[name] for name in names}
    settings |= {name: tuple(settings[name]) for name in ("objectives", "weights")}
    return Problem(
        space=space, image_size=image_size, num_classes=num_classes, channels=channels, **settings
    )


@lru_cache(maxsize=64)
def cost_range(
    space: Space, image_size: int, num_classes: int, channels: int
) -> tuple[tuple[int, int], tuple[int, int]]:
    """Least and most MACs, then least and most parameters, of any architecture. Exact.

    A dynamic programme over the layers: the cost so far need only be kept by source, the
    last layer that is not an identity, as nothing else of it matters to what follows.
    """
    table = cost.tables(space, image_size, num_classes, channels)
    skip = any(choice.is_skip for choice in space.choices)
    blocks = [j for j, choice in enumerate(space.choices) if not choice.is_skip]

    def extreme(row: int, start: int, sign: int) -> int:
        best = np.full(space.depth + 1, np.inf)  # [L + 1], by source, times the sign
        best[0] = sign * start
        for layer in range(space.depth):
            after = best.copy() if skip else np.full_like(best, np.inf)
            if blocks:
                costs = (sign * table.layers[row, layer, blocks]).min(axis=0)  # [L + 1]
                after[layer + 1] = (best + costs).min()
            best = after
        return sign * int((best + sign * table.head[row]).min())

    ranges = [
        (extreme(row, start, 1), extreme(row, start, -1))
        for row, start in enumerate((table.stem.macs, table.stem.params))
    ]
    return ranges[0], ranges[1]


def _check_settings(problem: Problem) -> None:
    for name, least in (
        ("population", 2),
        ("generations", 0),
        ("max_tries", 1),
        ("picks", 1),
        ("macs_min", 0),
        ("params_max", 0),
    ):
        value = getattr(problem, name)
        if not isinstance(value, int) or value < least:
            raise InputError(f"search.{name} is {value!r}; allowed: an integer of {least} or more")
    for name in (
        "mutation_ratio",
        "p_random",
        "p_reinforced",
        "p_prior",
        "p_evaluated",
        "accuracy_min",
    ):
        value = getattr(problem, name)
        if not 0 <= value <= 1:
            raise InputError(f"search.{name} is {value!r}; allowed: 0 to 1")
    if not math.isclose(total := sum(problem.mutation_probabilities), 1):
        raise InputError(
            f"search.p_random + p_reinforced + p_prior is {total:g} "
            f"({' + '.join(f'{p:g}' for p in problem.mutation_probabilities)}); allowed: 1"
        )
    if problem.space.num_choices < 2:
        raise InputError(f"space {problem.space.name!r} has one choice a layer: nothing to search")


def _check_objectives(problem: Problem) -> None:
    names, weights = problem.objectives, problem.weights
    unknown = [name for name in names if name not in OBJECTIVES]
    if unknown or not names or len(set(names)) < len(names):
        raise InputError(
            f"search.objectives is {names}; allowed: one or more of {', '.join(OBJECTIVES)}, "
            "each once"
        )
    if len(weights) != len(names):
        raise InputError(
            f"search.weights has {len(weights)} values for {len(names)} objectives: "
            f"{weights} for {names}"
        )
    if not all(0 <= weight < math.inf for weight in weights) or sum(weights) <= 0:
        raise InputError(
            f"search.weights is {weights}; allowed: numbers not below 0, not all of them 0"
        )


def _check_bounds(problem: Problem) -> None:
    if problem.macs_min > problem.macs_max:
        raise InputError(
            f"search.macs_min is {problem.macs_min:,} but macs_max {problem.macs_max:,}; "
            "allowed: macs_min <= macs_max"
        )
    macs, params = problem.cost_range
    network = f"space {problem.space.name!r} at {problem.image_size} pixels"
    for name, bound, nearest, impossible in (
        ("macs_max", problem.macs_max, macs[0], problem.macs_max < macs[0]),
        ("macs_min", problem.macs_min, macs[1], problem.macs_min > macs[1]),
        ("params_max", problem.params_max, params[0], 0 < problem.params_max < params[0]),
    ):
        if impossible:
            raise InputError(
                f"search.{name} is {bound:,}, which no architecture of {network} satisfies; "
                f"the nearest possible value is {nearest:,}"
            )
