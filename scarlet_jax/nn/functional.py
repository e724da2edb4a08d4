"""Flax modules as pure functions of their parameters and statistics."""

from typing import Any, NamedTuple

import jax
from flax import nnx


class Network(NamedTuple):
    """A module taken apart: what it is, and the arrays it works on.

    Attributes:
      graphdef: static structure, hashable.
      params: pytree of trainable float32 arrays.
      stats: pytree of float32 running means and variances.
    """

    graphdef: Any
    params: Any
    stats: Any


def split(module: nnx.Module) -> Network:
    """Takes a module apart, once; training and search then work on the arrays alone."""
    parts: Any = nnx.split(module, nnx.Param, nnx.BatchStat)
    graphdef, params, stats = parts
    return Network(graphdef, nnx.as_pure(params), nnx.as_pure(stats))


def apply(graphdef: Any, params: Any, stats: Any, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
    """Calls the module on the given arrays. Returns its output and the statistics after it."""
    module = nnx.merge(graphdef, params, stats)
    output = module(*args, **kwargs)
    return output, nnx.as_pure(nnx.state(module, nnx.BatchStat))


def on_device(network: Network) -> Network:
    """The network with its arrays on JAX's default device."""
    # `jnp.asarray` would compile a program for each shape.
    params, stats = jax.device_put((network.params, network.stats))
    return network._replace(params=params, stats=stats)
