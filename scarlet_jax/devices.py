"""The device mesh, and arrays placed on it."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from jax.stages import Wrapped

from scarlet_jax.errors import InputError

DATA = "data"  # the mesh axis that batches, or populations, are spread over
# Of a program's arguments and results: the same on every device, and spread by the first axis.
WHOLE, SPREAD = PartitionSpec(), PartitionSpec(DATA)


def make_mesh() -> Mesh:
    """A mesh of one axis over every device of every process, those of a process side by side.

    `jax.make_mesh` orders them by their wiring, so that the parts that processes pass to `shard`
    could come out interleaved, and scores would belong to other architectures.
    """
    ordered = sorted(jax.devices(), key=lambda device: (device.process_index, device.id))
    return Mesh(np.array(ordered), (DATA,), axis_types=(AxisType.Explicit,))


def replicate(mesh: Mesh, tree: Any) -> Any:
    """Puts a copy of every array on every device."""
    return _place(tree, NamedSharding(mesh, WHOLE))


def local(tree: Any) -> Any:
    """Replicated arrays as plain ones of this process's first device, which any program takes."""
    return jax.tree.map(lambda leaf: leaf.addressable_data(0), tree)


def shard(mesh: Mesh, tree: Any) -> Any:
    """Spreads the first axis of every array over the devices.

    Each process passes its own part: the whole batch where there is one process.
    """
    return _place(tree, NamedSharding(mesh, SPREAD))


def _place(tree: Any, sharding: NamedSharding) -> Any:
    return jax.tree.map(
        lambda leaf: jax.make_array_from_process_local_data(sharding, np.asarray(leaf)), tree
    )


def program(
    mesh: Mesh,
    function: Callable[..., Any],
    in_specs: tuple[PartitionSpec, ...],
    out_specs: PartitionSpec,
    options: dict[str, Any] | None = None,
) -> Wrapped:
    """A compiled function that every device runs on its part, `WHOLE` or `SPREAD`, of the arrays.

    Args:
      mesh: the devices.
      function: of as many positional arguments as `in_specs`.
      in_specs, out_specs: of the arguments, and of the result.
      options: of the compiler.
    """
    # Checked, every loop would have to say which of its arrays differ between devices.
    mapped = jax.shard_map(
        function, mesh=mesh, in_specs=in_specs, out_specs=out_specs, check_vma=False
    )
    return jax.jit(mapped, compiler_options=options)


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


def computed_part(batch: Mapping[str, Any]) -> dict[str, Any]:
    """The arrays of a batch that go to the devices."""
    return {name: batch[name] for name in ("image", "label", "weight")}


def describe() -> Mapping[str, str]:
    """What the run computes on, for reports."""
    kinds = sorted({device.device_kind for device in jax.devices()})
    return {
        "platform": jax.default_backend(),
        "devices": f"{jax.device_count()} x {', '.join(kinds)}",
        "processes": str(jax.process_count()),
        "jax": jax.__version__,
    }
