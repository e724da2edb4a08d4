"""Numbers as text: shares, counts, and all that a search measures."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal


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


def counted(count: int, noun: str) -> str:
    """1 model, 2 models."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


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
}


# Of quantities that have a unit.
CLAUSES = {"latency": "runs in {}", "energy": "spends {} an image"}


def quantity(name: str, unit: str = "") -> Quantity:
    """The quantity of a column; what is not in `QUANTITIES` goes by its own name."""
    if name in QUANTITIES:
        return QUANTITIES[name]
    if not unit:
        return Quantity(name, "", lambda value: f"{value:.4g}")
    return Quantity(name, unit, lambda value: f"{value:.3g}\u202f{unit}", CLAUSES.get(name, ""))
