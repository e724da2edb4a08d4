"""Measures how long a checkpoint of the S2 supernet holds a training up.

python -m benchmarks.checkpoints
"""

import sys
import tempfile
import time
from pathlib import Path

import jax
import numpy as np

from benchmarks import record
from benchmarks.measure import machine
from scarlet_jax import devices, settings, supernet
from scarlet_jax import space as spaces
from scarlet_jax.configs import imagenet_s2
from scarlet_jax.train import checkpoint
from scarlet_jax.train import step as steps

SAVES = 5


def main() -> None:
    config = settings.check(imagenet_s2.get_config())
    network = supernet.create(spaces.S2, num_classes=config.data.num_classes)
    task = steps.Task(network.graphdef, config.supernet, config.data, seed=0)
    state = devices.replicate(devices.make_mesh(), steps.init_state(network, task))
    size = sum(leaf.nbytes for leaf in jax.tree.leaves(state))
    stalls, whole = [], []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(SAVES):
            begin = time.monotonic()
            with checkpoint.Writer(Path(folder, str(number)), {}, keep=1) as writer:
                opened = time.monotonic()
                writer.save(checkpoint.Progress(state))
                stalls.append(time.monotonic() - opened)
            whole.append(time.monotonic() - begin)
    found = {"bytes": size, "stall_seconds": stalls, "whole_seconds": whole}
    print(f"{', '.join(machine().values())}: {size / 1e6:.0f} MB")
    print(f"a step waits {np.median(stalls):.2f} s; on the disk after {np.median(whole):.2f} s")
    record.write("checkpoints", "python -m benchmarks.checkpoints", found)


if __name__ == "__main__":
    if sys.argv[1:]:
        sys.exit(f"unexpected argument {sys.argv[1]!r}; there are none")
    main()
