"""What a score owes to the images it is taken on, and to the statistics of batch norm.

python -m benchmarks.nas_bench_macro.precision --config=configs/nas_bench_macro.py --workdir=DIR \
    --config.data.path=DIR

The settings are those that its supernet was trained with: `--precision` of the package gives them.
"""

import dataclasses

import numpy as np

from benchmarks.nas_bench_macro.recipes import PRECISION
from benchmarks.nas_bench_macro.table import distinct_networks, sample
from launch import common
from scarlet_jax.run.supernet import load_supernet, right_images

USAGE = __doc__.splitlines()[2] if __doc__ else ""
# Ours.
NETWORKS = 300  # the first of the sample
IMAGES = (250, 500, 1000, 2500, 5000)
STATISTICS = (  # and the batches to recalibrate on
    *(("running", 1), ("batch", 1)),
    *(("recalibrated", 1), ("recalibrated", 4), ("recalibrated", 16)),
)


def main() -> None:
    setup = common.prepare()
    network = load_supernet(setup)
    networks = distinct_networks(setup.space)
    networks = networks[sample(len(networks))[:NETWORKS]]
    scores = []
    for statistics, batches in STATISTICS:
        config = setup.config.copy_and_resolve_references()
        with config.unlocked():
            config.search.update(statistics=statistics, calibration_batches=batches)
        right = right_images(dataclasses.replace(setup, config=config), network)(networks)
        scores.append([right[:, :count].mean(axis=1) for count in IMAGES])
    np.save(setup.workdir / PRECISION, np.array(scores))  # [statistics, counts, networks]


if __name__ == "__main__":
    common.define_config()
    common.run(main, USAGE)
