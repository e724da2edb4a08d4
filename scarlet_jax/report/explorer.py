"""The front as something to explore: the figure, what a script needs, and what it fills in."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scarlet_jax import space as spaces
from scarlet_jax.report import diagram, tallies
from scarlet_jax.report.contents import Model, Report, Search
from scarlet_jax.report.front import FrontFigure, front_figure
from scarlet_jax.report.pieces import quantity
from scarlet_jax.report.script import SCRIPT
from scarlet_jax.space import Space

EXPLORABLE = 4000  # at most this many architectures are in the page: about 200 bytes each
STATUSES = (  # the later goes before the earlier
    "did not survive",
    "not selected from yet",
    "survived",
    "breaks a constraint",
    "on the final front",
)


def explorer(report: Report, search: Search, caption: str) -> str:
    """The figure of the front, which `script.SCRIPT` lets the reader point at.

    All that only the script can fill is hidden until it runs.
    """
    drawn = front_figure(search, report.models)
    data = explorer_data(report.space, search, report.models, drawn)
    # A slider, for the keyboard: its values are the members of the front.
    return (
        f'<figure class="wide"><div class="explorer">{drawn.svg}'
        '<div id="explorer-pointer" role="slider" tabindex="0" hidden '
        'aria-label="Architectures of the final front" aria-valuemin="1" '
        f'aria-valuemax="{len(data["front"])}" aria-valuenow="1">'
        '<span id="explorer-ring" hidden></span></div>'
        '<div id="explorer-tip" hidden></div></div>'
        f"<figcaption>{caption}"
        '<span id="explorer-hint" hidden> Point at an architecture to read about it, click to see '
        "its layers; or by keyboard: left and right along the front, then Enter.</span>"
        "</figcaption></figure>\n"
        '<article class="model" id="explorer-shown" hidden><header></header>'
        '<div class="scroll" tabindex="0" role="region" aria-label="Layers of the architecture">'
        f"{diagram.blank_diagram(report.space)}</div>"
        '<code class="copy" title="one click selects it"></code></article>\n'
        f'<script type="application/json" id="explorer-data">{_to_json(data)}</script>\n'
        f"<script>{SCRIPT}</script>"
    )


def explorer_data(
    space: Space, search: Search, models: Sequence[Model], drawn: FrontFigure
) -> dict[str, Any]:
    """What the script shows, as JSON values: columns of at most `EXPLORABLE` architectures.

    Lists of the front and of names refer to places in the columns.
    """
    shown = tallies.notable(search, EXPLORABLE)
    place_of = {index: place for place, index in enumerate(shown.tolist())}
    origins = sorted(set(search.origin))
    columns = {quantity(name): column for name, column in search.columns.items()}
    return {
        "size": [round(length, 2) for length in drawn.size],
        "x": drawn.places[shown, 0].round(2).tolist(),
        "y": drawn.places[shown, 1].round(2).tolist(),
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
        "front": [place_of[index] for index in search.front.tolist() if index in place_of],
        "names": {
            place: ", ".join(names)
            for index, place in place_of.items()
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


def _to_json(data: dict[str, Any]) -> str:
    """JSON that no name in it can end the script element of."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c")
