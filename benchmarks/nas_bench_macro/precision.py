r"""What a score owes to the images it is taken on, and to the statistics of batch norm.

python -m benchmarks.nas_bench_macro.precision --config=configs/nas_bench_macro.py --workdir=DIR \
    --config.data.path=DIR

The settings are those that its supernet was trained with: `--precision` of the package gives them.
"""

import dataclasses

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from benchmarks.nas_bench_macro.recipes import PRECISION
from benchmarks.nas_bench_macro.table import distinct_networks, sample
from scarlet_jax.launch import common
from scarlet_jax.run.supernet import load_supernet, right_images

# Ours.
NETWORKS = 300  # the first of the sample
IMAGES = (250, 500, 1000, 2500, 5000)  # the last are all
STATISTICS = (  # and the batches to recalibrate on
    ("running", 1),
    ("batch", 1),
    ("recalibrated", 1),
    ("recalibrated", 4),
    ("recalibrated", 16),
)


def main() -> None:
    setup = common.prepare()
    network = load_supernet(setup)
    networks = distinct_networks(setup.space)
    networks = networks[sample(len(networks))[:NETWORKS]]
    found = []
    for statistics, batches in STATISTICS:
        config = setup.config.copy_and_resolve_references()
        with config.unlocked():
            config.search.update(statistics=statistics, calibration_batches=batches)
        found.append(right_images(dataclasses.replace(setup, config=config), network)(networks))
    np.save(setup.workdir / PRECISION, np.packbits(found, axis=-1))


def taus(packed: NDArray[np.uint8], accuracy: NDArray[np.float64]) -> NDArray[np.float64]:
    """Kendall's tau by `STATISTICS` and `IMAGES`, `float64[statistics, counts]`.

    The mean over as many disjoint sets of so many images as there are.

    Args:
      packed: what `main` has saved, `uint8[statistics, NETWORKS, images / 8]`.
      accuracy: published, of the same networks, `[NETWORKS]`.
    """
    right = np.unpackbits(packed, axis=-1, count=IMAGES[-1])
    return np.array(
        [
            [
                np.mean(
                    [
                        stats.kendalltau(own[:, start : start + count].sum(axis=1), accuracy)[0]
                        for start in range(0, IMAGES[-1], count)
                    ]
                )
                for count in IMAGES
            ]
            for own in right
        ]
    )


if __name__ == "__main__":
    common.define_run()
    common.run(main, __doc__)
