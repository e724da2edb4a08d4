"""Scores that have been paid for, kept in a file, so that no search pays for them again."""

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

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
) -> Evaluate:
    """`evaluate`, but what has been scored under the same context is looked up.

    New architectures are scored `chunk` at a time and kept after each, so that a killed search
    loses one chunk at most.

    Args:
      evaluate: scores `[P]`, or `[P, M]` of M objectives, of architectures `int32[P, L]`, each
        on its own merits.
      directory: where the file is kept, named after the context.
      context: JSON values that the scores depend on, such as a fingerprint of the weights.
      chunk: architectures.
      save: whether this process writes; of those that search together, one does.

    Raises:
      InputError: if the file and the one before it cannot be read.
    """
    text = json.dumps(context, sort_keys=True)
    path = Path(directory) / f"{hashlib.sha256(text.encode()).hexdigest()[:16]}.npz"
    saved = storage.read(path)
    known: dict[bytes, NDArray[np.float64]] = {}
    if saved is not None:
        known = dict(zip(row_keys(saved["architectures"]), saved["scores"], strict=True))

    def scores(architectures: Array) -> NDArray[np.float64]:
        keys = row_keys(architectures)
        places = {key: place for place, key in enumerate(keys) if key not in known}
        new = np.array(sorted(places.values()), np.int64)
        for begin in range(0, len(new), chunk):
            part = architectures[new[begin : begin + chunk]]
            known.update(zip(row_keys(part), np.asarray(evaluate(part), np.float64), strict=True))
            if save:
                shape = -1, architectures.shape[1]
                rows = np.frombuffer(b"".join(known), np.int32).reshape(shape)
                table = {"architectures": rows, "scores": np.stack(list(known.values()))}
                storage.write(path, table | {"context": text})
        return np.stack([known[key] for key in keys])

    return scores
