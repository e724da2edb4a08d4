"""The report as one self-contained HTML page: no script, nothing loaded from elsewhere."""

import os
from collections.abc import Iterable, Sequence
from decimal import Decimal
from html import escape
from pathlib import Path

from scarlet_jax import space as spaces
from scarlet_jax.report import contents, diagram, figures
from scarlet_jax.report.contents import Curve, Model, Report
from scarlet_jax.report.style import MARKS, STYLE, marks


def write_report(report: Report, path: str | os.PathLike[str]) -> None:
    """Writes the page, whole or not at all: to a temporary file beside `path`, then renamed.

    Raises:
      InputError: for data that `contents.check` refuses.
      OSError: if the file cannot be written.
    """
    text = render(report)
    path = Path(path)
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)


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
            _section("Search", _search(report)),
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
        f"{space.num_choices} choices, {_scientific(space.num_choices**space.depth)} "
        "architectures.</p>"
    )


def _headline(report: Report) -> str:
    best = contents.best_model(report.models)
    if best is None:
        return _empty("No model has been picked yet.")
    model, score = best
    headline, result = _result(model)
    tiles = (headline, ("MACs", _short(model.macs)), ("parameters", _short(model.params)))
    count = len(report.models)
    among = "the only picked model"
    if count > 1:
        among = f"the best of {count} picked models, chosen by {score}"
    items = "".join(f"<div><dt>{key}</dt><dd>{value}</dd></div>" for key, value in tiles)
    return (
        f'<dl class="tiles">{items}</dl>\n'
        f'<p class="lead"><b>{escape(model.name)}</b> is {among}: it takes {_short(model.macs)} '
        f"multiply-adds an image, has {_short(model.params)} parameters and {result}.</p>"
    )


def _result(model: Model) -> tuple[tuple[str, str], str]:
    """The best-founded accuracy of a model as name and value, and in words."""
    if model.test_accuracy is not None:
        accuracy = _percent(model.test_accuracy)
        words = f"gets {accuracy} of {model.test_images:,} held-out test images right"
        return ("test accuracy", accuracy), words
    untested = "has not been tested on held-out test images yet"
    if model.validation_accuracy is not None:
        return ("validation accuracy", _percent(model.validation_accuracy)), untested
    return ("accuracy on the supernet", _percent(model.supernet_accuracy)), untested


def _search(report: Report) -> str:
    if not (report.generations or len(report.history) or len(report.front)):
        return _empty("No search has been run yet.")
    caption = (
        f"Grey: all {len(report.history):,} architectures evaluated. Coloured: the survivors, by "
        "the generation that first kept them, with the front of each generation as a line. "
        "Bold line: the final front. Named: the picked models."
    )
    return (
        f'<figure class="wide">{figures.front_figure(report)}'
        f"<figcaption>{caption}</figcaption></figure>"
    )


def _architectures(report: Report) -> str:
    if not report.models:
        return _empty("No model has been picked yet.")
    items = "".join(
        f"<li>{drawing}<span>{escape(meaning)}</span></li>"
        for drawing, meaning in diagram.legend(report.space)
    )
    cards = [
        _card(report, model, mark)
        for model, mark in zip(report.models, _marks(report.models), strict=True)
    ]
    return f'<ul class="legend">{items}</ul>\n' + "\n".join(cards)


def _card(report: Report, model: Model, mark: str) -> str:
    name = escape(model.name)
    facts = [
        ("test", _percent(model.test_accuracy)),
        ("validation", _percent(model.validation_accuracy)),
        ("on the supernet", _percent(model.supernet_accuracy)),
        ("MACs", _short(model.macs)),
        ("parameters", _short(model.params)),
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
        return _empty("No model has been picked yet.")
    head = "".join(
        f'<th scope="col">{column}</th>'
        for column in (
            "model",
            "supernet",
            "validation",
            "test",
            "test images",
            "MACs",
            "parameters",
        )
    )
    rows = "\n".join(
        _score_row(model, mark, model is best[0])
        for model, mark in zip(models, _marks(models), strict=True)
    )
    sentences = [_tau_sentence(models, score) for score in ("validation_accuracy", "test_accuracy")]
    return (
        '<div class="scroll" tabindex="0" role="region" aria-label="Scores of the models"><table>'
        "<caption>Accuracies and costs of the picked models</caption>\n"
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}\n</tbody></table></div>\n"
        '<p class="muted">Supernet: with the supernet\'s weights, on validation images. Validation '
        f"and test: retrained. Bold: the best, chosen by {best[1]}.</p>\n"
        f"<p>{' '.join(sentences)} The fewer the models, the weaker it is as evidence.</p>"
    )


def _score_row(model: Model, mark: str, is_best: bool) -> str:
    cells = "".join(
        f"<td>{cell}</td>"
        for cell in (
            _percent(model.supernet_accuracy),
            _percent(model.validation_accuracy),
            _percent(model.test_accuracy),
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
        return _empty("No curve of the supernet has been recorded yet.")
    training, validation = MARKS[0], MARKS[1]
    plots = []
    for metric in ("loss", "accuracy"):
        lines = _lines(curve, metric, training[0], validation[:2])
        plots.append(_curve_plot(lines, metric, "supernet", "Supernet"))
    legend = [((*training[:2], "—"), "training"), (validation, "validation")]
    return _legend(legend) + _pair(plots)


def _model_curves(models: Sequence[Model]) -> str:
    if not any(model.curve for model in models):
        return _empty("No model has been retrained yet.")
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
        return _empty(f"No {metric} has been recorded.")
    label = f"{what}: {metric} over training steps"
    drawing = figures.curves_figure(lines, metric, f"{name}-{metric}", label)
    return f"<figure>{drawing}<figcaption>{label}</figcaption></figure>"


def _reproduction(report: Report) -> str:
    rows = "\n".join(
        f'<tr><th scope="row">{escape(key)}</th><td>{escape(value)}</td></tr>'
        for key, value in report.reproduction.items()
    )
    table = f'<div class="scroll"><table class="facts"><tbody>\n{rows}\n</tbody></table></div>'
    config = f"<details><summary>Full configuration</summary><pre>{escape(report.config)}</pre>"
    return "\n".join(
        [
            table if rows else _empty("Nothing was recorded about how this run was made."),
            f"{config}</details>" if report.config else _empty("No configuration was recorded."),
        ]
    )


def _notes(notes: Sequence[str]) -> str:
    if not notes:
        return _empty("None.")
    return "<ul>" + "".join(f"<li>{escape(note)}</li>" for note in notes) + "</ul>"


def _marks(models: Sequence[Model]) -> list[str]:
    """The coloured mark of each model, the same as in the figures."""
    return [_mark(mark) for mark in marks(len(models))]


def _mark(mark: tuple[str, str, str]) -> str:
    color, _, character = mark
    return f'<span class="mark" style="color:{color}" aria-hidden="true">{character}</span>'


def _legend(entries: Iterable[tuple[tuple[str, str, str], str]]) -> str:
    items = "".join(f"<li>{_mark(mark)}{escape(name)}</li>" for mark, name in entries)
    return f'<ul class="legend">{items}</ul>\n'


def _pair(plots: Sequence[str]) -> str:
    return f'<div class="pair">{"".join(plots)}</div>'


def _empty(sentence: str) -> str:
    return f'<p class="empty">{sentence}</p>'


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.2f}%"


def _short(count: int) -> str:
    """Three digits and a unit: 365 M."""
    for unit, size in (("G", 10**9), ("M", 10**6), ("k", 10**3)):
        if count >= 0.9995 * size:  # what rounds to 1000 takes the next unit
            return f"{count / size:.3g}\u202f{unit}"
    return str(count)


def _scientific(count: int) -> str:
    """Exact up to six digits, then 1.5 × 10^21."""
    if count < 10**6:
        return f"{count:,}"
    mantissa, exponent = f"{Decimal(count):.1e}".split("e+")
    return f"{mantissa} × 10<sup>{exponent}</sup>"
