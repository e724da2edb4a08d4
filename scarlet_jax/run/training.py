"""What training a supernet and training a subnet share: batches, checkpoints, trained weights."""

from collections.abc import Callable, Generator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from numpy.typing import NDArray

from scarlet_jax import data, devices
from scarlet_jax.errors import InputError
from scarlet_jax.nn import functional
from scarlet_jax.run.images import examine
from scarlet_jax.run.setup import Setup, training_settings
from scarlet_jax.train import checkpoint, loop
from scarlet_jax.train import step as steps


def train(
    setup: Setup,
    network: functional.Network,
    section: str,
    label: str,
    directory: Path,
    identity: Mapping[str, Any],
    about: Mapping[str, str],
    macs: float,
    evaluate: Callable[[steps.TrainState], Mapping[str, float]],
) -> steps.TrainState:
    """Trains by a section of the configuration, or goes on; see `loop.train`.

    Args:
      setup: of the work directory.
      network: with the weights to start from.
      section: "supernet" or "subnet".
      label: for the progress display.
      directory: of its checkpoints and metrics.
      identity: what the weights depend on beside the setup.
      about: texts for TensorBoard, by name.
      macs: of all networks that an image goes through in a step.
      evaluate: scores a state on held-out images.
    """
    config, training = setup.config, setup.config[section]
    task, state = _begin(setup, network, section)

    def batches(start: int) -> Generator[data.Batch, None, None]:
        examine(setup)
        return data.train_batches(
            setup.splits.train,
            config.data,
            batch_size=training.batch_size,
            seed=config.seed,
            start_step=start,
            process_index=jax.process_index(),
            process_count=jax.process_count(),
            unreadable=setup.unreadable,
        )

    return loop.train(
        steps.make_train_step(task, setup.mesh),
        state,
        batches,
        training=training,
        mesh=setup.mesh,
        directory=directory,
        settings=training_settings(setup, section, identity),
        about=about,
        label=label,
        macs=macs,
        profile=setup.profile,
        evaluate=evaluate,
    )


def load(
    setup: Setup,
    network: functional.Network,
    section: str,
    directory: Path,
    identity: Mapping[str, Any],
) -> steps.TrainState:
    """The state that `train` of the same arguments has ended with.

    Raises:
      InputError: if there is no checkpoint, its training is not finished, or its settings differ.
    """
    training = setup.config[section]
    _, state = _begin(setup, network, section)
    settings = training_settings(setup, section, identity)
    saved = checkpoint.restore(directory / checkpoint.DIRECTORY, settings, state)
    if saved is None:
        raise InputError(
            f"there is no checkpoint in {directory}; train one by scarlet train_{section}"
        )
    if (done := int(saved.state.step)) < training.steps:
        raise InputError(
            f"{directory} has trained {done} of {training.steps} steps; "
            f"finish it with scarlet train_{section}"
        )
    return saved.state


def _begin(
    setup: Setup, network: functional.Network, section: str
) -> tuple[steps.Task, steps.TrainState]:
    """What is trained, and its state before the first step."""
    config = setup.config
    labels, balance = setup.splits.train.labels(), config[section].class_balance
    weights = class_weights(labels, setup.size.num_classes, balance)
    task = steps.Task(network.graphdef, config[section], config.data, config.seed, weights)
    return task, devices.replicate(setup.mesh, steps.init_state(network, task))


def class_weights(
    labels: NDArray[np.int32], num_classes: int, balance: float
) -> NDArray[np.float32] | None:
    """What images of each class count in the loss, `float32[C]`, 1 on average; None for equally.

    Args:
      labels: of the training images, `int32[N]`; those below 0 are not known.
      num_classes: C.
      balance: `class_balance` of a training section.
    """
    if not balance:
        return None
    counts = np.bincount(labels[labels >= 0], minlength=num_classes)
    weights = np.maximum(counts, 1.0) ** -balance
    return (weights * counts.sum() / (weights * counts).sum()).astype(np.float32)


def trained_network(network: functional.Network, state: steps.TrainState) -> functional.Network:
    """The network with a state's weights to evaluate with, as plain arrays."""
    return functional.Network(network.graphdef, *devices.local(steps.inference_arrays(state)))


def latest_record(directory: Path) -> Mapping[str, Any]:
    """The record of the last checkpoint in a training's directory; empty if there is none."""
    return checkpoint.latest_record(directory / checkpoint.DIRECTORY)
