"""What is searched: architectures, objectives and constraints, and the settings of algorithm 1.

Everything is checked here, before any architecture is evaluated.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scarlet_jax import settings
from scarlet_jax.errors import InputError
from scarlet_jax.search import nsga2
from scarlet_jax.search.objective import Objective, check_objectives
from scarlet_jax.space import Array


@dataclass(frozen=True)
class Problem:
    """A search problem; most fields after `layer_choices` are those of `config.search`.

    Architectures are `int32[L]` with L = `depth`, each number below N = `num_choices`, and one of
    its layer's `layer_choices`, ascending; () stands for all choices in all layers.

    Raises:
      InputError: for a setting out of range, naming it and what is allowed.
    """

    depth: int
    num_choices: int
    objectives: tuple[Objective, ...]
    layer_choices: tuple[tuple[int, ...], ...]
    population: int
    generations: int
    crossover: str
    mutation_ratio: float
    p_random: float
    p_reinforced: float
    p_prior: float
    p_evaluated: float
    reinforced_whole: float
    controller_memory: int
    max_tries: int
    rare: float
    picks: int
    pick_by: str
    pick_min: float
    pick_max: float
    start: tuple[tuple[int, ...], ...] = ()  # architectures that are evaluated first

    def __post_init__(self) -> None:
        most = self.allowed.sum(axis=1).max(initial=0)
        if most < 2:
            raise InputError(
                f"architectures have {self.depth} layers of {most} choices; allowed: at least one "
                "layer of two choices, or there is nothing to search"
            )
        _check_tables(self)
        _check_start(self)
        check_objectives(self.objectives)
        _check_picks(self)

    @cached_property
    def allowed(self) -> NDArray[np.bool_]:
        """Which choices each layer may take, `bool[L, N]`."""
        every = range(self.num_choices)
        layers: Sequence[Sequence[int]] = self.layer_choices or [every] * self.depth
        found = np.array([np.isin(every, own) for own in layers], bool).reshape(-1, len(every))
        found.setflags(write=False)
        return found

    @property
    def names(self) -> list[str]:
        """The objectives' names, which are the history's columns."""
        return [objective.name for objective in self.objectives]

    @property
    def goals(self) -> tuple[int, ...]:
        """The objectives that have a goal, as indices into `objectives`."""
        return tuple(i for i, objective in enumerate(self.objectives) if objective.goal != "none")

    @property
    def evaluated(self) -> tuple[int, ...]:
        """The objectives that the evaluator scores, as indices into `objectives`."""
        return tuple(i for i, objective in enumerate(self.objectives) if objective.is_evaluated)

    @property
    def weights(self) -> NDArray[np.float64]:
        """The weight of each objective with a goal, `float64[K]`."""
        return np.array([self.objectives[i].weight for i in self.goals])

    @property
    def mutation_probabilities(self) -> tuple[float, float, float]:
        """Random, reinforced, prior-regulated."""
        return self.p_random, self.p_reinforced, self.p_prior

    @property
    def guide_probabilities(self) -> NDArray[np.float64]:
        """How often each objective with a goal guides a reinforced mutation, `float64[K]`.

        `p_evaluated` is shared by the evaluated objectives and the rest by the computed ones;
        where there are none of one kind, the other kind guides alone.
        """
        evaluated = np.array([self.objectives[i].is_evaluated for i in self.goals])
        if evaluated.all() or not evaluated.any():
            return np.full(len(evaluated), 1 / len(evaluated))
        count = evaluated.sum()
        return np.where(
            evaluated, self.p_evaluated / count, (1 - self.p_evaluated) / (len(evaluated) - count)
        )

    def computed_values(self, architectures: Array) -> NDArray[np.float64]:
        """`float64[P, objectives]` of `int32[P, L]`; NaN where the evaluator has to score."""
        values = np.full((len(architectures), len(self.objectives)), np.nan)
        for column, objective in enumerate(self.objectives):
            if objective.compute is not None and len(architectures):
                values[:, column] = objective.compute(architectures)
        return values

    def within_bounds(
        self, values: NDArray[np.float64], computed_only: bool, but: int | None = None
    ) -> NDArray[np.bool_]:
        """Which of `float64[P, objectives]` satisfy the constraints, `bool[P]`.

        `computed_only` leaves out those on evaluated objectives: the check before an evaluation.
        `but` leaves out the objective of that index.
        """
        inside = np.ones(len(values), bool)
        for i, (column, objective) in enumerate(zip(values.T, self.objectives, strict=True)):
            if i == but or (computed_only and objective.is_evaluated):
                continue
            if objective.is_bounded:
                inside &= objective.satisfied(column)
        return inside

    def scored(self, values: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Which of `float64[E, objectives]` the evaluator could score, `bool[E]`."""
        unknown: NDArray[np.bool_] = np.isnan(values[:, list(self.evaluated)])
        return np.logical_not(unknown.any(axis=1))

    def feasible(self, values: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Which of `float64[E, objectives]` are scored and satisfy every constraint, `bool[E]`."""
        return self.scored(values) & self.within_bounds(values, computed_only=False)

    def front(self, values: NDArray[np.float64]) -> NDArray[np.int64]:
        """The feasible ones of `float64[E, objectives]` that no other dominates, as indices."""
        feasible = np.flatnonzero(self.feasible(values))
        return feasible[nsga2.is_non_dominated(self.to_minimise(values[feasible]))]

    def to_minimise(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """The objectives with a goal, `float64[P, K]`, less being better, NaN where unknown."""
        signs = [-1.0 if self.objectives[i].goal == "max" else 1.0 for i in self.goals]
        return values[:, list(self.goals)] * signs


def make_problem(
    allowed: NDArray[np.bool_],
    objectives: Sequence[Objective],
    search: Mapping[str, Any] = MappingProxyType({}),
    start: Iterable[Sequence[int]] = (),
) -> Problem:
    """Builds a problem.

    Args:
      allowed: which of N choices each of L layers may take, `bool[L, N]`, such as `Space.allowed`.
      objectives: what is wanted.
      search: settings of `config.search`; those that are absent have its defaults.
      start: architectures, `int32[S, L]`, which are evaluated first if they are within the bounds.

    Raises:
      InputError: for a setting that is out of range, a bound that no architecture can meet, or a
        layer without choices.
    """
    section = settings.check_section(settings.Search, search, "search")
    own = {"depth", "num_choices", "objectives", "layer_choices", "start"}
    names = [field.name for field in fields(Problem) if field.name not in own]
    chosen = {name: getattr(section, name) for name in names}
    allowed = np.asarray(allowed, bool)
    if allowed.ndim != 2 or not allowed.any(axis=1).all():
        raise InputError(
            f"choices are allowed by an array {list(allowed.shape)}; allowed: [L, N], with at "
            "least one choice in every layer"
        )
    depth, num_choices = allowed.shape
    layer_choices = (
        () if allowed.all() else tuple(tuple(np.flatnonzero(a).tolist()) for a in allowed)
    )
    if not section.population:
        neighbours = int(allowed.sum()) - depth
        chosen["population"] = max(2, min(settings.POPULATION, neighbours))
    return Problem(
        depth,
        num_choices,
        tuple(objectives),
        layer_choices,
        start=tuple(tuple(int(choice) for choice in path) for path in start),
        **chosen,
    )


def _check_start(problem: Problem) -> None:
    for path in problem.start:
        inside = len(path) == problem.depth and min(path) >= 0 and max(path) < problem.num_choices
        if not inside or not problem.allowed[range(problem.depth), path].all():
            raise InputError(
                f"the search starts from {', '.join(map(str, path))}; allowed: {problem.depth} "
                f"choices below {problem.num_choices}, each one that its layer may take"
            )


def _check_tables(problem: Problem) -> None:
    for objective in problem.objectives:
        table = objective.table
        if table is not None and not np.array_equal(table.allowed, problem.allowed):
            theirs, own = table.allowed, problem.allowed
            raise InputError(
                f"objective {objective.name} has a table of {list(theirs.shape)} choices, "
                f"{theirs.sum()} of them allowed, but the search {own.sum()} of {list(own.shape)}; "
                "allowed: the same in both, such as Space.allowed"
            )


def _check_picks(problem: Problem) -> None:
    names = [problem.objectives[i].name for i in problem.goals]
    if problem.pick_by not in names:
        raise InputError(
            f"search.pick_by is {problem.pick_by!r}; allowed is an objective with a goal: "
            f"{', '.join(names)}"
        )
    if not problem.pick_min <= problem.pick_max:
        raise InputError(
            f"search.pick_min is {problem.pick_min:,g} but pick_max {problem.pick_max:,g}; "
            "allowed: pick_min <= pick_max"
        )
