"""What the page says of the search: its front, its progress, its choices and its mutations."""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from scarlet_jax import space as spaces
from scarlet_jax.report import diagram, figures, heatmap, tallies
from scarlet_jax.report.contents import Model, Report, Search
from scarlet_jax.report.explorer import EXPLORABLE, explorer_data
from scarlet_jax.report.front import LINES, front_figure
from scarlet_jax.report.palette import Mark, marks
from scarlet_jax.report.tallies import ORIGINS
from scarlet_jax.space import Space

FRONT_ROWS = 500  # at most this many of the front are listed
BOUNDARIES = 40  # at most this many generations are marked on the hypervolume's curve
COLUMNS = 62  # at most this many generations are columns of the heat map: 2 units each


def summary(report: Report) -> dict[str, object] | None:
    """The numbers and figures of search.html; None if nothing has been searched.

    Args:
      report: one that `contents.check` accepts.
    """
    search, space = report.search, report.space
    if search is None or not len(search.architectures):
        return None
    drawn = front_figure(search, report.models)
    outside = (np.isfinite(search.points()) & np.isnan(drawn.positions)).all(axis=1)
    boundaries = np.flatnonzero(np.diff(search.born)) + 1
    marked = boundaries[tallies.spread(len(boundaries), BOUNDARIES)]
    generations = tallies.spread(len(search.generations), COLUMNS)
    shares = tallies.choice_shares(search, generations, space.num_choices)
    return {
        "evaluated": len(search.architectures),
        "crosses": int((~search.feasible & ~outside).sum()),
        "outside": int(outside.sum()),
        "generations": len(search.generations),
        "lines": LINES,
        "explorable": EXPLORABLE,
        "front_figure": drawn.svg,
        "blank_diagram": diagram.blank_diagram(space),
        "data": explorer_data(space, search, report.models, drawn),
        "front": len(search.front),
        "columns": [search.quantity(name).label for name in search.columns],
        "members": _members(space, search, report.models),
        "hypervolume": search.hypervolume[-1],
        "hypervolume_figure": figures.hypervolume_figure(search.hypervolume, marked),
        "boundaries": len(boundaries),
        "marked": len(marked),
        "tallied": len(generations),
        "panels": heatmap.panels(space, shares, generations) if len(generations) else [],
        "scale": heatmap.scale(),
        "fates": tallies.fates(search),
        "origins": ORIGINS,
    }


def _members(space: Space, search: Search, models: Sequence[Model]) -> list[dict[str, object]]:
    """The final front, evenly thinned to at most `FRONT_ROWS`."""
    names: defaultdict[int | None, list[tuple[Mark, str]]] = defaultdict(list)
    for model, mark in zip(models, marks(len(models)), strict=True):
        names[model.index].append((mark, model.name))
    listed = search.front[tallies.spread(len(search.front), FRONT_ROWS)].tolist()
    return [
        {
            "number": index + 1,
            "names": names[index],
            "texts": [search.quantity(name).text(c[index]) for name, c in search.columns.items()],
            "born": search.born[index],
            "origin": ORIGINS.get(search.origin[index], search.origin[index]),
            "blocks": ", ".join(spaces.to_names(space, search.architectures[index])),
            "architecture": spaces.to_text(search.architectures[index]),
        }
        for index in listed
    ]
