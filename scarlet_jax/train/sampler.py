"""Which paths of the supernet a training step takes."""

import jax
import jax.numpy as jnp

from scarlet_jax.errors import InputError
from scarlet_jax.space import Space

SAMPLERS = ("strict_fair", "uniform")


def paths_per_step(sampler: str, space: Space) -> int:
    """1 for uniform sampling, the number of choices for strict fairness.

    Raises:
      InputError: for an unknown sampler.
    """
    if sampler not in SAMPLERS:
        raise InputError(f"sampler {sampler!r}; allowed: {', '.join(SAMPLERS)}")
    return 1 if sampler == "uniform" else space.num_choices


def sample_paths(sampler: str, space: Space, key: jax.Array) -> jax.Array:
    """Draws the paths of one step.

    Uniform draws one path (SPOS, arXiv 1904.00420). Strict fairness (FairNAS, arXiv 1907.01845)
    draws as many as there are choices, and every layer takes each choice exactly once.

    Returns:
      `int32[Q, L]`, Q as `paths_per_step` says.
    """
    if paths_per_step(sampler, space) == 1:
        return jax.random.randint(key, (1, space.depth), 0, space.num_choices, jnp.int32)
    choices = jnp.arange(space.num_choices, dtype=jnp.int32)
    keys = jax.random.split(key, space.depth)
    return jax.vmap(lambda k: jax.random.permutation(k, choices), out_axes=1)(keys)  # [N, L]
