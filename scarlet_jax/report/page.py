"""The report as one self-contained HTML page: nothing is loaded, and no script is needed.

What it says is in the files beside this one, page.html and all that it includes; Jinja puts in the
numbers and the figures, and escapes whatever is not marked as safe.
"""

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources

from jinja2 import Environment, FunctionLoader, StrictUndefined

from scarlet_jax import space as spaces
from scarlet_jax.files import replace_text
from scarlet_jax.report import contents, diagram, figures, ranking, retrained, search
from scarlet_jax.report.contents import Curve, Model, Report
from scarlet_jax.report.palette import MARKS, Mark, marks
from scarlet_jax.report.quantities import Quantity, counted, percent, quantity, scientific
from scarlet_jax.space import Space


def _read(name: str) -> str:
    return resources.files("scarlet_jax.report").joinpath(name).read_text(encoding="utf-8")


TEMPLATES = Environment(
    loader=FunctionLoader(_read),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)
TEMPLATES.filters |= {"counted": counted, "percent": percent, "thousands": "{:,}".format}
TEMPLATES.globals["read"] = _read
TEMPLATES.policies["json.dumps_kwargs"] = {
    "ensure_ascii": False,
    "allow_nan": False,
    "separators": (",", ":"),
}
SUPERNET_MARKS = (MARKS[0]._replace(character="—"), MARKS[1])  # of training and validation


@dataclass(frozen=True)
class Entry:
    """A model as the page shows it."""

    model: Model
    mark: Mark
    numbers: Sequence[tuple[str, str]]  # names and values of everything measured
    clauses: Sequence[str]  # what it does
    scores: Sequence[str]  # of all that was searched, a dash for what this one does not have
    drawing: str  # SVG
    architecture: str


def write_report(report: Report, path: str | os.PathLike[str]) -> None:
    """Writes the page, whole or not at all.

    Raises:
      InputError: for data that `contents.check` refuses.
      OSError: if the file cannot be written.
    """
    replace_text(path, render(report))


def render(report: Report) -> str:
    """The page's HTML; the same text for the same report.

    Raises:
      InputError: for data that `contents.check` refuses.
    """
    contents.check(report)
    space, models = report.space, report.models
    searched = list(dict.fromkeys(name for model in models for name in model.values))
    own = list(zip(models, marks(len(models)), strict=True))
    units = report.search.units if report.search else {}
    quantities = {name: quantity(name, units.get(name, "")) for name in searched}
    entries = [_entry(space, model, mark, quantities) for model, mark in own]
    best, chosen_by = contents.best_model(models) or (None, None)
    return TEMPLATES.get_template("page.html").render(
        report=report,
        architectures=scientific(space.num_architectures),
        search=search.summary(report),
        ranked=ranking.summary(report.ranking),
        models=entries,
        trained=sum(model.is_trained for model in models),
        retrained=(
            retrained.retrained_figure(report.search, models, chosen_by)
            if chosen_by and best and best.is_trained
            else None
        ),
        best=next((entry for entry in entries if entry.model is best), None),
        chosen_by=chosen_by and chosen_by.replace("_", " "),
        shapes=diagram.legend(space),
        searched=[measured.label for measured in quantities.values()],
        taus=[
            (score.replace("_", " "), *contents.kendall_tau(models, score))
            for score in ("validation_accuracy", "test_accuracy")
        ],
        changed=[setting for setting in report.settings if setting.value != setting.default],
        unchanged=[setting for setting in report.settings if setting.value == setting.default],
        supernet_legend=list(zip(SUPERNET_MARKS, ("training", "validation"), strict=True)),
        supernet_plots=_plots([(report.supernet_curve, *SUPERNET_MARKS)], "supernet", "Supernet"),
        models_legend=[(mark, model.name) for model, mark in own if model.curve],
        models_plots=_plots(
            [(model.curve, mark, mark) for model, mark in own], "models", "Retrained models"
        ),
    )


def _entry(space: Space, model: Model, mark: Mark, quantities: Mapping[str, Quantity]) -> Entry:
    retrained = [
        ("test accuracy", percent(model.test_accuracy)),
        ("validation accuracy", percent(model.validation_accuracy)),
    ]
    values = [(quantities[name], value) for name, value in model.values.items()]
    return Entry(
        model,
        mark,
        numbers=[
            *(retrained if model.is_trained else []),
            *((measured.label, measured.text(value)) for measured, value in values),
        ],
        clauses=[words for measured, value in values if (words := measured.words(value))],
        scores=[
            measured.exact(model.values.get(name, math.nan))
            for name, measured in quantities.items()
        ],
        drawing=diagram.block_diagram(space, model.architecture, model.name),
        architecture=spaces.to_text(model.architecture),
    )


def _plots(
    curves: Sequence[tuple[Curve, Mark, Mark]], name: str, what: str
) -> list[tuple[str, str, str | None]]:
    """The metric, label and SVG of each plot; None for a metric that no curve has.

    Args:
      curves: with the marks of training, of which only the colour shows, and of validation.
      name: unique in the page; ids derive from it.
      what: whose curves they are.
    """
    plots = []
    for metric in ("loss", "accuracy"):
        lines = []
        for curve, training, validation in curves:
            trained = contents.series(curve, metric)
            validated = contents.series(curve, f"validation_{metric}")
            lines.append(figures.Line(trained, training.color, None))
            lines.append(figures.Line(validated, validation.color, validation.marker))
        drawn = [line for line in lines if len(line.points)]
        label = f"{what}: {metric} over training steps"
        svg = figures.curves_figure(drawn, metric, f"{name}-{metric}", label) if drawn else None
        plots.append((metric, label, svg))
    return plots
