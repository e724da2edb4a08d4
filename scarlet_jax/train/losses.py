"""Losses and scores of a batch whose images may have weight 0 (padding, unreadable)."""

import jax
import jax.numpy as jnp
import optax


def cross_entropy(logits: jax.Array, labels: jax.Array, smoothing: float) -> jax.Array:
    """Softmax cross-entropy with label smoothing (arXiv 1512.00567): `float32[B]`."""
    targets = optax.smooth_labels(jax.nn.one_hot(labels, logits.shape[-1]), smoothing)
    return optax.softmax_cross_entropy(logits, targets)


def correct(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """1 where the highest logit is the label's, else 0: `float32[B]`."""
    return (jnp.argmax(logits, axis=-1) == labels).astype(jnp.float32)
