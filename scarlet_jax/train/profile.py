"""A profile of some steps of a training, for TensorBoard or XProf."""

from pathlib import Path
from typing import Any

import jax

from scarlet_jax.buckets import Staged
from scarlet_jax.errors import InputError
from scarlet_jax.progress import say


def parse(text: str) -> range:
    """The steps that "START:STOP" names, counted from 1, the last one not among them.

    Raises:
      InputError: for another text.
    """
    first, _, stop = text.partition(":")
    steps = range(int(first), int(stop)) if first.isdecimal() and stop.isdecimal() else range(0)
    if not steps or steps.start < 1:
        raise InputError(f"--profile is {text!r}; allowed: steps from 1 on as START:STOP, 20:25")
    return steps


class Profile:
    """Records what host and devices do during some steps.

    Args:
      directory: of the training; TensorBoard finds the profile there, in `plugins/profile/`.
      steps: which; those that are not trained now are left out.
    """

    def __init__(self, directory: Path, steps: range):
        self.directory, self.steps = directory, steps
        self._staged: Staged | None = None  # while it records

    def __enter__(self) -> "Profile":
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def begin(self, step: int) -> None:
        """Before a step."""
        if step in self.steps and self._staged is None:
            self._staged = Staged(self.directory)
            jax.profiler.start_trace(self._staged.local)

    def end(self, step: int, state: Any) -> None:
        """After a step, of which the devices may still be at work."""
        if self._staged is not None and step + 1 not in self.steps:
            jax.block_until_ready(state)
            self._stop()
            say(f"profile of steps to {step}: tensorboard --logdir={self.directory}")

    def _stop(self) -> None:
        if self._staged is not None:
            jax.profiler.stop_trace()
            self._staged.close()
            self._staged = None
