"""What was found on an accelerator, as Markdown."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

OURS = ("masked", "branch")  # ways to choose

Found = Mapping[str, Any]
HEADER = ("work", "ms a call", "images a second", "GB", "first call, s", "PyTorch's time")
NAMES = {
    "strict_fair": "strict-fair step",
    "train": "step along one path",
    "score": "score one path",
    "random": "recalibrate and score 80 paths",
}


def page(found: Found) -> str:
    """All of `accelerator.json`."""
    parts = [
        ", ".join(found["machine"].values()) + ".",
        "\n".join(_rows(found["works"])),
        "PyTorch's time: run eagerly, over ours, so that above 1 ours is faster. A first call is "
        "with the compilation, beside as many others as in brackets.",
    ]
    if found["agreement"]:
        parts.append("\n".join(_agreement(found["agreement"])))
    if errors := [line(work) for work in found["works"] if "error" in work]:
        parts.append("Not measured: " + "; ".join(errors) + ".")
    if found["left_out"]:
        parts.append("No time was left for: " + "; ".join(found["left_out"]) + ".")
    return "\n\n".join(parts) + "\n"


def line(found: Found) -> str:
    """One work, for the terminal."""
    if "error" in found:
        return f"{title(found)}: {found['error']}"
    return f"{title(found)}: {_median(found) * 1e3:.1f} ms"


def title(work: Found) -> str:
    how = work["how"] if _is_ours(work) else f"PyTorch, {work['how']}"
    return f"{NAMES[work['kind']]}, {how}, {work['batch_size']} images"


def _rows(works: Sequence[Found]) -> Iterator[str]:
    yield _row(HEADER)
    yield _row(["---"] * len(HEADER))
    measured = [work for work in works if "seconds" in work]
    eager = {_key(work): _median(work) for work in measured if work["how"] == "eager"}
    for work in measured:
        seconds, others = _median(work), work["at_once"] - 1
        ratio = eager[_key(work)] / seconds if _is_ours(work) and _key(work) in eager else 0.0
        yield _row(
            [
                title(work),
                f"{seconds * 1e3:.1f}",
                "" if work["kind"] == "random" else f"{work['batch_size'] / seconds:,.0f}",
                f"{work['peak_gb']:.2f}" if work["peak_gb"] else "",
                f"{work['first_seconds']:.0f}" + (f" ({others})" if others else ""),
                f"{ratio:.2f}" if ratio else "",
            ]
        )


def _agreement(agreement: Mapping[str, Found]) -> Iterator[str]:
    yield "Against this host's CPU in float32, by branches; norm of the difference, of the whole:"
    yield ""
    yield _row(["", "logits of each path", "gradients of each path"])
    yield _row(["---"] * 3)
    for name, differences in agreement.items():
        yield _row([name, *(" ".join(f"{d:.1e}" for d in each) for each in differences.values())])


def _key(work: Found) -> tuple[str, int]:
    return work["kind"], work["batch_size"]


def _is_ours(work: Found) -> bool:
    return work["how"] in OURS


def _median(work: Found) -> float:
    return float(np.median(work["seconds"]))


def _row(cells: Sequence[object]) -> str:
    return f"| {' | '.join(map(str, cells))} |"
