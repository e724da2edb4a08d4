"""Latency and throughput of stand-alone networks on this machine's device."""

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from scarlet_jax import cost, subnet
from scarlet_jax.nn import functional
from scarlet_jax.space import Array, Space


def measure(
    space: Space,
    architecture: Array,
    *,
    image_size: int,
    num_classes: int,
    channels: int,
    dtype: str,
    batch_size: int,
    repeats: int,
) -> dict[str, float]:
    """Exact counts, and times of the compiled network with random weights.

    Returns:
      `macs` and `params`; `latency_p50_ms` and `latency_p95_ms` of one image;
      `images_per_second` of batches, from their median time.
    """

    def times(batch: int) -> np.ndarray:
        call = forward(
            space,
            architecture,
            image_size=image_size,
            num_classes=num_classes,
            channels=channels,
            dtype=dtype,
            batch_size=batch,
        )
        return seconds(call, repeats)

    macs, params = cost.costs(space, architecture, image_size, num_classes, channels)
    single, many = times(1), times(batch_size)
    return {
        "macs": int(macs),
        "params": int(params),
        "latency_p50_ms": float(np.percentile(single, 50) * 1e3),
        "latency_p95_ms": float(np.percentile(single, 95) * 1e3),
        "images_per_second": float(batch_size / np.median(many)),
    }


def forward(
    space: Space,
    architecture: Array,
    *,
    image_size: int,
    num_classes: int,
    channels: int,
    dtype: str,
    batch_size: int,
) -> Callable[[], jax.Array]:
    """A compiled network with random weights: a call gives its logits of a black batch."""
    graphdef, *weights = subnet.create(
        space, architecture, num_classes=num_classes, channels=channels, dtype=dtype
    )
    images = jnp.zeros((batch_size, image_size, image_size, channels), jnp.float32)
    run = jax.jit(lambda weights, images: functional.apply(graphdef, *weights, images)[0])
    return partial(run, weights, images)


def seconds(call: Callable[[], Any], repeats: int) -> np.ndarray:
    """Times of `repeats` calls, `float64[repeats]`, after one that compiles and warms up."""
    jax.block_until_ready(call())
    measured = []
    for _ in range(repeats):
        begin = time.perf_counter()
        jax.block_until_ready(call())
        measured.append(time.perf_counter() - begin)
    return np.array(measured)
