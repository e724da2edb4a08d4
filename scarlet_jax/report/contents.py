"""What a report is made of: plain data, and the few numbers derived from it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from scarlet_jax import space as spaces
from scarlet_jax.errors import InputError
from scarlet_jax.space import Space

Points = NDArray[np.float64]  # [n, 2]: MACs, accuracy
Curve = Sequence[Mapping[str, float]]  # records with "step" and any of the metrics below

TRAINING = {"loss": "loss", "accuracy": "accuracy"}  # the training key of each metric
VALIDATION = {"loss": "validation_loss", "accuracy": "validation_accuracy"}


@dataclass(frozen=True)
class Model:
    """One picked architecture. Accuracies are in [0, 1], or None where not measured (yet)."""

    name: str
    architecture: Sequence[int]
    supernet_accuracy: float
    macs: int
    params: int
    validation_accuracy: float | None  # retrained, on held-out training images
    test_accuracy: float | None  # retrained
    test_images: int
    curve: Curve


@dataclass(frozen=True)
class Report:
    """Everything the page shows. Empty sequences and arrays stand for what has not been run."""

    title: str
    space: Space
    supernet_curve: Curve
    generations: Sequence[Points]  # survivors of each generation, from generation 0
    history: Points  # [E, 2], all that was evaluated
    front: Points  # [F, 2], the final non-dominated set
    models: Sequence[Model]
    reproduction: Mapping[str, str]  # command, seed, versions, device, wall times
    config: str  # YAML
    notes: Sequence[str]


def check(report: Report) -> None:
    """Checks everything that the figures rely on.

    Raises:
      InputError: for points that are not `[n, 2]`, architectures that are not of the space, or
        accuracies outside [0, 1].
    """
    generations = [(f"generation {i}", points) for i, points in enumerate(report.generations)]
    for name, points in [("history", report.history), ("front", report.front), *generations]:
        shape = np.shape(points)
        if len(shape) != 2 or shape[1] != 2:
            raise InputError(f"{name} has shape {list(shape)}; allowed: [n, 2], MACs and accuracy")
    for model in report.models:
        spaces.validate(report.space, model.architecture)
        for accuracy in (model.supernet_accuracy, model.validation_accuracy, model.test_accuracy):
            if accuracy is not None and not 0 <= accuracy <= 1:
                raise InputError(f"{model.name} has accuracy {accuracy}; allowed: 0 to 1, or None")


def best_model(models: Sequence[Model]) -> tuple[Model, str] | None:
    """The best model and the name of the score that chose it; of equals the one of fewest MACs.

    Validation accuracy decides, so that the test images take no part in the choice; test
    accuracy, then the supernet's, where no model has been validated.
    """
    for score in ("validation_accuracy", "test_accuracy", "supernet_accuracy"):
        scored = [model for model in models if getattr(model, score) is not None]
        if scored:
            return max(scored, key=lambda m: (getattr(m, score), -m.macs)), score.replace("_", " ")
    return None


def kendall_tau(models: Sequence[Model], score: str) -> tuple[float | None, int]:
    """Kendall's tau-b of the supernet's accuracies against `score` of the retrained models.

    Args:
      models: the picked models; those without the score are left out.
      score: `validation_accuracy` or `test_accuracy`.

    Returns:
      tau, or None where it is not defined (fewer than two models, or constant accuracies), and
      the number of models it rests on.
    """
    pairs = [
        (model.supernet_accuracy, getattr(model, score))
        for model in models
        if getattr(model, score) is not None
    ]
    if len(pairs) < 2:
        return None, len(pairs)
    tau = float(stats.kendalltau(*zip(*pairs, strict=True)).statistic)
    return (None if math.isnan(tau) else tau), len(pairs)


def series(curve: Curve, key: str) -> Points:
    """Steps and values of one metric, `float64[n, 2]`, from the records that have it."""
    pairs = [(record["step"], record[key]) for record in curve if key in record]
    return np.array(pairs, np.float64).reshape(-1, 2)


def non_dominated(points: Points) -> Points:
    """The points of fewest MACs and highest accuracy, `float64[m, 2]`, sorted by MACs."""
    points = points[np.lexsort((-points[:, 1], points[:, 0]))]
    best_before = np.maximum.accumulate(np.concatenate([[-np.inf], points[:-1, 1]]))
    return points[points[:, 1] > best_before[: len(points)]]
