"""The state of a search: immutable arrays, in one file that is replaced atomically."""

import dataclasses
import json
import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scarlet_jax.errors import InputError
from scarlet_jax.settings import describe, differences
from scarlet_jax.space import Array

FILE_NAME = "search.npz"
# How an architecture came about, by the code in `State.origin`.
ORIGINS = ("initial", "crossover", "random", "reinforced", "prior")


@dataclass(frozen=True)
class State:
    """Everything evaluated so far, and where the search stands.

    Individuals are indices into the history. Randomness is no part of it: every draw is
    seeded by (seed, generation, attempt), so the same state always goes on the same way.
    """

    seed: int
    generation: int  # the one being filled; 0 is the initial one
    attempt: int  # evaluated batches of this generation so far
    ended: bool  # nothing feasible and new is within reach
    architectures: Array  # [E, L], the history, in order of evaluation
    accuracy: NDArray[np.float64]  # [E]
    macs: NDArray[np.int64]  # [E]
    params: NDArray[np.int64]  # [E]
    born: Array  # [E], the generation
    origin: NDArray[np.int8]  # [E], an index into ORIGINS
    offspring: Array  # [Q], feasible individuals of the current generation
    survivors: Array  # [G, n], of each finished generation, best first; -1 where there are fewer

    @property
    def population(self) -> Array:
        """The survivors of the last finished generation, `int32[<= n]`, best first."""
        if not len(self.survivors):
            return np.zeros(0, np.int32)
        last = self.survivors[-1]
        return last[last >= 0]

    @property
    def columns(self) -> dict[str, NDArray[Any]]:
        """The objectives' columns of the history by name, each `[E]`."""
        return {"accuracy": self.accuracy, "macs": self.macs, "params": self.params}


def empty(depth: int, population: int, seed: int) -> State:
    """The state before anything is evaluated. Raises `InputError` for a negative seed."""
    if seed < 0:
        raise InputError(f"seed is {seed}; allowed: 0 or more")
    return State(
        seed=seed,
        generation=0,
        attempt=0,
        ended=False,
        architectures=np.zeros((0, depth), np.int32),
        accuracy=np.zeros(0, np.float64),
        macs=np.zeros(0, np.int64),
        params=np.zeros(0, np.int64),
        born=np.zeros(0, np.int32),
        origin=np.zeros(0, np.int8),
        offspring=np.zeros(0, np.int32),
        survivors=np.zeros((0, population), np.int32),
    )


def save(directory: str | os.PathLike[str], state: State, settings: Mapping[str, Any]) -> None:
    """Writes `search.npz`: the state's fields by name, and `settings` as JSON text.

    The file is complete at every moment: a new one replaces the old in one step.
    """
    path = Path(directory) / FILE_NAME
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays = {field.name: getattr(state, field.name) for field in dataclasses.fields(state)}
    partial = path.with_name(path.name + ".partial")
    with open(partial, "wb") as file:
        np.savez(file, settings=np.array(json.dumps(settings)), **arrays)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)


def load(directory: str | os.PathLike[str], settings: Mapping[str, Any]) -> State | None:
    """The saved state, or None where there is none yet.

    Raises:
      InputError: if the file cannot be read, or was saved with other settings; every field
        that differs is named. More generations than before are allowed.
    """
    path = Path(directory) / FILE_NAME
    if not path.exists():
        return None
    try:
        with open(path, "rb") as binary, np.load(binary, allow_pickle=False) as file:
            arrays = {field.name: file[field.name] for field in dataclasses.fields(State)}
            saved = json.loads(str(file["settings"]))
    except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise InputError(f"search state {path} cannot be read ({error}); remove it") from error
    differing = differences(saved, settings)
    if settings["search"]["generations"] > saved["search"]["generations"]:
        differing.pop("search.generations", None)
    if differing:
        raise InputError(
            f"search state {path} is of another search: {describe(differing)}; "
            "take the same settings or another directory"
        )
    for name in ("seed", "generation", "attempt"):
        arrays[name] = int(arrays[name])
    arrays["ended"] = bool(arrays["ended"])
    return State(**arrays)
