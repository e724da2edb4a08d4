"""Numbers derived from a search: fronts, shares of the choices, fates of the offspring."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scarlet_jax.report.contents import Points, Search
from scarlet_jax.search import nsga2
from scarlet_jax.space import Array

# How an architecture came about, in the order and the words of the page.
ORIGINS = {
    "initial": "initial population",
    "crossover": "crossover",
    "random": "random mutation",
    "reinforced": "reinforced mutation",
    "prior": "prior-regulated mutation",
}


@dataclass(frozen=True)
class Fate:
    """What became of the offspring of one origin."""

    origin: str
    offspring: int  # evaluated in a finished generation
    survived: int  # of these, into the next population
    on_front: int  # of all, on the final front

    @property
    def rate(self) -> float | None:
        """The share that survived; None without offspring."""
        return self.survived / self.offspring if self.offspring else None


def fates(search: Search) -> list[Fate]:
    """The fate of each origin's offspring but the initial ones, in the order of `ORIGINS`."""
    origin = np.asarray(search.origin, str)
    finished = search.born < len(search.generations)
    survived = np.zeros(len(origin), bool)
    for number, survivors in enumerate(search.generations):
        survived[survivors[search.born[survivors] == number]] = True
    names = [*ORIGINS, *sorted(set(search.origin) - set(ORIGINS))]
    return [
        Fate(
            name,
            offspring=int((finished & (origin == name)).sum()),
            survived=int((survived & (origin == name)).sum()),
            on_front=int((origin[search.front] == name).sum()),
        )
        for name in names
        if name != "initial" and name in search.origin
    ]


def choice_shares(search: Search, generations: Array, num_choices: int) -> NDArray[np.float64]:
    """How often survivors take each choice: `float64[G, L, C]`, each row of C sums to 1.

    Args:
      search: what was searched.
      generations: `[G]`, which generations; one without survivors has shares of 0.
      num_choices: C.
    """
    shares = np.zeros((len(generations), search.architectures.shape[1], num_choices))
    for share, number in zip(shares, generations, strict=True):
        survivors = search.architectures[search.generations[number]]
        for choice in range(num_choices):
            share[:, choice] = (survivors == choice).sum(axis=0) / max(len(survivors), 1)
    return shares


def non_dominated(points: Points, maximize: tuple[bool, bool]) -> Points:
    """The best points of two axes, `float64[m, 2]`, by ascending x; of equals, one."""
    known = points[~np.isnan(points).any(axis=1)]
    return np.unique(known[nsga2.is_non_dominated(known * np.where(maximize, -1, 1))], axis=0)


def newcomers(search: Search) -> list[Array]:
    """Of each generation, the survivors that none before it had."""
    known = np.zeros(len(search.architectures), bool)
    new = []
    for survivors in search.generations:
        new.append(survivors[~known[survivors]])
        known[survivors] = True
    return new


def notable(search: Search, limit: int) -> NDArray[np.integer]:
    """Indices of at most `limit` measured architectures, ascending.

    Everything, where that is few enough; else the front and the latest survivors.
    """
    measured = np.isfinite(search.points().sum(axis=1))
    if measured.sum() <= limit:
        return np.flatnonzero(measured)
    front = search.front[spread(len(search.front), limit)]
    survivors = np.concatenate([front, *search.generations[::-1]])
    survivors = survivors[measured[survivors]]
    _, first = np.unique(survivors, return_index=True)
    return np.sort(survivors[np.sort(first)[:limit]])


def spread(count: int, limit: int) -> Array:
    """At most `limit` of the indices below `count`, evenly spaced, with the first and last."""
    return np.linspace(0, count - 1, min(count, limit)).round().astype(np.int32)
