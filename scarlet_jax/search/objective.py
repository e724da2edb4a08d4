"""What makes one architecture better than another, as data.

The paper's K objectives (algorithm 1, table 1) are M that need an evaluation, such as the
accuracy inside the supernet, and K - M that are computed from the architecture alone. Any of
them may be bounded; what is bounded only, is no objective of the front.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scarlet_jax import cost
from scarlet_jax.errors import InputError, check_one_of
from scarlet_jax.network_size import NetworkSize
from scarlet_jax.path_table import PathTable
from scarlet_jax.search.state import State
from scarlet_jax.space import Array, Space

GOALS = ("max", "min", "none")
OWN = ("accuracy", "macs", "params")  # of all spaces; others need a table
# What the files of a search have beside a column of each objective.
TAKEN = {
    *(field.name for field in fields(State)),
    *("settings", "architecture", "generation", "origin", "picked"),
}

Compute = Callable[[Array], NDArray[Any]]  # int32[P, L] to [P]


@dataclass(frozen=True)
class Objective:
    """A number that every architecture has, what is wanted of it, and how it is found.

    Args:
      name: its column in the history.
      goal: "max", "min", or "none" for what is only bounded.
      weight: in the crowding distance; those of a problem's objectives sum to 1.
      low, high: the constraint; both ends are allowed.
      compute: values `[P]` of architectures `int32[P, L]`, cheap and the same at every call;
        None for what the evaluator scores. A `PathTable` lets the search draw architectures
        within bounds that hardly any satisfies.
      range: what values are possible; others are refused.

    Raises:
      InputError: for an unknown goal, or bounds in the wrong order.
    """

    name: str
    goal: str
    weight: float = 0.0
    low: float = -math.inf
    high: float = math.inf
    compute: PathTable | Compute | None = None
    range: tuple[float, float] = (-math.inf, math.inf)

    def __post_init__(self) -> None:
        check_one_of(f"objective {self.name} has goal", self.goal, GOALS)
        if not self.low <= self.high:
            raise InputError(
                f"objective {self.name} has min {self.low:,g} and max {self.high:,g}; "
                "allowed: min <= max"
            )

    @property
    def is_evaluated(self) -> bool:
        return self.compute is None

    @property
    def is_bounded(self) -> bool:
        return math.isfinite(self.low) or math.isfinite(self.high)

    @property
    def table(self) -> PathTable | None:
        return self.compute if isinstance(self.compute, PathTable) else None

    @property
    def unit(self) -> str:
        """Of its numbers, by the table; "" for counts, shares, and what is not known."""
        return self.table.unit if self.table is not None else ""

    def text(self, value: float) -> str:
        """A value exactly, with its unit."""
        return f"{value:,.12g} {self.unit}".rstrip()

    def extremes(self) -> tuple[float, float]:
        """The least and the most that is possible, by the table if there is one."""
        if self.table is None:
            return self.range
        low, high = self.table.extremes()
        return float(low), float(high)

    def band(self) -> tuple[float, float]:
        """The least and the most that both the bounds and the table allow."""
        low, high = self.extremes()
        return max(low, self.low), min(high, self.high)

    def closed_band(self, seen: NDArray[np.float64]) -> tuple[float, float]:
        """The band, with ends that are left open at the least and the most of what was seen."""
        low, high = self.band()
        low = low if np.isfinite(low) else float(seen.min())
        high = high if np.isfinite(high) else float(seen.max())
        return min(low, high), max(low, high)

    def satisfied(self, values: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Which of `[P]` values are within the bounds, `bool[P]`; NaN never is."""
        return (values >= self.low) & (values <= self.high)


def built_in(
    space: Space,
    section: Mapping[str, Mapping[str, Any]],
    size: NetworkSize,
    tables: Mapping[str, PathTable] = MappingProxyType({}),
) -> tuple[Objective, ...]:
    """Accuracy, and what else of `config.search.objectives` has a goal or a bound.

    Args:
      space: the search space.
      section: by name (accuracy, macs, params, latency, ...), each with goal, weight, min and max.
      size: of the networks, for the counts.
      tables: of the other objectives, by name.

    Raises:
      InputError: for settings that are not allowed, or an objective without a table that needs one.
    """
    counts = cost.tables(space, size)
    found: dict[str, dict[str, Any]] = {
        "accuracy": {"range": (0.0, 1.0)},
        "macs": {"compute": counts.macs},
        "params": {"compute": counts.params},
        **{name: {"compute": tables.get(name)} for name in section if name not in OWN},
    }
    objectives = [
        Objective(
            name=name,
            goal=section[name]["goal"],
            weight=section[name]["weight"],
            low=section[name]["min"],
            high=section[name]["max"],
            **how,
        )
        for name, how in found.items()
        if name in section
    ]
    used = tuple(
        objective
        for objective in objectives
        if objective.name == "accuracy"  # the supernet scores it whether it is wanted or not
        or objective.goal != "none"
        or objective.is_bounded
        or objective.weight
    )
    for objective in used:
        if objective.name not in OWN and objective.table is None:
            raise InputError(
                f"search.objectives.{objective.name} needs a table; allowed: {', '.join(OWN)}, or "
                f"one with search.objectives.{objective.name}.table, a file that scarlet benchmark "
                "--table=FILE makes"
            )
    return used


def check_objectives(objectives: Sequence[Objective]) -> None:
    """Checks what must hold between objectives.

    Raises:
      InputError: for none with a goal, names that are not distinct or taken, weights that are
        negative or do not sum to 1, or a bound that no architecture can satisfy.
    """
    where, names = "search.objectives", [objective.name for objective in objectives]
    wanted = [objective for objective in objectives if objective.goal != "none"]
    if not wanted:
        raise InputError(f"{where} has no goal; at least one must be max or min")
    if taken := sorted(TAKEN & set(names)):
        raise InputError(
            f"{where} has the name {taken[0]}, which the files of a search use; allowed: others "
            f"than {', '.join(sorted(TAKEN))}"
        )
    if len(set(names)) < len(names):
        raise InputError(f"{where} has the names {', '.join(names)}; allowed: each once")
    weights = {objective.name: objective.weight for objective in objectives}
    described = ", ".join(f"{name} {weight:g}" for name, weight in weights.items())
    if not all(0 <= weight <= 1 for weight in weights.values()):
        raise InputError(f"{where} has the weights {described}; allowed: 0 to 1")
    for objective in objectives:
        if objective.goal == "none" and objective.weight:
            raise InputError(
                f"{where}.{objective.name} has weight {objective.weight:g} but no goal; "
                "allowed: goal max or min, or weight 0"
            )
    if not math.isclose(total := sum(weights.values()), 1, abs_tol=1e-6):
        raise InputError(f"{where} has weights that sum to {total:g} ({described}); allowed: 1")
    for objective in objectives:
        low, high = objective.extremes()
        for name, bound, nearest, impossible in (
            ("max", objective.high, low, objective.high < low),
            ("min", objective.low, high, objective.low > high),
        ):
            if impossible:
                raise InputError(
                    f"{where}.{objective.name}.{name} is {objective.text(bound)}, which no "
                    "architecture of the space satisfies; the nearest possible value is "
                    f"{objective.text(nearest)}"
                )
