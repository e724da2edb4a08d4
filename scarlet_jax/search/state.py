"""The state of a search: immutable arrays, and the file that keeps them."""

import dataclasses
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scarlet_jax.differences import describe, differences
from scarlet_jax.errors import InputError
from scarlet_jax.files import as_path
from scarlet_jax.search import storage
from scarlet_jax.space import Array

FILE_NAME = "search.npz"
# How an architecture came about, by the code in `State.origin`.
ORIGINS = ("initial", "crossover", "random", "reinforced", "prior")


@dataclass(frozen=True)
class State:
    """Everything evaluated so far, and where the search stands.

    Individuals are indices into the history. Randomness is no part of it: every draw is
    seeded by (seed, generation, attempt, round), so the same state always goes on the same way.
    """

    seed: int
    generation: int  # the one being filled; 0 is the initial one
    attempt: int  # evaluated batches of this generation so far
    ended: bool  # nothing feasible and new is within reach
    proposed: int  # new architectures that were checked against the computed bounds
    architectures: Array  # [E, L], the history, in order of evaluation
    values: NDArray[np.float64]  # [E, objectives], in the problem's order
    born: Array  # [E], the generation
    origin: NDArray[np.int8]  # [E], an index into ORIGINS
    offspring: Array  # [Q], feasible individuals of the current generation
    survivors: Array  # [G, n], of each finished generation, best first; -1 where there are fewer

    @property
    def evaluations(self) -> int:
        return len(self.values)

    @property
    def population(self) -> Array:
        """The survivors of the last finished generation, `int32[<= n]`, best first."""
        if not len(self.survivors):
            return np.zeros(0, np.int32)
        last = self.survivors[-1]
        return last[last >= 0]


def empty(depth: int, objectives: int, population: int, seed: int) -> State:
    """The state before anything is evaluated. Raises `InputError` for a negative seed."""
    if seed < 0:
        raise InputError(f"seed is {seed}; allowed: 0 or more")
    return State(
        seed=seed,
        generation=0,
        attempt=0,
        ended=False,
        proposed=0,
        architectures=np.zeros((0, depth), np.int32),
        values=np.zeros((0, objectives), np.float64),
        born=np.zeros(0, np.int32),
        origin=np.zeros(0, np.int8),
        offspring=np.zeros(0, np.int32),
        survivors=np.zeros((0, population), np.int32),
    )


def save(
    directory: str | os.PathLike[str],
    state: State,
    names: Sequence[str],
    settings: Mapping[str, Any],
) -> None:
    """Writes `search.npz`: the state's fields, a column for each objective, settings as JSON.

    The history is its columns `architectures`, `born`, `origin` and one named after each
    objective, all of E rows.
    """
    arrays = {field.name: getattr(state, field.name) for field in dataclasses.fields(state)}
    columns = dict(zip(names, arrays.pop("values").T, strict=True))
    arrays |= {"settings": json.dumps(settings), **columns}
    storage.write(as_path(directory) / FILE_NAME, arrays)


def load(
    directory: str | os.PathLike[str], names: Sequence[str], settings: Mapping[str, Any]
) -> State | None:
    """The saved state, or None where there is none that is whole.

    Raises:
      InputError: if it was saved with other settings; every field that differs is named. More
        generations than before are allowed, and other settings of the picks.
    """
    path = as_path(directory) / FILE_NAME
    arrays = storage.read(path)
    if arrays is None:
        return None
    saved = json.loads(str(arrays["settings"]))
    differing = differences(saved, settings)
    if settings["search"]["generations"] > saved["search"]["generations"]:
        differing.pop("search.generations", None)
    if differing:
        raise InputError(
            f"search state {path} is of another search: {describe(differing)}; "
            "take the same settings or another directory"
        )
    size = len(arrays["architectures"])
    values = np.stack([arrays[name] for name in names], axis=1).reshape(size, len(names))
    fields: dict[str, Any] = {
        field.name: arrays[field.name]
        for field in dataclasses.fields(State)
        if field.name != "values"
    }
    for name in ("seed", "generation", "attempt", "proposed"):
        fields[name] = int(fields[name])
    fields |= {"ended": bool(fields["ended"]), "values": values}
    return State(**fields)


def row_keys(architectures: Array) -> list[bytes]:
    """A hashable key of each architecture `int32[P, L]`."""
    rows = np.ascontiguousarray(architectures, np.int32)
    keys: list[bytes] = rows.view(f"V{rows.shape[1] * rows.itemsize}").ravel().tolist()
    return keys
