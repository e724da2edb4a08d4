"""The front as something to explore: what explorer.js needs to know."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scarlet_jax import space as spaces
from scarlet_jax.report import tallies
from scarlet_jax.report.contents import Model, Search
from scarlet_jax.report.front import FrontFigure
from scarlet_jax.space import Space

EXPLORABLE = 4000  # at most this many architectures are in the page: about 200 bytes each
STATUSES = (  # the later goes before the earlier
    "did not survive",
    "not selected from yet",
    "survived",
    "breaks a constraint",
    "on the final front",
)


def explorer_data(
    space: Space, search: Search, models: Sequence[Model], drawn: FrontFigure
) -> dict[str, Any]:
    """What the script shows, as JSON values: columns of at most `EXPLORABLE` architectures.

    Lists of the front and of names refer to positions in the columns.
    """
    shown = tallies.notable(search, EXPLORABLE)
    placed = np.asarray(np.isfinite(drawn.positions).all(axis=1))
    shown = shown[placed[shown]]
    named = [m.index for m in models if m.index is not None and placed[m.index]]
    position_of = {index: position for position, index in enumerate(shown.tolist())}
    origins = sorted(set(search.origin))
    columns = {search.quantity(name): column for name, column in search.columns.items()}
    return {
        "size": [round(length, 2) for length in drawn.size],
        "box": [round(end, 2) for end in drawn.box],
        "ticks": drawn.ticks,
        "anchors": drawn.positions[named].round(2).tolist(),
        "x": drawn.positions[shown, 0].round(2).tolist(),
        "y": drawn.positions[shown, 1].round(2).tolist(),
        "number": (shown + 1).tolist(),
        "facts": [
            [named.label, [named.text(value) for value in column[shown].tolist()]]
            for named, column in columns.items()
        ],
        "born": search.born[shown].tolist(),
        "origin": [origins.index(search.origin[index]) for index in shown],
        "origins": [tallies.ORIGINS.get(name, name) for name in origins],
        "status": _statuses(search)[shown].tolist(),
        "statuses": STATUSES,
        "architecture": [spaces.to_text(row) for row in search.architectures[shown]],
        "choices": spaces.choice_names(space),
        "front": [position_of[index] for index in search.front.tolist() if index in position_of],
        "names": {
            position: ", ".join(names)
            for index, position in position_of.items()
            if (names := [model.name for model in models if model.index == index])
        },
    }


def _statuses(search: Search) -> NDArray[np.int_]:
    """What became of each architecture, `int[E]`, an index into `STATUSES`."""
    status = (search.born >= len(search.generations)).astype(int)
    for survivors in search.generations:
        status[survivors] = 2
    status[~search.feasible] = 3
    status[search.front] = 4
    return status
