"""Images from MNIST, class folders, TFDS preparations or a user's own hands, as batches."""

from scarlet_jax.data.examination import describe, examine
from scarlet_jax.data.examples import Examples
from scarlet_jax.data.pipeline import (
    Batch,
    Unreadable,
    check_shared_memory,
    eval_batches,
    train_batches,
)
from scarlet_jax.data.sources import Source, printable
from scarlet_jax.data.splits import Splits, load

__all__ = [
    "Batch",
    "Examples",
    "Source",
    "Splits",
    "Unreadable",
    "check_shared_memory",
    "describe",
    "eval_batches",
    "examine",
    "load",
    "printable",
    "train_batches",
]
