"""The supernet of a work directory: train it, load it, score architectures with its weights."""

import dataclasses
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from numpy.typing import NDArray

from scarlet_jax import cost, data, devices, evaluation, models, subnet, supernet
from scarlet_jax import space as spaces
from scarlet_jax.errors import InputError
from scarlet_jax.nn import functional
from scarlet_jax.run import training
from scarlet_jax.run.one_writer import one_writer
from scarlet_jax.run.setup import Setup
from scarlet_jax.run.subnet import as_model
from scarlet_jax.space import Array
from scarlet_jax.train import sampler
from scarlet_jax.train import step as steps

COUNTED = 1000  # architectures whose mean MACs are taken for the space's


@one_writer
def train_supernet(setup: Setup) -> functional.Network:
    """Trains the supernet to the end and returns it with the weights to search with.

    Raises:
      InputError: without images for validation.
    """
    _check_validation(setup)
    config, section = setup.config, setup.config.supernet
    network = _new_supernet(setup)
    paths = spaces.sample(setup.space, np.random.default_rng(config.seed), section.eval_paths)

    def evaluate(state: steps.TrainState) -> dict[str, float]:
        trained = functional.Network(network.graphdef, *steps.inference_arrays(state))
        return {"validation_accuracy": float(path_scorer(setup, trained)(paths).mean())}

    directory = setup.workdir / "supernet"
    state = training.train(
        setup, network, "supernet", "supernet", directory, {}, {}, step_macs(setup), evaluate
    )
    return training.trained_network(network, state)


def step_macs(setup: Setup) -> float:
    """Of the paths of one step, in the mean over those of random architectures."""
    drawn = spaces.sample(setup.space, np.random.default_rng(0), COUNTED)
    paths = sampler.paths_per_step(setup.config.supernet.sampler, setup.space)
    return paths * float(cost.macs(setup.space, drawn, setup.size).mean())


def load_supernet(setup: Setup) -> functional.Network:
    """The trained supernet of the setup's `supernet_workdir`.

    Raises:
      InputError: if there is none, its training is not finished, its settings differ, or there are
        no images for validation.
    """
    _check_validation(setup)
    network = _new_supernet(setup)
    state = training.load(setup, network, "supernet", setup.supernet_workdir / "supernet", {})
    return training.trained_network(network, state)


def evaluate_paths(
    setup: Setup, network: functional.Network, architectures: Sequence[Array]
) -> NDArray[np.float64]:
    """Validation accuracy of P architectures with the supernet's weights, `float64[P]`."""
    return path_scorer(setup, network)(np.stack(architectures))


def is_supernet(path: Path) -> bool:
    """Whether it is a work directory with a supernet."""
    return (path / "supernet").is_dir()


def path_model(setup: Setup, network: functional.Network, architecture: Array) -> models.Model:
    """A path with the supernet's weights as a model of its own.

    In float32, as all models are, and with the statistics of batch norm that the search scores it
    with, if these are recalibrated.

    Args:
      setup: of the supernet.
      network: the supernet.
      architecture: `int32[L]`.
    """
    exact = network._replace(graphdef=dataclasses.replace(network.graphdef, dtype="float32"))
    graphdef, params, stats = subnet.extract(setup.space, exact, architecture)
    section = setup.config.data

    @jax.jit
    def recalibrated(
        stats: functional.Stats, batch: evaluation.Batch, rate: float
    ) -> functional.Stats:
        images = devices.normalise(jnp.asarray(batch["image"]), section.mean, section.std)
        norm = evaluation.batch_statistics(batch, rate)
        return functional.apply(graphdef, params, stats, images, norm)[1]

    for number, batch in enumerate(_calibration(setup, 0)):
        stats = recalibrated(stats, batch, 1.0 / (number + 1.0))
    path = functional.Network(graphdef, params, stats)
    return as_model(setup, architecture, nnx.merge(*path).skip, path)


def path_scorer(
    setup: Setup, network: functional.Network
) -> Callable[[Array], NDArray[np.float64]]:
    """`architectures int32[P, L] -> float64[P]`, validation accuracy with a supernet's weights."""
    correct = right_images(setup, network)
    return lambda architectures: correct(architectures).mean(axis=1)


def right_images(
    setup: Setup, network: functional.Network, calibration: int = 0
) -> Callable[[Array], NDArray[np.bool_]]:
    """`architectures int32[P, L] -> bool[P, images]`, which validation images each gets right.

    Args:
      setup: of the work directory.
      network: the supernet.
      calibration: which training images statistics are recalibrated on: every number stands for
        others, 0 for those that a search scores with.
    """
    evaluate, validation = _evaluator(setup, network.graphdef)
    batches = _calibration(setup, calibration)
    params, stats = devices.replicate(setup.mesh, (network.params, network.stats))
    return lambda architectures: evaluate(params, stats, architectures, validation, batches)


@lru_cache(maxsize=1)  # training and search share one compiled program
def _evaluator(
    setup: Setup, plan: supernet.Plan
) -> tuple[evaluation.PopulationEvaluator, Sequence[evaluation.Batch]]:
    """It, and the validation images, which stay in memory."""
    config, section = setup.config, setup.config.search
    evaluator = evaluation.PopulationEvaluator(
        plan, config.data, setup.mesh, statistics=section.statistics, chunk=section.chunk
    )
    return evaluator, [
        devices.computed_part(batch)
        for batch in data.eval_batches(
            setup.splits.validation,
            config.data,
            batch_size=section.batch_size,
            unreadable=setup.unreadable,
        )
    ]


@lru_cache(maxsize=1)
def _calibration(setup: Setup, number: int) -> Sequence[evaluation.Batch]:
    """Batches of training images; none unless statistics are recalibrated."""
    section = setup.config.search
    if section.statistics != "recalibrated":
        return []
    source = data.train_batches(
        setup.splits.train,
        setup.config.data,
        batch_size=section.batch_size,
        seed=setup.config.seed,
        start_step=number * section.calibration_batches,
        unreadable=setup.unreadable,
    )
    batches = [devices.computed_part(next(source)) for _ in range(section.calibration_batches)]
    source.close()
    return batches


def _check_validation(setup: Setup) -> None:
    if not len(setup.splits.validation):
        raise InputError(
            f"data.validation is {setup.config.data.validation}, which holds out no image; a "
            "search needs some: allowed is a share above 0 and under 1"
        )


def _new_supernet(setup: Setup) -> functional.Network:
    return supernet.create(
        setup.space,
        num_classes=setup.size.num_classes,
        channels=setup.size.channels,
        **setup.config.model.to_dict(),
        seed=setup.config.seed,
    )
