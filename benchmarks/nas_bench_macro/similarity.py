"""How alike the choices of a layer are: what a stabilizer is meant to bring about.

Figure 2 of SCARLET's supplementary shows feature maps after a layer, with each of its choices.
"""

from itertools import combinations

import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from scarlet_jax import data, devices, subnet
from scarlet_jax import space as spaces
from scarlet_jax.nn import functional
from scarlet_jax.nn.layers import BatchStatistics
from scarlet_jax.run.setup import Setup
from scarlet_jax.space import Array, Space

PATHS, IMAGES = 8, 100  # ours


def choice_similarity(setup: Setup, network: functional.Network) -> NDArray[np.float64]:
    """Cosine similarity of the feature maps after a layer by two of its choices.

    The mean over random paths, the same in every supernet, and held-out images; statistics are
    those of the batch.

    Args:
      setup: of the supernet, for its space and images.
      network: the supernet.

    Returns:
      `float64[L, pairs]`, the pairs as in `pairs`.
    """
    section = setup.config.data
    (batch, *_) = data.eval_batches(setup.splits.validation, section, batch_size=IMAGES)
    images = devices.normalise(jnp.asarray(batch["image"]), section.mean, section.std)
    space, paths = setup.space, spaces.sample(setup.space, np.random.default_rng(0), PATHS)
    found = np.zeros((PATHS, space.depth, len(pairs(space))))
    for number, path in enumerate(paths):
        for layer in range(space.depth):
            maps = [
                _map(space, network, images, path, layer, choice)
                for choice in range(space.num_choices)
            ]
            for column, (one, other) in enumerate(pairs(space)):
                found[number, layer, column] = (maps[one] * maps[other]).sum(axis=1).mean()
    return found.mean(axis=0)


def pairs(space: Space) -> list[tuple[int, int]]:
    """Two choices of the space each."""
    return [*combinations(range(space.num_choices), 2)]


def _map(
    space: Space,
    network: functional.Network,
    images: jnp.ndarray,
    path: Array,
    layer: int,
    choice: int,
) -> NDArray[np.float64]:
    """The feature map of each image after the layer, of length 1: `float64[B, H * W * C]`."""
    varied = path.copy()
    varied[layer] = choice
    alone = subnet.extract(space, network, varied)
    (_, maps), _ = functional.apply(*alone, images, BatchStatistics(rate=0.0), features=True)
    flat = np.asarray(maps[layer], np.float64).reshape(len(images), -1)
    return flat / np.linalg.norm(flat, axis=1, keepdims=True)
