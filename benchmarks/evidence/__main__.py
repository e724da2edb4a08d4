"""Writes docs/evidence.md and its pictures out of `benchmarks/results/`.

python -m benchmarks.evidence
"""

from collections import Counter
from pathlib import Path

import matplotlib

from benchmarks import record
from benchmarks.evidence.figures import draw_found, draw_retrained, draw_search, draw_stabilizers
from benchmarks.evidence.page import PICTURES, page
from benchmarks.evidence.tables import Found

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "evidence.md"


def load() -> tuple[Found, Found, Found | None]:
    """Of the search, of how supernets rank, and of what was retrained, if it was."""
    search, ranking, retrained = (
        record.read(f"nas_bench_macro_{job}") for job in ("search", "ranking", "retrained")
    )
    return search, ranking, whole_seeds(retrained) if retrained else None


def whole_seeds(retrained: Found) -> Found:
    """Only the seeds of which as many networks are trained as of any."""
    trained = Counter(run["seed"] for run in retrained["runs"])
    most = max(trained.values())
    runs = [run for run in retrained["runs"] if trained[run["seed"]] == most]
    return {**retrained, "runs": runs}


def main() -> None:
    search, ranking, retrained = load()
    PAGE.write_text(page(search, ranking, retrained))
    with matplotlib.rc_context({"svg.hashsalt": "scarlet"}):  # the same bytes every time
        figures = (
            draw_search(search),
            draw_found(ranking),
            draw_retrained(retrained) if retrained else None,
            draw_stabilizers(ranking),
        )
        for name, figure in zip(PICTURES, figures, strict=True):
            if figure is not None:
                figure.savefig(PAGE.parent / name, metadata={"Date": None})
    print(PAGE)


if __name__ == "__main__":
    main()
