"""The one training loop, of supernet and stand-alone networks."""

import math
from collections.abc import Callable, Generator, Mapping
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import jax
from jax.profiler import StepTraceAnnotation, TraceAnnotation
from jax.sharding import Mesh
from ml_collections import ConfigDict

from scarlet_jax import devices, interrupts, processes
from scarlet_jax.differences import flatten
from scarlet_jax.errors import DivergedError
from scarlet_jax.events import Events
from scarlet_jax.progress import Progress
from scarlet_jax.train import checkpoint, metrics
from scarlet_jax.train.profile import Profile
from scarlet_jax.train.step import TrainState
from scarlet_jax.train.window import Window

SHOWN = 16  # images of the first batch, augmented, in TensorBoard (ours)
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
    about: Mapping[str, str],
    label: str,
    macs: float,
    profile: range,
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
        events. What it holds of an earlier run is trusted by the digests of its checkpoints.
      settings: what the weights depend on; a checkpoint of others is refused.
      about: texts for TensorBoard, by name.
      label: for the progress display.
      macs: of all networks that an image goes through in a step, for their utilisation of a chip.
      profile: steps to record for TensorBoard, see `Profile`.
      evaluate: scores the state every `eval_every` steps and at the end, into the metrics.

    Returns:
      The state after the last step.

    Raises:
      InputError: for checkpoints that are all damaged, or one that is of other settings.
      DivergedError: when the loss or the gradient is not finite.
    """
    saved_in = directory / checkpoint.DIRECTORY
    saved = checkpoint.restore(saved_in, settings, state) or checkpoint.Progress(state)
    state, start = saved.state, int(saved.state.step)
    if start >= training.steps:
        if processes.is_first():
            metrics.write(directory, saved.metrics)
        return state
    checkpoint.check_space(saved_in, state)
    source = batches(start)
    checkpoint.discard(saved_in, after=start)
    with ExitStack() as stack:
        stack.enter_context(interrupts.deferred())
        stack.enter_context(closing(source))
        checkpoints = stack.enter_context(
            checkpoint.Writer(saved_in, settings, training.keep_checkpoints)
        )
        writer = None
        if processes.is_first():
            writer = stack.enter_context(metrics.MetricsWriter(directory, saved.metrics, start))
            if not start:
                _describe(writer.events, settings, about)
        profiler = stack.enter_context(Profile(directory, profile))
        progress = stack.enter_context(Progress(label, training.steps, "step", start))
        window, records, previous = (
            Window(training.batch_size, macs, list(mesh.devices.flat), saved.window),
            [*saved.metrics],
            None,
        )
        for done in range(start + 1, training.steps + 1):
            profiler.begin(done)
            with window.waiting(), TraceAnnotation("wait for images"):
                batch = next(source)
            if done == 1 and writer is not None:
                writer.events.image(0, "first_batch", batch["image"][:SHOWN])
            with StepTraceAnnotation("train", step_num=done):
                state, scores = step(state, devices.shard(mesh, devices.computed_part(batch)))
            profiler.end(done, state)
            if previous is not None:  # checked only now, so that the device is never idle
                _check_finite(previous, done - 1, saved_in)
            previous = scores
            window.add(scores)
            if done == start + 1:
                window.restart()  # it was compiled

            def is_due(every: int, done: int = done) -> bool:
                return done == training.steps or bool(every and done % every == 0)

            record, rates = window.summary() if is_due(training.log_every) else ({}, {})
            if is_due(training.eval_every):
                with window.paused(), TraceAnnotation("evaluate"):
                    record |= evaluate(state)
            if record:
                records.append({"step": done, **record})
                if writer is not None:
                    writer.write(records[-1], rates)
            stopping = processes.must_stop()
            # After the record, which a run that goes on from here has to find in it.
            if is_due(training.checkpoint_every) or stopping:
                _check_finite(scores, done, saved_in)
                with window.paused(), TraceAnnotation("save a checkpoint"):
                    checkpoints.save(checkpoint.Progress(state, records, window.values()))
            progress.update(done, _detail(record, rates))
            if stopping:
                interrupts.stop(
                    f"stopped at step {done} of {training.steps} of {label}, which is saved; "
                    "the same command goes on from there"
                )
    return state


def _describe(events: Events, settings: Mapping[str, Any], about: Mapping[str, str]) -> None:
    """What is trained, for TensorBoard; which images they are says a digest, of no use there."""
    shown = {name: value for name, value in flatten(settings).items() if "images." not in name}
    events.hyperparameters(shown)
    for name, text in about.items():
        events.text(0, name, text)


def _detail(record: Mapping[str, float], rates: Mapping[str, float]) -> str:
    parts = [f"loss {record['loss']:.4f}"] if "loss" in record else []
    parts += [
        f"{name.replace('_', ' ')} {value:.2%}"
        for name, value in record.items()
        if name.endswith("accuracy")
    ]
    if rates:
        parts.append(f"{rates['images_per_second_per_chip']:,.0f} images/s a chip")
        parts.append(f"{rates['data_wait_share']:.0%} of the time waiting for them")
    if "model_flops_utilization" in rates:
        parts.append(f"MFU {rates['model_flops_utilization']:.1%}")
    return ", ".join(parts)


def _check_finite(metrics: Mapping[str, jax.Array], step: int, saved_in: Path) -> None:
    for name in ("loss", "gradient_norm"):
        if not math.isfinite(value := float(metrics[name])):
            saved = checkpoint.steps(saved_in)
            last = f"step {saved[0]} is the last checkpoint" if saved else "nothing was saved yet"
            raise DivergedError(
                f"{name} is {value} at step {step}; {last} in {saved_in}. "
                "Try a lower learning_rate, a longer warmup_steps or a clip_norm."
            )
