"""The device mesh, and arrays placed on it."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from scarlet_jax.errors import InputError

DATA = "data"  # the mesh axis that batches, or populations, are spread over


def make_mesh() -> Mesh:
    """A mesh of one axis over every device of every process, those of a process side by side.

    `jax.make_mesh` orders them by their wiring, so that the parts that processes pass to `shard`
    could come out interleaved, and scores would belong to other architectures.
    """
    ordered = sorted(jax.devices(), key=lambda device: (device.process_index, device.id))
    return Mesh(np.array(ordered), (DATA,), axis_types=(AxisType.Explicit,))


def replicate(mesh: Mesh, tree: Any) -> Any:
    """Puts a copy of every array on every device."""
    return _place(tree, NamedSharding(mesh, PartitionSpec()))


def local(tree: Any) -> Any:
    """Replicated arrays as plain ones of this process's first device, which any program takes."""
    return jax.tree.map(lambda leaf: leaf.addressable_data(0), tree)


def shard(mesh: Mesh, tree: Any) -> Any:
    """Spreads the first axis of every array over the devices.

    Each process passes its own part: the whole batch where there is one process.
    """
    return _place(tree, NamedSharding(mesh, PartitionSpec(DATA)))


def _place(tree: Any, sharding: NamedSharding) -> Any:
    return jax.tree.map(
        lambda leaf: jax.make_array_from_process_local_data(sharding, np.asarray(leaf)), tree
    )


def abstract(tree: Any, sharding: NamedSharding) -> Any:
    """Shapes and dtypes of arrays, placed."""
    return jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), tree
    )


def check_batch_size(name: str, batch_size: int) -> None:
    """Raises `InputError` for a batch that the devices cannot share evenly."""
    count = jax.device_count()
    if batch_size < 1 or batch_size % count:
        raise InputError(
            f"{name} is {batch_size}; allowed: positive multiples of the {count} devices"
        )


def normalise(images: jax.Array, mean: tuple[float, ...], std: tuple[float, ...]) -> jax.Array:
    """`uint8[..., C]` to float32 with the given mean and deviation of `[0, 1]` pixels."""
    pixels = images.astype(np.float32) / 255.0
    return (pixels - np.asarray(mean, np.float32)) / np.asarray(std, np.float32)


def describe() -> Mapping[str, str]:
    """What the run computes on, for reports."""
    kinds = sorted({device.device_kind for device in jax.devices()})
    return {
        "platform": jax.default_backend(),
        "devices": f"{jax.device_count()} x {', '.join(kinds)}",
        "processes": str(jax.process_count()),
        "jax": jax.__version__,
    }
