"""TensorBoard's events: numbers, pictures, text and hyperparameters of what runs."""

import time
from collections.abc import Mapping
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tensorboardX import summary
from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog

from scarlet_jax.buckets import Staged
from scarlet_jax.differences import flatten
from scarlet_jax.files import make_folder, naming


class Events:
    """Appends to a file of its own in a directory, which is created if absent.

    Args:
      directory: where TensorBoard finds a run.
      start_step: what earlier runs wrote from this step on is hidden.
    """

    def __init__(self, directory: Path, start_step: int):
        self._staged = Staged(directory)
        make_folder(self._staged.local)
        # Written at once, in this thread: tensorboardX's own would die in silence on a full disk.
        # TensorBoard reads files in the order of their names, which begin with the second.
        self._events = EventsWriter(str(self._staged.local / "events"), f".{time.time_ns()}")
        self._add(start_step, session_log=SessionLog(status=SessionLog.START))

    def __enter__(self) -> "Events":
        return self

    def __exit__(self, *_: object) -> None:
        self._events.close()
        self._staged.close()

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._add(step, summary=summary.scalar(name, value))

    def image(self, step: int, name: str, pixels: NDArray[np.uint8]) -> None:
        """A picture `uint8[H, W, C]`, or several `uint8[N, H, W, C]` beside each other."""
        dataformats = "NHWC"[-pixels.ndim :]
        self._add(step, summary=summary.image(name, pixels, dataformats=dataformats))

    def text(self, step: int, name: str, markdown: str) -> None:
        self._add(step, summary=summary.text(name, markdown))

    def hyperparameters(self, settings: Mapping[str, Any]) -> None:
        """Nested settings, which TensorBoard shows beside the last values of all numbers."""
        plain = {
            name: value if isinstance(value, int | float) and isfinite(value) else str(value)
            for name, value in flatten(settings).items()
        }
        # Without a description of the experiment, which is one's for all runs beside each other.
        _, start, _ = summary.hparams(plain, {})
        self._add(0, summary=start)

    def _add(self, step: int, **content: Any) -> None:
        """Writes an event that a reader has at once."""
        with naming(self._staged.local):
            self._events.write_event(Event(step=step, wall_time=time.time(), **content))
            self._events.flush()
        self._staged.copy_if_due()
