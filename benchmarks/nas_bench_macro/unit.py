"""One supernet of the benchmark, trained and scored: a process of its own that can be stopped.

python -m benchmarks.nas_bench_macro.unit --config=configs/nas_bench_macro.py --workdir=DIR \
    --config.data.path=DIR
"""

import time

import numpy as np

from benchmarks.nas_bench_macro.recipes import SCORES
from benchmarks.nas_bench_macro.table import distinct_networks
from launch import common
from scarlet_jax.progress import say
from scarlet_jax.run.search import kept_scorer, score_context
from scarlet_jax.run.supernet import train_supernet

USAGE = __doc__.splitlines()[2] if __doc__ else ""


def main() -> None:
    setup = common.prepare()
    network = train_supernet(setup)
    score = kept_scorer(setup, network, score_context(setup, network))
    begin = time.monotonic()
    scores = score(distinct_networks(setup.space))
    say(f"{len(scores):,} networks scored in {time.monotonic() - begin:.0f} s")
    np.save(setup.workdir / SCORES, scores)


if __name__ == "__main__":
    common.define_config()
    common.run(main, USAGE)
