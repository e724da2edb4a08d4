"""The report as one self-contained HTML page: nothing is loaded, and no script is needed."""

import math
import os
from collections.abc import Iterable, Sequence
from html import escape

from scarlet_jax import space as spaces
from scarlet_jax.files import replace_text
from scarlet_jax.report import contents, diagram, figures, search
from scarlet_jax.report.contents import Curve, Model, Report
from scarlet_jax.report.pieces import (
    empty,
    mark_span,
    model_marks,
    percent,
    quantity,
    scientific,
    table,
)
from scarlet_jax.report.style import MARKS, STYLE, marks


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
    title = escape(report.title)
    body = "\n".join(
        [
            f"<header><h1>{title}</h1>{_space_line(report)}</header>",
            _headline(report),
            _section("Search", search.section(report)),
            _section("Models", _architectures(report)),
            _section("Supernet score against retrained accuracy", _scores(report.models)),
            _section("Supernet training", _supernet_curves(report.supernet_curve)),
            _section("Retraining", _model_curves(report.models)),
            _section("Repeat this run", _reproduction(report)),
            _section("Notes", _notes(report.notes)),
        ]
    )
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>{STYLE}</style>\n</head>\n"
        f"<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


def _section(heading: str, body: str) -> str:
    return f"<section>\n<h2>{heading}</h2>\n{body}\n</section>"


def _space_line(report: Report) -> str:
    space = report.space
    return (
        f'<p class="muted">Search space {escape(space.name)}: {space.depth} layers of '
        f"{'' if space.allowed.all() else 'up to '}{space.num_choices} choices, "
        f"{scientific(space.num_architectures)} architectures.</p>"
    )


def _headline(report: Report) -> str:
    if not report.models:
        return empty("No model has been picked yet.")
    return _best(report.models) + _not_retrained(report)


def _best(models: Sequence[Model]) -> str:
    """The best model's numbers, large, and a sentence about it."""
    count = sum(model.is_trained for model in models)
    best = contents.best_model(models)
    nothing = "None of the picked models has been retrained yet."
    if best is None:
        return f'<p class="lead">{nothing}</p>\n'
    model, score = best
    name = f"<b>{escape(model.name)}</b>"
    among = f"{name} is the best of {count} trained models, chosen by {score}"
    if count == 1:
        among = f"{name} is the only trained model"
    if count == 0:
        among = f"{nothing} By {score}, {name} is the best of them"
    tiles = "".join(f"<div><dt>{key}</dt><dd>{value}</dd></div>" for key, value in _numbers(model))
    clauses = [quantity(name).words(value) for name, value in model.values.items()]
    does = ", ".join(filter(None, clauses))
    return (
        f'<dl class="tiles">{tiles}</dl>\n'
        f'<p class="lead">{among}: it {does} and {_tested(model)}.</p>\n'
    )


def _tested(model: Model) -> str:
    if model.test_accuracy is None:
        return "has not been tested on held-out test images yet"
    accuracy = percent(model.test_accuracy)
    return f"gets {accuracy} of {model.test_images:,} held-out test images right"


def _numbers(model: Model) -> list[tuple[str, str]]:
    """Everything measured of a model, as names and values in HTML."""
    retrained = [
        ("test accuracy", percent(model.test_accuracy)),
        ("validation accuracy", percent(model.validation_accuracy)),
    ]
    return [
        *(retrained if model.is_trained else []),
        *(
            (escape(quantity(name).label), escape(quantity(name).text(value)))
            for name, value in model.values.items()
        ),
    ]


def _not_retrained(report: Report) -> str:
    """Which models are not, and the commands for it."""
    names = [
        f"{mark} {escape(model.name)}"
        for model, mark in zip(report.models, model_marks(report.models), strict=True)
        if not model.is_trained
    ]
    if not names:
        return ""
    commands = escape("\n".join(report.retrain))
    return (
        f"<p>Picked, but not retrained yet: {', '.join(names)}. These commands retrain what is "
        "not, and write this page anew:</p>\n"
        f'<pre class="copy" title="one click selects them">{commands}</pre>'
    )


def _architectures(report: Report) -> str:
    if not report.models:
        return empty("No model has been picked yet.")
    items = "".join(
        f"<li>{drawing}<span>{escape(meaning)}</span></li>"
        for drawing, meaning in diagram.legend(report.space)
    )
    cards = [
        _card(report, model, mark)
        for model, mark in zip(report.models, model_marks(report.models), strict=True)
    ]
    return f'<ul class="legend">{items}</ul>\n' + "\n".join(cards)


def _card(report: Report, model: Model, mark: str) -> str:
    name = escape(model.name)
    status = "picked" if model.is_picked else "not picked"
    spans = f"<span>{status}{'' if model.is_trained else ', not retrained yet'}</span>"
    spans += "".join(f"<span>{key} <b>{value}</b></span>" for key, value in _numbers(model))
    drawing = diagram.block_diagram(report.space, model.architecture, model.name)
    return (
        f'<article class="model"><header><h3>{mark} {name}</h3>{spans}</header>\n'
        f'<div class="scroll" tabindex="0" role="region" aria-label="Layers of {name}">'
        f"{drawing}</div>\n"
        f'<code class="copy" title="one click selects it">'
        f"{spaces.to_text(model.architecture)}</code></article>"
    )


def _scores(models: Sequence[Model]) -> str:
    if not models:
        return empty("No model has been picked yet.")
    best = contents.best_model(models)
    names = list(dict.fromkeys(name for model in models for name in model.values))
    labels = [escape(quantity(name).label) for name in names]
    head = ("model", "test", "test images", "validation", *labels)
    rows = [
        _score_row(model, mark, names, best is not None and model is best[0])
        for model, mark in zip(models, model_marks(models), strict=True)
    ]
    caption = "Accuracies and costs of the picked models, then of the others that are trained"
    chosen = f" Bold: the best, chosen by {best[1]}." if best else ""
    sentences = [_tau_sentence(models, score) for score in ("validation_accuracy", "test_accuracy")]
    return (
        table("Scores of the models", caption, head, rows)
        + '<p class="muted">On the supernet: with its weights, on validation images. '
        f"Validation and test: retrained.{chosen}</p>\n"
        f"<p>{' '.join(sentences)} The fewer the models, the weaker it is as evidence.</p>"
    )


def _score_row(model: Model, mark: str, names: Sequence[str], is_best: bool) -> str:
    retrained = (
        percent(model.test_accuracy),
        "–" if model.test_accuracy is None else f"{model.test_images:,}",
        percent(model.validation_accuracy),
    )
    searched = [quantity(name).exact(model.values.get(name, math.nan)) for name in names]
    cells = "".join(f"<td>{cell}</td>" for cell in (*retrained, *map(escape, searched)))
    kind = ' class="best"' if is_best else ""
    return f'<tr{kind}><th scope="row">{mark} {escape(model.name)}</th>{cells}</tr>'


def _tau_sentence(models: Sequence[Model], score: str) -> str:
    tau, count = contents.kendall_tau(models, score)
    over = f"over {count} model{'' if count == 1 else 's'}"
    name = score.replace("_", " ")
    if tau is not None:
        return f"Kendall's τ of supernet score and {name}: <b>{tau:.3f}</b> {over}."
    why = "it takes at least two" if count < 2 else "the scores are constant"
    return f"Kendall's τ of supernet score and {name}: not defined {over} ({why})."


def _supernet_curves(curve: Curve) -> str:
    if not curve:
        return empty("No curve of the supernet has been recorded yet.")
    training, validation = MARKS[0], MARKS[1]
    plots = []
    for metric in ("loss", "accuracy"):
        lines = _lines(curve, metric, training[0], validation[:2])
        plots.append(_curve_plot(lines, metric, "supernet", "Supernet"))
    legend = [((*training[:2], "—"), "training"), (validation, "validation")]
    return _legend(legend) + _pair(plots)


def _model_curves(models: Sequence[Model]) -> str:
    if not any(model.curve for model in models):
        return empty("No model has been retrained yet.")
    own = marks(len(models))
    plots = []
    for metric in ("loss", "accuracy"):
        lines = [
            line
            for model, (color, marker, _) in zip(models, own, strict=True)
            for line in _lines(model.curve, metric, color, (color, marker))
        ]
        plots.append(_curve_plot(lines, metric, "models", "Retrained models"))
    names = [(mark, model.name) for mark, model in zip(own, models, strict=True) if model.curve]
    return _legend(names) + "<p>Thin lines: training. Marked: validation.</p>" + _pair(plots)


def _lines(
    curve: Curve, metric: str, training: str, validation: tuple[str, str]
) -> list[figures.Line]:
    drawn = [
        figures.Line(contents.series(curve, contents.TRAINING[metric]), training, None),
        figures.Line(contents.series(curve, contents.VALIDATION[metric]), *validation),
    ]
    return [line for line in drawn if len(line.points)]


def _curve_plot(lines: Sequence[figures.Line], metric: str, name: str, what: str) -> str:
    if not lines:
        return empty(f"No {metric} has been recorded.")
    label = f"{what}: {metric} over training steps"
    drawing = figures.curves_figure(lines, metric, f"{name}-{metric}", label)
    return f"<figure>{drawing}<figcaption>{label}</figcaption></figure>"


def _reproduction(report: Report) -> str:
    rows = "\n".join(
        f'<tr><th scope="row">{escape(key)}</th><td>{escape(value)}</td></tr>'
        for key, value in report.reproduction.items()
    )
    facts = f'<div class="scroll"><table class="facts"><tbody>\n{rows}\n</tbody></table></div>'
    config = f"<details><summary>Full configuration</summary><pre>{escape(report.config)}</pre>"
    return "\n".join(
        [
            facts if rows else empty("Nothing was recorded about how this run was made."),
            f"{config}</details>" if report.config else empty("No configuration was recorded."),
        ]
    )


def _notes(notes: Sequence[str]) -> str:
    if not notes:
        return empty("None.")
    return "<ul>" + "".join(f"<li>{escape(note)}</li>" for note in notes) + "</ul>"


def _legend(entries: Iterable[tuple[tuple[str, str, str], str]]) -> str:
    items = "".join(f"<li>{mark_span(mark)}{escape(name)}</li>" for mark, name in entries)
    return f'<ul class="legend">{items}</ul>\n'


def _pair(plots: Sequence[str]) -> str:
    return f'<div class="pair">{"".join(plots)}</div>'
