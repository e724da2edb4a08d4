"""Writes docs/figures.md out of `benchmarks/results/`, and measures for it.

python -m benchmarks.figures                    # the page
python -m benchmarks.figures --measure=main,networks,tables,blocks,exported,compiled

`python -m benchmarks.speed` and `python -m benchmarks.search` measure the rest. A machine that does
nothing else, `pip install -e '.[export,mnist,tpu]'`.
"""

import sys
import tempfile
from pathlib import Path

from absl import app, flags

from benchmarks import record
from benchmarks.figures.jobs import JOBS
from benchmarks.figures.page import PARTS, page

FLAGS = flags.FLAGS
PAGE = Path(__file__).parents[2] / "docs" / "figures.md"


def main(argv: list[str]) -> None:
    if argv[1:]:
        sys.exit(f"unexpected argument {argv[1]!r}; flags start with --")
    if unknown := set(FLAGS.measure) - set(JOBS):
        sys.exit(f"--measure has {', '.join(sorted(unknown))}; allowed: {', '.join(JOBS)}")
    for name in FLAGS.measure:
        with tempfile.TemporaryDirectory() as folder:
            found = JOBS[name](Path(folder))
        record.write(name, f"python -m benchmarks.figures --measure={name}", found)
    results = {name: record.read(name) for name in PARTS}
    if absent := [name for name, own in results.items() if not own]:
        sys.exit(f"no results of {', '.join(absent)} in {record.file('*').parent}")
    PAGE.write_text(page(results))
    print(PAGE)


if __name__ == "__main__":
    flags.DEFINE_list("measure", [], f"What to measure anew, of {', '.join(JOBS)}.")
    app.run(main)
