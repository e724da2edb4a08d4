"""Whole random networks beside their blocks: a table's stem, and whether the table is of use.

The stem is what networks take less their blocks and heads, the median of a few: a program as short
as a stem is called and waited for otherwise, which makes a third of a small network's time. The
check has other networks.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scarlet_jax import ranking
from scarlet_jax import space as spaces
from scarlet_jax.errors import InputError
from scarlet_jax.latency.table import path_table
from scarlet_jax.space import Array, Space

REFERENCES = 8  # networks that the stem is found by (ours)
# A check is failed by a larger median error, or by a smaller tau (both ours): of 20 networks in an
# order by chance, 3% have a tau as large.
MOST_ERROR, LEAST_TAU = 0.5, 0.3


def sample(space: Space, check: int) -> dict[str, Array]:
    """Random networks by name, `int32[L]` each: some for the stem, and then those of the check.

    Raises:
      InputError: for a negative number of networks to check.
    """
    if check < 0:
        raise InputError(f"check is {check}; allowed: 0 or more")
    architectures = spaces.sample(space, np.random.default_rng(0), REFERENCES + check)
    return {f"network-{number:02}": path for number, path in enumerate(architectures)}


def fitted(
    space: Space,
    costs: Mapping[str, Any],
    architectures: Array,
    measured: NDArray[np.float64],
    stem: float | None = None,
) -> tuple[dict[str, Any], NDArray[np.float64]]:
    """A table's numbers with the stem, and the check where there are networks for it.

    Args:
      space: the search space.
      costs: of `layers` and `head`, as a table has them.
      architectures: `int32[P, L]`, those of `sample`.
      measured: what they take, `float64[P]`.
      stem: if it is known.

    Returns:
      The numbers, and what the stem is the median of, `float64[REFERENCES]`.

    Raises:
      InputError: for costs that are not of the space.
    """
    known = {"stem": 0.0 if stem is None else stem, **costs}
    sums = path_table(space, known, "the table")(architectures)
    rest = (measured - sums)[:REFERENCES]
    lacking = float(np.median(rest)) if stem is None else 0.0
    numbers: dict[str, Any] = {**known, "stem": known["stem"] + lacking}
    if len(architectures) > REFERENCES:
        sums = sums[REFERENCES:] + lacking
        numbers["check"] = _agreement(architectures[REFERENCES:], sums, measured[REFERENCES:])
    return numbers, rest


def useless(check: Mapping[str, Any]) -> str:
    """Why a table with this check is of no use; empty if it is."""
    error, tau = check["median_error"], check["kendall_tau"]
    if error > MOST_ERROR:
        return (
            f"the median error of its sums is {error:.0%}, and {MOST_ERROR:.0%} the most that is "
            "of use"
        )
    equal = [len(set(check[of])) == 1 for of in ("sums", "measured")]
    if any(equal) and not all(equal):
        return "its sums, or the networks as they were measured, are all equal, the others not"
    if tau is not None and tau < LEAST_TAU:
        return (
            f"its sums order networks by a Kendall's tau of {tau:.2f}, and {LEAST_TAU} is the "
            "least that is of use"
        )
    return ""


def _agreement(
    architectures: Array, sums: NDArray[np.float64], measured: NDArray[np.float64]
) -> dict[str, Any]:
    """How the sums of networks `int32[P, L]` agree with what was measured, `float64[P]` both."""
    errors = abs(sums / measured - 1)
    tau = ranking.tau(sums, measured)
    return {
        "architectures": architectures.tolist(),
        "sums": sums.tolist(),
        "measured": measured.tolist(),
        "median_error": float(np.median(errors)),
        "worst_error": float(errors.max()),
        "kendall_tau": None if math.isnan(tau) else float(tau),  # nan also for equal sums
    }
