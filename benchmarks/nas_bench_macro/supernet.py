r"""One supernet of the benchmark, trained and scored: a process of its own that can be stopped.

python -m benchmarks.nas_bench_macro.supernet --config=configs/nas_bench_macro.py --workdir=DIR \
    --config.data.path=DIR
"""

import time

import numpy as np
from absl import flags

from benchmarks.nas_bench_macro.recipes import ORIGIN, SCORES, SIMILARITY
from benchmarks.nas_bench_macro.similarity import choice_similarity
from benchmarks.nas_bench_macro.table import distinct_networks, sample
from benchmarks.record import origin
from scarlet_jax.files import make_folder, write_json
from scarlet_jax.launch import common
from scarlet_jax.progress import say
from scarlet_jax.run.search import kept_scorer, score_context
from scarlet_jax.run.supernet import train_supernet

FLAGS = flags.FLAGS


def main() -> None:
    setup = common.prepare()
    begun, scored = setup.workdir / ORIGIN, setup.workdir / SCORES
    if not begun.exists():  # a later commit may go on with it
        make_folder(setup.workdir)
        write_json(begun, origin())
    network = train_supernet(setup)
    score = kept_scorer(setup, network, score_context(setup, network))
    networks = distinct_networks(setup.space)
    chosen = sample(len(networks)) if FLAGS.sample else np.arange(len(networks))
    begin = time.monotonic()
    scores = np.load(scored) if scored.exists() else np.full(len(networks), np.nan)
    scores[chosen] = score(networks[chosen])
    say(f"{len(chosen):,} networks scored in {time.monotonic() - begin:.0f} s")
    np.save(setup.workdir / SIMILARITY, choice_similarity(setup, network))
    np.save(scored, scores)


if __name__ == "__main__":
    common.define_run()
    flags.DEFINE_bool("sample", False, "Score a sample of the networks instead of all.")
    common.run(main, __doc__)
