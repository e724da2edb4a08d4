"""StableHLO by `jax.export`: a program that needs JAX to run, but none of our code."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import export

from scarlet_jax.blocks.base import Exportable
from scarlet_jax.errors import InputError
from scarlet_jax.export import program
from scarlet_jax.export.common import Runner, append_description, described, in_batches

__all__ = ["convert", "describe", "described", "load"]

PLATFORMS = ("cpu", "cuda", "rocm", "tpu")


def jitted(module: Exportable) -> Any:
    """A deployed network or block with its weights as constants, of `float32[B, H, W, C]`."""
    return jax.jit(lambda x: module.export(program.Arrays(), x))


def convert(module: Exportable, shape: tuple[int | None, ...], path: Path) -> None:
    """Writes the program for images of a shape, whose batch may be None for any."""
    batch = export.symbolic_shape("batch")[0] if shape[0] is None else shape[0]
    image = jax.ShapeDtypeStruct((batch, *shape[1:]), jnp.float32)
    exported = export.export(jitted(module), platforms=PLATFORMS)(image)
    path.write_bytes(exported.serialize())


describe = append_description


def load(path: Path, threads: int | None = None) -> Runner:
    """The file's function. JAX chooses its threads itself.

    Raises:
      InputError: for a file that is not of this format.
    """
    try:
        exported = export.deserialize(bytearray(path.read_bytes()))
    except Exception as error:  # the flatbuffer's reader raises what its bytes happen to mean
        raise InputError(f"{path} cannot be read as StableHLO: {error}") from error
    call, batch = jax.jit(exported.call), exported.in_avals[0].shape[0]
    return in_batches(
        lambda images: np.asarray(call(images)), batch if isinstance(batch, int) else None
    )
