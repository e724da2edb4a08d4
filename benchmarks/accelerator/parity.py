"""Logits and gradients of a few paths, for one device to be held against another.

JAX_PLATFORMS=cpu python -m benchmarks.accelerator.parity runs/cpu- branch-float32
"""

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from configs import mnist
from scarlet_jax import space as spaces
from scarlet_jax import supernet
from scarlet_jax.devices import normalise
from scarlet_jax.nn.layers import BatchStatistics
from scarlet_jax.train import losses

CLASSES, IMAGES = 10, 16
AT_ONCE = 2  # kinds that are compiled side by side; the first are the first to be there
SIDES = ("logits", "gradients")
Arrays = dict[str, NDArray[np.float32]]


def compute(selection: str, dtype: str) -> Arrays:
    """What a supernet with its initial weights gives for noise, on the default device.

    It is that of `configs/mnist.py`, with which a CPU's compiler is soon through. Products in
    float32 are computed in full. Path p takes choice p everywhere; the gradients are those of a
    path's own arrays.

    Returns:
      For every path p `logits p`, `[16, classes]`, and `gradients p`, `[n]`.
    """
    config = mnist.get_config()
    space, data = spaces.make_space(**config.space.to_dict()), config.data
    network = supernet.create(
        space,
        num_classes=CLASSES,
        channels=data.channels,
        dtype=dtype,
        selection=selection,
    )
    plan = network.graphdef
    rng = np.random.default_rng(1)
    size = data.image_size
    pixels = rng.integers(256, size=(IMAGES, size, size, data.channels), dtype=np.uint8)
    # Of one class, the losses' gradients would all but cancel: batch norm fixes their mean.
    labels = rng.integers(CLASSES, size=IMAGES)

    @jax.jit
    def logits_and_gradients(params: Any, stats: Any, path: jax.Array) -> tuple[jax.Array, Any]:
        def loss_of(params: Any) -> tuple[jax.Array, jax.Array]:
            images = normalise(jnp.asarray(pixels), data.mean, data.std)
            norm = BatchStatistics(rate=0.1)
            logits, _ = supernet.run(plan, params, own_stats, images, path, norm)
            return losses.cross_entropy(logits, jnp.asarray(labels), smoothing=0.0).mean(), logits

        own, own_stats = (supernet.gather(plan.stages, tree, path) for tree in (params, stats))
        (_, logits), gradients = jax.value_and_grad(loss_of, has_aux=True)(own)
        return logits, gradients

    shape = space.depth, space.num_choices
    paths = np.broadcast_to(np.arange(shape[1], dtype=np.int32), shape).T
    found: Arrays = {}
    for number, path in enumerate(paths):
        with jax.default_matmul_precision("highest"):
            logits, gradients = logits_and_gradients(network.params, network.stats, path)
        found[f"logits {number}"] = np.asarray(logits)
        leaves = [np.asarray(leaf).ravel() for leaf in jax.tree.leaves(gradients)]
        found[f"gradients {number}"] = np.concatenate(leaves)
    return found


def differences(found: Arrays, expected: Arrays) -> dict[str, list[float]]:
    """The norm of the difference of each path's arrays, of the norm of what is expected."""
    return {
        side: [
            float(np.linalg.norm(found[name] - array) / np.linalg.norm(array))
            for name, array in expected.items()
            if name.startswith(side)
        ]
        for side in SIDES
    }


def read(file: Path) -> Arrays:
    """What was computed; empty if it was not."""
    if not file.exists():
        return {}
    with np.load(file) as arrays:
        return dict(arrays)


def main() -> None:
    prefix, *kinds = sys.argv[1:]

    def save(kind: str) -> None:
        selection, dtype = kind.split("-")
        found = compute(selection, dtype)
        part = Path(f"{prefix}{kind}.part")
        with part.open("wb") as file:
            np.savez(file, allow_pickle=False, **found)
        part.rename(f"{prefix}{kind}.npz")  # whole, whenever this process is ended

    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(save, kinds))


if __name__ == "__main__":
    main()
