"""The report as one self-contained HTML page: nothing is loaded, and no script is needed."""

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
    scientific,
    short,
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
            _section("Picked architectures", _architectures(report)),
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
        f"{space.num_choices} choices, {scientific(space.num_choices**space.depth)} "
        "architectures.</p>"
    )


def _headline(report: Report) -> str:
    best = contents.best_model(report.models)
    if best is None:
        return empty("No model has been picked yet.")
    model, score = best
    headline, result = _result(model)
    tiles = (headline, ("MACs", short(model.macs)), ("parameters", short(model.params)))
    count = len(report.models)
    among = "the only picked model"
    if count > 1:
        among = f"the best of {count} picked models, chosen by {score}"
    items = "".join(f"<div><dt>{key}</dt><dd>{value}</dd></div>" for key, value in tiles)
    return (
        f'<dl class="tiles">{items}</dl>\n'
        f'<p class="lead"><b>{escape(model.name)}</b> is {among}: it takes {short(model.macs)} '
        f"multiply-adds an image, has {short(model.params)} parameters and {result}.</p>"
    )


def _result(model: Model) -> tuple[tuple[str, str], str]:
    """The best-founded accuracy of a model as name and value, and in words."""
    if model.test_accuracy is not None:
        accuracy = percent(model.test_accuracy)
        words = f"gets {accuracy} of {model.test_images:,} held-out test images right"
        return ("test accuracy", accuracy), words
    untested = "has not been tested on held-out test images yet"
    if model.validation_accuracy is not None:
        return ("validation accuracy", percent(model.validation_accuracy)), untested
    return ("accuracy on the supernet", percent(model.supernet_accuracy)), untested


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
    facts = [
        ("test", percent(model.test_accuracy)),
        ("validation", percent(model.validation_accuracy)),
        ("on the supernet", percent(model.supernet_accuracy)),
        ("MACs", short(model.macs)),
        ("parameters", short(model.params)),
    ]
    spans = "".join(f"<span>{key} <b>{value}</b></span>" for key, value in facts)
    drawing = diagram.block_diagram(report.space, model.architecture, model.name)
    return (
        f'<article class="model"><header><h3>{mark} {name}</h3>{spans}</header>\n'
        f'<div class="scroll" tabindex="0" role="region" aria-label="Layers of {name}">'
        f"{drawing}</div>\n"
        f'<code class="copy" title="one click selects it">'
        f"{spaces.to_text(model.architecture)}</code></article>"
    )


def _scores(models: Sequence[Model]) -> str:
    best = contents.best_model(models)
    if best is None:
        return empty("No model has been picked yet.")
    head = ("model", "supernet", "validation", "test", "test images", "MACs", "parameters")
    rows = [
        _score_row(model, mark, model is best[0])
        for model, mark in zip(models, model_marks(models), strict=True)
    ]
    sentences = [_tau_sentence(models, score) for score in ("validation_accuracy", "test_accuracy")]
    return (
        table("Scores of the models", "Accuracies and costs of the picked models", head, rows)
        + '<p class="muted">Supernet: with the supernet\'s weights, on validation images. '
        f"Validation and test: retrained. Bold: the best, chosen by {best[1]}.</p>\n"
        f"<p>{' '.join(sentences)} The fewer the models, the weaker it is as evidence.</p>"
    )


def _score_row(model: Model, mark: str, is_best: bool) -> str:
    cells = "".join(
        f"<td>{cell}</td>"
        for cell in (
            percent(model.supernet_accuracy),
            percent(model.validation_accuracy),
            percent(model.test_accuracy),
            "–" if model.test_accuracy is None else f"{model.test_images:,}",
            f"{model.macs:,}",
            f"{model.params:,}",
        )
    )
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
    names = [(mark, model.name) for mark, model in zip(own, models, strict=True)]
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
