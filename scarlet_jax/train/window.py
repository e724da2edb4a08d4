"""The steps between two lines of a log: their metrics, and how fast they were."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import jax
import numpy as np

from scarlet_jax import chips


class Window:
    """The metrics since the last summary, and the time spent on them.

    Args:
      batch_size: images a step.
      macs: of the networks that an image goes through in a step, see `chips.utilisation`.
      devices: that share a step.
      before: the metrics of steps that an earlier run has done.
    """

    def __init__(
        self,
        batch_size: int,
        macs: float,
        devices: Sequence[jax.Device],
        before: Sequence[Mapping[str, float]] = (),
    ):
        self.batch_size, self.macs, self.devices = batch_size, macs, devices
        self.metrics: list[Mapping[str, Any]] = list(before)
        self.restart()

    def restart(self) -> None:
        """Forgets the time so far, such as that of compiling."""
        self.begin, self.steps, self.waited = time.monotonic(), 0, 0.0

    def add(self, metrics: Mapping[str, jax.Array]) -> None:
        self.metrics.append(metrics)
        self.steps += 1

    def values(self) -> list[dict[str, float]]:
        """The metrics of each step, read from the device."""
        return [{name: float(value) for name, value in step.items()} for step in self.metrics]

    def summary(self) -> tuple[dict[str, float], dict[str, float]]:
        """Means, and rates; starts a new window.

        Returns:
          The mean of every metric; and if a step was timed `images_per_second`, the same
          `..._per_chip`, `data_wait_share`, of the time the part in which no step could be started
          for want of images, and where the chip's peak is known `model_flops_utilization`.
        """
        values = self.values()
        record = {name: float(np.mean([step[name] for step in values])) for name in values[0]}
        rates = self._rates() if self.steps else {}
        self.metrics = []
        self.restart()
        return record, rates

    def _rates(self) -> dict[str, float]:
        seconds = time.monotonic() - self.begin
        rate = self.steps * self.batch_size / seconds
        a_chip = rate / len(self.devices)
        rates = {
            "images_per_second": rate,
            "images_per_second_per_chip": a_chip,
            "data_wait_share": self.waited / seconds,
        }
        used = chips.utilisation(a_chip * self.macs, self.devices[0].device_kind)
        return rates if used is None else rates | {"model_flops_utilization": used}

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Counts the time of its block as spent waiting for images."""
        begin = time.monotonic()
        yield
        self.waited += time.monotonic() - begin

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Leaves out the time of its block."""
        pause = time.monotonic()
        yield
        self.begin += time.monotonic() - pause
