"""What a report is made of: plain data, its checks, and the few numbers derived from models."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from scarlet_jax import ranking
from scarlet_jax import space as spaces
from scarlet_jax.errors import InputError
from scarlet_jax.report.quantities import Quantity, quantity
from scarlet_jax.space import Array, Space

Points = NDArray[np.float64]  # [n, 2]: x and y
Columns = Mapping[str, NDArray[np.float64]]  # [E] each: accuracy, macs, params, latency, ...
Curve = Sequence[Mapping[str, float]]  # records with "step" and any of the metrics below


@dataclass(frozen=True)
class Model:
    """An architecture that is picked or trained. Accuracies are in [0, 1], None if not measured."""

    name: str
    architecture: Sequence[int]
    index: int | None  # into the search's history; None: not marked on the front
    is_picked: bool  # by the search as it is now
    values: Mapping[str, float]  # macs, params, and what was searched; NaN where not known
    validation_accuracy: float | None  # retrained, on held-out training images
    test_accuracy: float | None  # retrained
    test_images: int
    curve: Curve

    @property
    def is_trained(self) -> bool:
        return self.validation_accuracy is not None or self.test_accuracy is not None

    @property
    def supernet_accuracy(self) -> float | None:
        accuracy = self.values.get("accuracy", math.nan)
        return None if math.isnan(accuracy) else accuracy


@dataclass(frozen=True)
class Search:
    """Everything a search evaluated, in order, and what became of it."""

    architectures: Array  # int32[E, L]
    columns: Columns
    axes: tuple[str, str]  # the columns that the front is drawn by, x and y
    maximize: tuple[bool, bool]  # whether more is better, of each axis
    feasible: NDArray[np.bool_]  # [E], satisfies every constraint
    born: Array  # int32[E], the generation it was evaluated in, from 0
    origin: Sequence[str]  # E names: initial, crossover, random, reinforced, prior
    generations: Sequence[Array]  # int32[<= n] each, survivors: indices into the history
    front: Array  # int32[F], indices of the final non-dominated set, ascending x
    hypervolume: NDArray[np.float64]  # [E], after each evaluation, in [0, 1]
    units: Mapping[str, str] = field(default_factory=dict)  # of columns that have one

    def quantity(self, name: str) -> Quantity:
        """How a column is called and written."""
        return quantity(name, self.units.get(name, ""))

    def points(self, indices: Array | slice = slice(None)) -> Points:
        """Where architectures lie on the axes, `float64[n, 2]`; NaN where not measured."""
        return np.stack([self.columns[axis][indices] for axis in self.axes], axis=1)


@dataclass(frozen=True)
class Ranking:
    """N networks as the supernet scores them, and trained alone. Errors are standard errors."""

    scores: NDArray[np.float64]  # [N] in [0, 1], as accuracies
    accuracies: NDArray[np.float64]  # [N], trained alone, on the same images
    images: int
    steps: int  # of each training
    macs: tuple[int, int]  # the least and the most
    # By what networks are ordered by, tau with the accuracies, and how much greater the score's
    # is; each with the ends of a 95% interval. None where not defined.
    kendall_tau: Mapping[str, Mapping[str, Sequence[float | None]]]
    by_images: float  # error of a score
    by_calibration: float  # error of a score
    of_difference: float  # error of the difference of two
    clear_pairs: float  # share of the pairs that are further apart than twice that
    differing: str  # settings it was made with that are not the page's, if any


@dataclass(frozen=True)
class Training:
    """What has to be known to read the curves of a training."""

    label_smoothing: float
    least_loss: float  # of training, with these smoothed labels


class Setting(NamedTuple):
    """A setting by its dotted name, as Python writes it."""

    name: str
    value: str
    default: str


class Command(NamedTuple):
    purpose: str
    text: str  # to copy


@dataclass(frozen=True)
class Report:
    """Everything the page shows. None and empty sequences stand for what has not been run."""

    title: str
    date: str  # of the latest result; empty if there is none
    space: Space
    supernet_curve: Curve
    supernet_training: Training
    subnet_training: Training
    search: Search | None
    models: Sequence[Model]
    ranking: Ranking | None
    retrain: Sequence[str]  # commands that train the models which are not, and renew the page
    commands: Sequence[Command]  # that use what is here
    reproduction: Mapping[str, str]  # command, seed, versions, device, wall times
    settings: Sequence[Setting]
    notes: Sequence[str]


def check(report: Report) -> None:
    """Checks everything that the figures rely on.

    Raises:
      InputError: for arrays of the wrong shape or range, architectures that are not of the
        space, or accuracies outside [0, 1].
    """
    if report.search is not None:
        _check_search(report.space, report.search)
    for model in report.models:
        architecture = spaces.validate(report.space, model.architecture)
        for accuracy in (model.supernet_accuracy, model.validation_accuracy, model.test_accuracy):
            if accuracy is not None and not 0 <= accuracy <= 1:
                raise InputError(f"{model.name} has accuracy {accuracy}; allowed: 0 to 1, or None")
        if model.index is not None:
            history = () if report.search is None else report.search.architectures
            _check_indices(f"{model.name}'s index", np.array([model.index]), len(history))
            if not np.array_equal(history[model.index], architecture):
                raise InputError(f"{model.name} is not number {model.index} of the history")


def _check_search(space: Space, search: Search) -> None:
    spaces.validate(space, search.architectures)
    size = len(search.architectures)
    named: dict[str, NDArray[Any]] = {
        f"column {name}": column for name, column in search.columns.items()
    }
    named |= {
        "feasible": search.feasible,
        "born": search.born,
        "origin": np.asarray(search.origin),
        "hypervolume": search.hypervolume,
    }
    for name, values in named.items():
        if values.shape != (size,):
            raise InputError(f"{name} has shape {list(values.shape)}; allowed: [{size}]")
    for axis in search.axes:
        if axis not in search.columns:
            raise InputError(f"axis {axis!r} is no column; there are: {', '.join(search.columns)}")
    for name in named.keys() & {"column accuracy", "hypervolume"}:
        values = named[name][~np.isnan(named[name])]
        if ((values < 0) | (values > 1)).any():
            raise InputError(f"{name} from {values.min()} to {values.max()}; allowed: 0 to 1")
    for number, survivors in enumerate(search.generations):
        _check_indices(f"generation {number}", survivors, size)
    _check_indices("front", search.front, size)
    if not (np.diff(search.points(search.front)[:, 0]) >= 0).all():
        raise InputError(f"front is not in the order of its {search.axes[0]}")


def _check_indices(name: str, indices: Array, size: int) -> None:
    integers = indices.ndim == 1 and np.issubdtype(indices.dtype, np.integer)
    if not integers or ((indices < 0) | (indices >= size)).any():
        raise InputError(f"{name} is {indices}; allowed: indices into the {size} evaluated")


def best_model(models: Sequence[Model]) -> tuple[Model, str] | None:
    """The best model and the name of the score that chose it; of equals the one of fewest MACs.

    Validation accuracy decides, so that the test images take no part in the choice; test
    accuracy, then the supernet's, where no model has been validated. So the best is a trained
    one, if any is.
    """
    for score in ("validation_accuracy", "test_accuracy", "supernet_accuracy"):
        scored = [model for model in models if getattr(model, score) is not None]
        if scored:
            best = max(scored, key=lambda model: (getattr(model, score), -model.values["macs"]))
            return best, score
    return None


def kendall_tau(models: Sequence[Model], score: str) -> tuple[float | None, int]:
    """Kendall's tau-b of the supernet's accuracies against `score` of the retrained models.

    Args:
      models: those without one of the two are left out.
      score: `validation_accuracy` or `test_accuracy`.

    Returns:
      tau, or None where it is not defined (fewer than two models, or constant accuracies), and
      the number of models it rests on.
    """
    pairs = [
        (model.supernet_accuracy, getattr(model, score))
        for model in models
        if None not in (model.supernet_accuracy, getattr(model, score))
    ]
    tau = ranking.tau(*np.array(pairs, np.float64).reshape(-1, 2).T)
    return (None if math.isnan(tau) else tau), len(pairs)


def series(curve: Curve, key: str) -> Points:
    """Steps and values of one metric, `float64[n, 2]`, from the records that have it."""
    pairs = [(record["step"], record[key]) for record in curve if key in record]
    return np.array(pairs, np.float64).reshape(-1, 2)
