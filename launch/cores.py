"""A CPU device for every core: a device takes its images through the whole network on one core.

XLA splits every operation of a single CPU device anew over all cores, so that feature maps wander
between their caches. Where cores share no cache, as those of a virtual machine may at times, that
made scoring 2 to 3 times slower. A device of its own for every core keeps what it computes, and the
cores meet only to sum batch norm's moments and gradients. The price is a copy of the network for
every core.
"""

import math
import os
from collections.abc import Sequence

import jax
from absl import flags

from scarlet_jax.errors import InputError
from scarlet_jax.nn.convolution import largest_divisor


def define_flag() -> None:
    flags.DEFINE_integer(
        "cpu_devices",
        None,
        "Devices that a CPU is split into; as many as there are cores if batches allow it.",
        lower_bound=1,
    )


def use(count: int | None, batch_sizes: Sequence[int]) -> None:
    """Sets how many CPU devices JAX will find; accelerators are not concerned.

    Without a count, the largest one that divides all batches and has a core for every device.
    What the environment says (XLA_FLAGS, JAX_NUM_CPU_DEVICES) goes first. To be called before JAX
    looks for its devices.

    Raises:
      InputError: for a count that does not share all batches evenly.
    """
    if count and any(size % count for size in batch_sizes):
        sizes = ", ".join(map(str, batch_sizes))
        raise InputError(f"--cpu_devices is {count}; allowed: what divides the batches of {sizes}")
    in_flags = "xla_force_host_platform_device_count" in os.environ.get("XLA_FLAGS", "")
    if in_flags or "JAX_NUM_CPU_DEVICES" in os.environ:
        return
    jax.config.update("jax_num_cpu_devices", count or fitting(available(), batch_sizes))


def available() -> int:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def fitting(cores: int, batch_sizes: Sequence[int]) -> int:
    """The largest number of devices, at most so many cores, that share all batches evenly."""
    return largest_divisor(math.gcd(*batch_sizes), cores)
