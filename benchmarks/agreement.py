"""Holds a GPU's or TPU's supernet against a CPU's: logits and gradients of random paths.

python -m benchmarks.agreement
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from absl import app

from benchmarks.measure import set_up
from scarlet_jax import supernet
from scarlet_jax.nn.layers import BatchStatistics

PATHS = 6
IMAGES = (16, 96, 96, 3)


def results(selection: str, device: jax.Device, paths: np.ndarray) -> list[Any]:
    """Logits and gradients of a loss, of each path, computed on a device."""
    setup = set_up("base")
    network = supernet.create(setup.space, num_classes=setup.num_classes, selection=selection)
    rng = np.random.default_rng(1)
    images = rng.normal(size=IMAGES).astype(np.float32)
    # Of one class, the losses' gradients would all but cancel: batch norm fixes their mean.
    labels = rng.integers(setup.num_classes, size=len(images))

    @partial(jax.value_and_grad, has_aux=True)
    def loss(params: Any, images: jax.Array, path: jax.Array) -> tuple[jax.Array, jax.Array]:
        norm = BatchStatistics(rate=0.1)
        logits, _ = supernet.apply(network.graphdef, params, network.stats, images, path, norm)
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
        return losses.mean(), logits

    compiled = jax.jit(loss)
    with jax.default_device(device), jax.default_matmul_precision("highest"):
        params = jax.device_put(network.params, device)
        found = [compiled(params, *map(jnp.asarray, (images, path))) for path in paths]
    return [(np.asarray(logits), jax.device_get(grads)) for (_, logits), grads in found]


def difference(found: Any, expected: Any) -> float:
    """The norm of the difference, of the norm of what is expected."""
    squares = [
        (np.square(a - b, dtype=np.float64).sum(), np.square(b, dtype=np.float64).sum())
        for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True)
    ]
    different, whole = np.sum(squares, axis=0)
    return float(np.sqrt(different / whole))


def main(argv: list[str]) -> None:
    if argv[1:]:
        raise app.UsageError(f"unexpected argument {argv[1]!r}")
    setup = set_up("base")
    rng = np.random.default_rng(0)
    paths = rng.integers(setup.space.num_choices, size=(PATHS, setup.space.depth), dtype=np.int32)
    device = jax.devices()[0]
    found = results("masked", device, paths)
    expected = results("branch", jax.devices("cpu")[0], paths)
    for what, ours, theirs in zip(
        ("logits", "gradients"), zip(*found, strict=True), zip(*expected, strict=True), strict=True
    ):
        each = " ".join(f"{value:.1e}" for value in map(difference, ours, theirs))
        print(f"{device.device_kind}, masked, against a CPU's branches: {what} {each}")


if __name__ == "__main__":
    app.run(main)
