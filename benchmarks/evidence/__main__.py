"""Writes docs/evidence.md and its pictures out of `benchmarks/results/`.

python -m benchmarks.evidence
"""

import json
from pathlib import Path

import matplotlib

from benchmarks.evidence.figures import draw_picks, draw_search, draw_stabilizers
from benchmarks.evidence.page import PICTURES, page
from benchmarks.evidence.tables import Found

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "evidence.md"


def load() -> tuple[Found, Found]:
    """What the search has found, and how the supernets rank."""
    search, ranking = (
        json.loads((ROOT / f"benchmarks/results/nas_bench_macro_{name}.json").read_text())
        for name in ("search", "ranking")
    )
    return search, ranking


def main() -> None:
    search, ranking = load()
    PAGE.write_text(page(search, ranking))
    with matplotlib.rc_context({"svg.hashsalt": "scarlet"}):  # the same bytes every time
        figures = (draw_search(search), draw_picks(ranking), draw_stabilizers(ranking))
        for name, figure in zip(PICTURES, figures, strict=True):
            if figure is not None:
                figure.savefig(PAGE.parent / name, metadata={"Date": None})
    print(PAGE)


if __name__ == "__main__":
    main()
