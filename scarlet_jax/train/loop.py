"""The one training loop, of supernet and stand-alone networks."""

import math
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh
from ml_collections import ConfigDict

from scarlet_jax import devices, interrupts, processes
from scarlet_jax.errors import DivergedError
from scarlet_jax.progress import Progress
from scarlet_jax.train.checkpoint import Checkpoints
from scarlet_jax.train.metrics import MetricsWriter
from scarlet_jax.train.step import TrainState

Step = Callable[[TrainState, Any], tuple[TrainState, dict[str, jax.Array]]]


def train(
    step: Step,
    state: TrainState,
    batches: Callable[[int], Generator[Any, None, None]],
    *,
    training: ConfigDict,
    mesh: Mesh,
    directory: Path,
    settings: Mapping[str, Any],
    label: str,
    evaluate: Callable[[TrainState], Mapping[str, float]],
) -> TrainState:
    """Trains to the last step, or goes on from the directory's latest checkpoint.

    Interrupted anywhere and called again, it ends with the same weights. A signal interrupts it
    after a step, which is saved.

    Args:
      step: the compiled step.
      state: the initial state, replicated.
      batches: gives this process's batches from a step on.
      training: a training section of the configuration.
      mesh: the devices.
      directory: gets `checkpoints/`, and from the first process `metrics.jsonl` and TensorBoard
        events.
      settings: what the weights depend on; a checkpoint of others is refused.
      label: for the progress display.
      evaluate: scores the state every `eval_every` steps and at the end, into the metrics.

    Returns:
      The state after the last step.

    Raises:
      InputError: for a checkpoint that cannot be read or is of other settings.
      DivergedError: when the loss or the gradient is not finite.
    """
    with ExitStack() as stack:
        stack.enter_context(interrupts.deferred())
        checkpoints = stack.enter_context(
            Checkpoints(directory / "checkpoints", settings, training.keep_checkpoints)
        )
        state = checkpoints.restore(state)
        start = int(state.step)
        if start >= training.steps:
            return state
        writer = (
            stack.enter_context(MetricsWriter(directory, start)) if processes.is_first() else None
        )
        progress = stack.enter_context(Progress(label, training.steps, "step", start))
        source = stack.enter_context(closing(batches(start)))
        window, previous = Window(training.batch_size), None
        for done in range(start + 1, training.steps + 1):
            state, metrics = step(state, devices.shard(mesh, computed_part(next(source))))
            if previous is not None:  # checked only now, so that the device is never idle
                _check_finite(previous, done - 1, checkpoints)
            previous = metrics
            window.add(metrics)

            def is_due(every: int, done: int = done) -> bool:
                return done == training.steps or bool(every and done % every == 0)

            if is_due(training.checkpoint_every):
                _save(state, metrics, checkpoints)
            record = window.summary() if is_due(training.log_every) else {}
            if is_due(training.eval_every):
                with window.paused():
                    record |= evaluate(state)
            if record and writer is not None:
                writer.write(done, record)
            progress.update(done, _detail(record))
            if processes.must_stop():
                if checkpoints.latest_step != done:
                    _save(state, metrics, checkpoints)
                interrupts.stop(
                    f"stopped at step {done} of {training.steps} of {label}, which is saved; "
                    "the same command goes on from there"
                )
    return state


class Window:
    """The metrics since the last summary, and the time spent on them."""

    def __init__(self, batch_size: int):
        self.batch_size = batch_size
        self.metrics: list[dict[str, jax.Array]] = []
        self.begin = time.monotonic()

    def add(self, metrics: dict[str, jax.Array]) -> None:
        self.metrics.append(metrics)

    def summary(self) -> dict[str, float]:
        """Means, and the rate; starts a new window."""
        record = {
            name: float(np.mean([float(metrics[name]) for metrics in self.metrics]))
            for name in self.metrics[0]
        }
        seconds = time.monotonic() - self.begin
        record["images_per_second"] = len(self.metrics) * self.batch_size / seconds
        self.metrics, self.begin = [], time.monotonic()
        return record

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Leaves out the time of its block."""
        pause = time.monotonic()
        yield
        self.begin += time.monotonic() - pause


def _detail(record: Mapping[str, float]) -> str:
    parts = [f"loss {record['loss']:.4f}"] if "loss" in record else []
    parts += [
        f"{name.replace('_', ' ')} {value:.2%}"
        for name, value in record.items()
        if name.endswith("accuracy")
    ]
    return ", ".join(parts)


def computed_part(batch: Mapping[str, Any]) -> dict[str, Any]:
    """The arrays of a batch that go to the devices."""
    return {name: batch[name] for name in ("image", "label", "weight")}


def _save(state: TrainState, metrics: Mapping[str, jax.Array], checkpoints: Checkpoints) -> None:
    _check_finite(metrics, int(state.step), checkpoints)
    checkpoints.save(state)


def _check_finite(metrics: Mapping[str, jax.Array], step: int, checkpoints: Checkpoints) -> None:
    for name in ("loss", "gradient_norm"):
        if not math.isfinite(value := float(metrics[name])):
            latest = checkpoints.latest_step
            saved = f"step {latest} is the last checkpoint" if latest else "nothing was saved yet"
            raise DivergedError(
                f"{name} is {value} at step {step}; {saved} in {checkpoints.directory}. "
                "Try a lower learning_rate, a longer warmup_steps or a clip_norm."
            )
