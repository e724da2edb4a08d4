"""The page's section on the search: its front, its progress, its choices and its mutations."""

from collections import defaultdict
from collections.abc import Sequence
from html import escape

import numpy as np

from scarlet_jax import space as spaces
from scarlet_jax.report import figures, heatmap, tallies
from scarlet_jax.report.contents import Model, Report, Search
from scarlet_jax.report.explorer import EXPLORABLE, explorer
from scarlet_jax.report.front import LINES
from scarlet_jax.report.pieces import empty, model_marks, percent, quantity, table
from scarlet_jax.report.tallies import ORIGINS, Fate
from scarlet_jax.space import Space

FRONT_ROWS = 500  # at most this many of the front are listed
BOUNDARIES = 40  # at most this many generations are marked on the hypervolume's curve
COLUMNS = 62  # at most this many generations are columns of the heat map: 2 units each


def section(report: Report) -> str:
    """The section's HTML, for a report that `contents.check` accepts."""
    search = report.search
    if search is None or not len(search.architectures):
        return empty("No search has been run yet.")
    return "\n".join(
        [
            explorer(report, search, _front_caption(search)),
            _front(report.space, search, report.models),
            "<h3>Hypervolume</h3>",
            _hypervolume(search),
            "<h3>Choices of the survivors</h3>",
            _choices(report.space, search),
            "<h3>Offspring</h3>",
            _offspring(search),
        ]
    )


def _front_caption(search: Search) -> str:
    count, infeasible = len(search.architectures), int((~search.feasible).sum())
    drawn = "each generation" if len(search.generations) <= LINES else f"{LINES} generations"
    crosses = f" Crosses: the {infeasible:,} that break a constraint." if infeasible else ""
    pointed = ""
    if count > EXPLORABLE:
        pointed = f" The front and the latest survivors, {EXPLORABLE:,} at most, can be pointed at."
    return (
        f"Grey: all {count:,} architectures evaluated.{crosses} Coloured: the survivors, by the "
        f"generation that first kept them, with the front of {drawn} as a line. Bold line: "
        f"the final front. Named: the picked and the trained models.{pointed}"
    )


def _front(space: Space, search: Search, models: Sequence[Model]) -> str:
    size = len(search.front)
    if not size:
        return empty("No feasible architecture has been found yet.")
    listed = search.front[tallies.spread(size, FRONT_ROWS)].tolist()
    names: defaultdict[int | None, str] = defaultdict(str)
    for model, mark in zip(models, model_marks(models), strict=True):
        names[model.index] += f" {mark} {escape(model.name)}"
    labels = [escape(quantity(name).label) for name in search.columns]
    head = ["architecture", *labels, "generation", "origin", "choices"]
    rows = [_member_row(space, search, index, names[index]) for index in listed]
    what = "the final front" if size == len(listed) else f"{len(listed)} of the final front"
    listing = table("The final front", f"The members of {what}, as a list", head, rows)
    summary = f"The final front: {size:,} architecture{'' if size == 1 else 's'}"
    return f'<details class="listing"><summary>{summary}</summary>\n{listing}</details>'


def _member_row(space: Space, search: Search, index: int, name: str) -> str:
    architecture, origin = search.architectures[index], search.origin[index]
    blocks = ", ".join(spaces.to_names(space, architecture))
    cells = (
        *(escape(quantity(name).text(column[index])) for name, column in search.columns.items()),
        f"{search.born[index]}",
        escape(ORIGINS.get(origin, origin)),
        f'<code title="{blocks}">{spaces.to_text(architecture)}</code>',
    )
    data = "".join(f"<td>{cell}</td>" for cell in cells)
    return f'<tr><th scope="row">{index + 1:,}{name}</th>{data}</tr>'


def _hypervolume(search: Search) -> str:
    boundaries = np.flatnonzero(np.diff(search.born)) + 1
    marked = boundaries[tallies.spread(len(boundaries), BOUNDARIES)]
    lines = "the ends of generations"
    if len(marked) < len(boundaries):
        lines = f"the ends of {len(marked)} of the {len(boundaries):,} generations, evenly spaced"
    drawing = figures.hypervolume_figure(search.hypervolume, marked)
    return (
        f'<figure class="wide">{drawing}<figcaption>The share that the front dominates of all that '
        "bounds and space allow the objectives, after each evaluation: "
        f"{search.hypervolume[-1]:.4f} at the end. Vertical lines: {lines}.</figcaption></figure>"
    )


def _choices(space: Space, search: Search) -> str:
    count = len(search.generations)
    if not count:
        return empty("No generation has been finished yet.")
    generations = tallies.spread(count, COLUMNS)
    shares = tallies.choice_shares(search, generations, space.num_choices)
    panels = "".join(heatmap.panels(space, shares, generations))
    thinned = "" if len(generations) == count else f" {len(generations)} of {count:,} are shown."
    return (
        "<p>Each panel is a layer; from left to right, the generations; each row one of its "
        "choices, the stronger its colour, the more of the survivors take it. In its corner: the "
        f"most frequent one of the last generation.{thinned}</p>\n"
        f'<p class="scale muted">0% {heatmap.scale()} 100% of the survivors</p>\n'
        f'<div class="panels">{panels}</div>'
    )


def _offspring(search: Search) -> str:
    fates = tallies.fates(search)
    if not any(fate.offspring for fate in fates):
        return empty("No offspring has been through selection yet.")
    caption = "How offspring came about, and what became of them"
    head = ["origin", "offspring", "survived", "rate", "", "on the final front"]
    initial = len(search.front) - sum(fate.on_front for fate in fates)
    return table(caption, caption, head, [_fate_row(fate) for fate in fates]) + (
        '<p class="muted">Offspring: evaluated in a finished generation. Survived: kept for the '
        f"next population. From the initial population, {initial} "
        f"{'is' if initial == 1 else 'are'} on the final front.</p>"
    )


def _fate_row(fate: Fate) -> str:
    rate = fate.survived / fate.offspring if fate.offspring else None
    bar = f'<span class="bar"><span style="width:{100 * (rate or 0):.1f}%"></span></span>'
    cells = (f"{fate.offspring:,}", f"{fate.survived:,}", percent(rate), bar, str(fate.on_front))
    return (
        f'<tr><th scope="row">{escape(ORIGINS.get(fate.origin, fate.origin))}</th>'
        f"{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"
    )
