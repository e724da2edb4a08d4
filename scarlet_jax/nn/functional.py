"""Flax modules as pure functions of their parameters and statistics."""

from collections.abc import Mapping
from typing import Any, NamedTuple, TypeAlias

import jax
from flax import nnx, traverse_util

Params: TypeAlias = dict[str, Any]  # float32 arrays by name, nested as the modules are
Stats: TypeAlias = dict[str, Any]  # running means and variances, likewise
KeyPath: TypeAlias = tuple[str | int, ...]  # the names that lead to an array
Arrays: TypeAlias = dict[KeyPath, Any]  # by them


class Network(NamedTuple):
    """A module taken apart: what it is, and the arrays it works on.

    Attributes:
      graphdef: static structure, hashable; of a supernet its `supernet.Plan`.
      params: trainable float32 arrays.
      stats: float32 running means and variances.
    """

    graphdef: Any
    params: Params
    stats: Stats


def split(module: nnx.Module) -> Network:
    """Takes a module apart, once; training and search then work on the arrays alone."""
    states: Any = nnx.split(module, nnx.Param, nnx.BatchStat)
    graphdef, params, stats = states
    return Network(graphdef, nnx.to_pure_dict(params), nnx.to_pure_dict(stats))


def apply(
    graphdef: Any, params: Params, stats: Stats, *args: Any, **kwargs: Any
) -> tuple[Any, Stats]:
    """Calls the module on the given arrays. Returns its output and the statistics after it."""
    module = nnx.merge(graphdef, params, stats)
    output = module(*args, **kwargs)
    return output, nnx.to_pure_dict(nnx.state(module, nnx.BatchStat))


def flatten(tree: Params) -> Arrays:
    """Arrays by the names that lead to them."""
    return traverse_util.flatten_dict(tree)


def unflatten(flat: Mapping[KeyPath, Any]) -> Params:
    return traverse_util.unflatten_dict(flat)


def on_device(network: Network) -> Network:
    """The network with its arrays on JAX's default device."""
    # `jnp.asarray` would compile a program for each shape.
    params, stats = jax.device_put((network.params, network.stats))
    return network._replace(params=params, stats=stats)
