"""Losses and scores of a batch whose images may have weight 0 (padding, unreadable)."""

import math

import jax
import jax.numpy as jnp
import optax


def cross_entropy(logits: jax.Array, labels: jax.Array, smoothing: float) -> jax.Array:
    """Softmax cross-entropy with label smoothing (arXiv 1512.00567): `float32[B]`."""
    targets = optax.smooth_labels(jax.nn.one_hot(labels, logits.shape[-1]), smoothing)
    return optax.softmax_cross_entropy(logits, targets)


def least_cross_entropy(num_classes: int, smoothing: float) -> float:
    """What no network gets below: the entropy of the smoothed targets."""
    wrong = smoothing / num_classes
    shares = [1.0 - smoothing + wrong, *[wrong] * (num_classes - 1)]
    return -sum(share * math.log(share) for share in shares if share)


def correct(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """1 where the highest logit is the label's, else 0: `float32[B]`."""
    return (jnp.argmax(logits, axis=-1) == labels).astype(jnp.float32)
