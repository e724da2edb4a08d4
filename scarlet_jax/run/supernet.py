"""The supernet of a work directory: train it, load it, score architectures with its weights."""

from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scarlet_jax import data, devices, evaluation, supernet
from scarlet_jax import space as spaces
from scarlet_jax.nn import functional
from scarlet_jax.run import training
from scarlet_jax.run.one_writer import one_writer
from scarlet_jax.run.setup import Setup
from scarlet_jax.space import Array
from scarlet_jax.train import loop
from scarlet_jax.train import step as steps


@one_writer
def train_supernet(setup: Setup) -> functional.Network:
    """Trains the supernet to the end and returns it with the weights to search with."""
    config, section = setup.config, setup.config.supernet
    network = _new_supernet(setup)
    score = _population_scorer(setup, network.graphdef)
    paths = spaces.sample(setup.space, np.random.default_rng(config.seed), section.eval_paths)

    def evaluate(state: steps.TrainState) -> dict[str, float]:
        accuracy = score(*steps.inference_arrays(state), paths)
        return {"validation_accuracy": float(accuracy.mean())}

    directory = setup.workdir / "supernet"
    state = training.train(setup, network, "supernet", "supernet", directory, {}, evaluate)
    return training.trained_network(network, state)


def load_supernet(setup: Setup, source: Path | None = None) -> functional.Network:
    """The trained supernet of a work directory, `source` or the setup's own.

    Raises:
      InputError: if there is none, its training is not finished, or its settings differ.
    """
    network = _new_supernet(setup)
    state = training.load(setup, network, "supernet", (source or setup.workdir) / "supernet", {})
    return training.trained_network(network, state)


def evaluate_paths(
    setup: Setup, network: functional.Network, architectures: Sequence[Array]
) -> NDArray[np.float64]:
    """Validation accuracy of P architectures with the supernet's weights, `float64[P]`."""
    return path_scorer(setup, network)(np.stack(architectures))


def path_scorer(
    setup: Setup, network: functional.Network
) -> Callable[[Array], NDArray[np.float64]]:
    """`architectures int32[P, L] -> float64[P]`, validation accuracy with a supernet's weights."""
    score = _population_scorer(setup, network.graphdef)
    arrays = devices.replicate(setup.mesh, (network.params, network.stats))
    return lambda architectures: score(*arrays, architectures)


@lru_cache(maxsize=1)  # training and search share one compiled program
def _population_scorer(setup: Setup, plan: supernet.Plan) -> Callable[..., NDArray[np.float64]]:
    """`(params, stats, architectures int32[P, L]) -> float64[P]`, validation accuracy.

    The validation images stay on the devices.
    """
    config, section = setup.config, setup.config.search

    def replicated(batch: data.Batch) -> Any:
        return devices.replicate(setup.mesh, loop.computed_part(batch))

    reading = {"batch_size": section.batch_size, "unreadable": setup.unreadable}
    validation = [
        replicated(batch)
        for batch in data.eval_batches(setup.splits.validation, config.data, **reading)
    ]
    calibration: list[data.Batch] = []
    if section.statistics == "recalibrated":
        source = data.train_batches(
            setup.splits.train, config.data, seed=config.seed, start_step=0, **reading
        )
        calibration = [next(source) for _ in range(section.calibration_batches)]
        source.close()
    score = evaluation.PopulationEvaluator(
        plan,
        config.data,
        setup.mesh,
        statistics=section.statistics,
        calibration=calibration,
        chunk=section.chunk,
    )
    return lambda params, stats, paths: score(params, stats, paths, lambda: validation)


def _new_supernet(setup: Setup) -> functional.Network:
    return supernet.create(
        setup.space,
        num_classes=setup.size.num_classes,
        channels=setup.size.channels,
        **setup.config.model.to_dict(),
        seed=setup.config.seed,
    )
