"""Numbers as text and small pieces of HTML, the same in all of the page's sections."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from html import escape

from scarlet_jax.report.contents import Model
from scarlet_jax.report.style import marks


def percent(value: float | None) -> str:
    """A share in [0, 1] as 76.53%; a dash for None and NaN."""
    return "–" if value is None or math.isnan(value) else f"{100 * value:.2f}%"


def short(count: float) -> str:
    """A whole number by three digits and a unit: 365 M."""
    for unit, size in (("G", 10**9), ("M", 10**6), ("k", 10**3)):
        if count >= 0.9995 * size:  # what rounds to 1000 takes the next unit
            return f"{count / size:.3g}\u202f{unit}"
    return f"{count:.0f}"


def scientific(count: int) -> str:
    """Exact up to six digits, then 1.5 × 10^21, as HTML."""
    if count < 10**6:
        return f"{count:,}"
    mantissa, exponent = f"{Decimal(count):.1e}".split("e+")
    return f"{mantissa} × 10<sup>{exponent}</sup>"


@dataclass(frozen=True)
class Quantity:
    """How a column of the search is called and written."""

    label: str
    unit: str  # for the label of an axis; empty where the numbers say it
    write: Callable[[float], str]
    clause: str = ""  # what a model does, with {} for the value

    def text(self, value: float) -> str:
        """A value with its unit; a dash for NaN."""
        return "–" if math.isnan(value) else self.write(value)

    def exact(self, value: float) -> str:
        """The same, but a count with all of its digits."""
        is_count = self.write is short and not math.isnan(value)
        return f"{value:,.0f}" if is_count else self.text(value)

    def words(self, value: float) -> str:
        """What a model does; empty for NaN, and where no clause says it."""
        return "" if math.isnan(value) else self.clause.format(self.text(value))


QUANTITIES = {
    "accuracy": Quantity("accuracy on the supernet", "", percent, "scores {} on the supernet"),
    "macs": Quantity("MACs", "", short, "takes {} multiply-adds an image"),
    "params": Quantity("parameters", "", short, "has {} parameters"),
    "latency": Quantity("latency", "ms", lambda value: f"{value:.3g}\u202fms", "runs in {}"),
}


def quantity(name: str) -> Quantity:
    """The quantity of a column; a user's own goes by its own name, without a unit."""
    return QUANTITIES.get(name) or Quantity(name, "", lambda value: f"{value:.4g}")


def empty(sentence: str) -> str:
    """Says what has not been run yet."""
    return f'<p class="empty">{sentence}</p>'


def mark_span(mark: tuple[str, str, str]) -> str:
    """A coloured mark, one of `style.MARKS`."""
    color, _, character = mark
    return f'<span class="mark" style="color:{color}" aria-hidden="true">{character}</span>'


def model_marks(models: Sequence[Model]) -> list[str]:
    """The coloured mark of each model, the same as in the figures."""
    return [mark_span(mark) for mark in marks(len(models))]


def table(label: str, caption: str, head: Iterable[str], rows: Iterable[str]) -> str:
    """A table that scrolls sideways where the page is narrow.

    Args:
      label: what it is called, for screen readers.
      caption: the sentence above it, as HTML.
      head: the columns' names, as HTML.
      rows: each a `<tr>`.
    """
    columns = "".join(f'<th scope="col">{column}</th>' for column in head)
    body = "\n".join(rows)
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(label)}"><table>'
        f"<caption>{caption}</caption>\n"
        f"<thead><tr>{columns}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>\n"
    )
