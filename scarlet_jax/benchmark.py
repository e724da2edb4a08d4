"""Latency, throughput and memory of stand-alone networks on this machine's device."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from scarlet_jax import cost, subnet
from scarlet_jax.errors import InputError, check_one_of
from scarlet_jax.network_size import NetworkSize
from scarlet_jax.nn import functional
from scarlet_jax.space import Array, Space
from scarlet_jax.supernet import DTYPES


@dataclass(frozen=True)
class Timing:
    """How a network is run to be timed.

    Attributes:
      dtype: of the computation, "float32" or "bfloat16".
      batch_size: images a call.
      repeats: timed calls, after one that warms up.

    Raises:
      InputError: for another dtype, or a number below 1.
    """

    dtype: str
    batch_size: int
    repeats: int

    def __post_init__(self) -> None:
        check_one_of("dtype", self.dtype, DTYPES)
        for name, value in (("batch_size", self.batch_size), ("repeats", self.repeats)):
            if value < 1:
                raise InputError(f"{name} is {value}; allowed: 1 or more")


def measure(
    space: Space, architecture: Array, size: NetworkSize, timing: Timing
) -> dict[str, float]:
    """Exact counts, and what the compiled network with random weights takes.

    Returns:
      `macs` and `params`; `latency_p50_ms` and `latency_p95_ms` of one image;
      `images_per_second` of batches, from their median time; `memory_bytes` of the program that
      runs them, see `memory_bytes`.
    """
    programs = {
        images: forward(space, architecture, size, dtype=timing.dtype, batch_size=images)
        for images in {1, timing.batch_size}
    }
    times = {images: seconds(call, timing.repeats) for images, call in programs.items()}
    macs, params = cost.costs(space, architecture, size)
    return {
        "macs": int(macs),
        "params": int(params),
        "latency_p50_ms": float(np.percentile(times[1], 50) * 1e3),
        "latency_p95_ms": float(np.percentile(times[1], 95) * 1e3),
        "images_per_second": float(timing.batch_size / np.median(times[timing.batch_size])),
        "memory_bytes": memory_bytes(programs[timing.batch_size].func),
    }


def forward(
    space: Space, architecture: Array, size: NetworkSize, *, dtype: str, batch_size: int
) -> partial[jax.Array]:
    """A compiled network with random weights: a call gives its logits of a black batch.

    Its `func` is the `jax.stages.Compiled`.
    """
    graphdef, *weights = subnet.create(
        space, architecture, num_classes=size.num_classes, channels=size.channels, dtype=dtype
    )
    shape = (batch_size, size.image_size, size.image_size, size.channels)
    images = jnp.zeros(shape, jnp.float32)
    run = jax.jit(lambda weights, images: functional.apply(graphdef, *weights, images)[0])
    return partial(run.lower(weights, images).compile(), weights, images)


def memory_bytes(program: Any) -> int:
    """What a `jax.stages.Compiled` needs on its device, by XLA's own account.

    Its arguments (a network's weights and images), results and temporaries, less what shares
    memory. Not in it: the program's code, and what JAX and its allocator hold besides.
    """
    memory = program.memory_analysis()
    return int(
        memory.argument_size_in_bytes
        + memory.output_size_in_bytes
        + memory.temp_size_in_bytes
        - memory.alias_size_in_bytes
    )


def seconds(call: Callable[[], Any], repeats: int) -> np.ndarray:
    """Times of `repeats` calls, `float64[repeats]`, after one that warms up."""
    jax.block_until_ready(call())
    measured = []
    for _ in range(repeats):
        begin = time.perf_counter()
        jax.block_until_ready(call())
        measured.append(time.perf_counter() - begin)
    return np.array(measured)
