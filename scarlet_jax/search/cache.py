"""Scores that have been paid for, kept in a file, so that no search pays for them again."""

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scarlet_jax import lock
from scarlet_jax.files import as_path
from scarlet_jax.search import storage
from scarlet_jax.search.state import row_keys
from scarlet_jax.space import Array

Evaluate = Callable[[Array], NDArray[np.float64]]  # int32[P, L] to scores [P], or [P, M]


def remember(
    evaluate: Evaluate,
    directory: str | os.PathLike[str],
    context: Mapping[str, Any],
    *,
    chunk: int,
    save: bool = True,
    agree: Callable[[Any], Any] = lambda value: value,
) -> Evaluate:
    """`evaluate`, but what has been scored under the same context is looked up.

    New architectures are scored `chunk` at a time and kept after each, so that a killed search
    loses one chunk at most. Searches that run at the same time share what they have.

    Args:
      evaluate: scores `[P]`, or `[P, M]` of M objectives, of architectures `int32[P, L]`, each
        on its own merits.
      directory: where the file is kept, named after the context.
      context: JSON values that the scores depend on, such as a fingerprint of the weights.
      chunk: architectures.
      save: whether this process writes; of those that search together, one does.
      agree: gives every process that searches together the JSON value of the one that writes.
    """
    text = json.dumps(context, sort_keys=True)
    path = as_path(directory) / f"{hashlib.sha256(text.encode()).hexdigest()[:16]}.npz"
    known: dict[bytes, NDArray[np.float64]] = {}

    def exchange(new: Mapping[bytes, NDArray[np.float64]]) -> None:
        """Keeps scores, and takes over what other searches have kept."""
        if save:
            with lock.wait_for(path.with_suffix(".lock")):
                known.update(_read(path))
                if new:
                    known.update(new)
                    storage.write(path, _table(known) | {"context": text})

    def scores(architectures: Array) -> NDArray[np.float64]:
        rows = dict(zip(row_keys(architectures), architectures, strict=True))
        exchange({})
        while True:
            found = {key.hex(): known[key].tolist() for key in rows if key in known}
            known.update({bytes.fromhex(k): np.array(v) for k, v in agree(found).items()})
            new = [key for key in rows if key not in known][:chunk]
            if not new:
                return np.stack([known[key] for key in row_keys(architectures)])
            part = np.asarray(evaluate(np.stack([rows[key] for key in new])), np.float64)
            known.update(zip(new, part, strict=True))
            exchange({key: known[key] for key in new})

    return scores


def _read(path: Path) -> dict[bytes, NDArray[np.float64]]:
    saved = storage.read(path)
    if saved is None:
        return {}
    return dict(zip(row_keys(saved["architectures"]), saved["scores"], strict=True))


def _table(known: Mapping[bytes, NDArray[np.float64]]) -> dict[str, NDArray[Any]]:
    rows = [np.frombuffer(key, np.int32) for key in known]
    return {"architectures": np.stack(rows), "scores": np.stack(list(known.values()))}
