"""Which paths of the supernet a training step takes."""

import jax
import jax.numpy as jnp

from scarlet_jax.errors import check_one_of
from scarlet_jax.space import Space, own_choices

SAMPLERS = ("strict_fair", "uniform")


def paths_per_step(sampler: str, space: Space) -> int:
    """1 for uniform sampling; for strict fairness the most choices that a layer has.

    Raises:
      InputError: for an unknown sampler.
    """
    check_one_of("sampler", sampler, SAMPLERS)
    return 1 if sampler == "uniform" else int(space.allowed.sum(axis=1).max())


def sample_paths(sampler: str, space: Space, key: jax.Array, step: jax.Array) -> jax.Array:
    """Draws the paths of one step, each layer's among its own choices.

    Uniform draws one path (SPOS, arXiv 1904.00420). Strict fairness (FairNAS, arXiv 1907.01845)
    draws as many as a layer has choices at most. Such a layer takes each choice exactly once a
    step; one of fewer goes on with the next step where it stopped, so that at no time a choice of
    it has been taken more than once more than another.

    Args:
      sampler: one of `SAMPLERS`.
      space: of L layers with N choices.
      key: the run's, the same at every step.
      step: `int32[]`, 0 or more.

    Returns:
      `int32[Q, L]`, Q as `paths_per_step` says.
    """
    own, counts = map(jnp.asarray, own_choices(space.allowed))  # [L, N], [L]
    allowed = jnp.asarray(space.allowed)
    paths, layers = paths_per_step(sampler, space), jnp.arange(space.depth)
    if sampler == "uniform":
        index = jax.random.randint(jax.random.fold_in(key, step), (1, space.depth), 0, counts)
        return own[layers, index]
    # Path p = step * Q + q is element p % n of block p // n, which takes each of n choices once.
    # Both without p itself, which 32 bits may not hold: step = n * (step // n) + step % n.
    step, n = jnp.uint32(step), counts.astype(jnp.uint32)
    after = step % n * paths + jnp.arange(paths, dtype=jnp.uint32)[:, None]  # [Q, L], below n * 2Q
    block, element = step // n * paths + after // n, after % n  # blocks repeat after 2**32

    def choose(layer: jax.Array, block: jax.Array, element: jax.Array) -> jax.Array:
        block_key = jax.random.fold_in(jax.random.fold_in(key, layer), block)
        draws = jax.random.uniform(block_key, allowed.shape[1:])  # [N], below 1
        return jnp.argsort(jnp.where(allowed[layer], draws, 1.0))[element]

    return jax.vmap(jax.vmap(choose), in_axes=(None, 0, 0))(layers, block, element)
