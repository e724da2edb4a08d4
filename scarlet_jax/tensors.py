"""The arrays of a network by name, as files keep them."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from numpy.typing import NDArray

from scarlet_jax.errors import InputError
from scarlet_jax.nn import functional

Arrays = Mapping[str, NDArray[Any]]


def name_of(keypath: Any) -> str:
    return ".".join(str(key.key) for key in keypath)


def is_inside(name: str, modules: Sequence[str]) -> bool:
    """Whether an array is of one of these: `blocks.3.bn1.scale` of `blocks.3`, and of `blocks`."""
    return any(f"{name}.".startswith(f"{module}.") for module in modules)


def flatten(network: functional.Network) -> dict[str, NDArray[np.float32]]:
    """All parameters and statistics, such as `params.blocks.3.expand.kernel`."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(_tree(network))
    return {name_of(keypath): np.asarray(leaf) for keypath, leaf in leaves}


def fingerprint(tree: Any) -> str:
    """A digest of every array's bytes, in the tree's order: SHA-256, in hexadecimal."""
    digest = hashlib.sha256()
    for leaf in jax.tree.leaves(tree):
        digest.update(np.ascontiguousarray(leaf).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def fill(network: functional.Network, arrays: Arrays) -> functional.Network:
    """The network with the given arrays, which `check` must have passed."""

    def find(keypath: Any, _: Any) -> jax.Array:
        return jax.device_put(np.asarray(arrays[name_of(keypath)], np.float32))

    return network._replace(**jax.tree_util.tree_map_with_path(find, _tree(network)))


def check(
    source: str, expected: Mapping[str, tuple[int, ...]], found: Mapping[str, tuple[int, ...]]
) -> None:
    """Compares the shapes of named arrays.

    Raises:
      InputError: listing all that `found` lacks, has too much, or in another shape.
    """
    missing = [name for name in expected if name not in found]
    extra = [name for name in found if name not in expected]
    shaped = [
        f"{name} is {list(found[name])} instead of {list(shape)}"
        for name, shape in expected.items()
        if name in found and tuple(found[name]) != tuple(shape)
    ]
    problems = [
        f"{kind}: {', '.join(names)}"
        for kind, names in (("missing", missing), ("extra", extra), ("other shape", shaped))
        if names
    ]
    if problems:
        raise InputError(f"{source} does not fit the network; {'; '.join(problems)}")


def _tree(network: functional.Network) -> dict[str, Any]:
    return {"params": network.params, "stats": network.stats}
