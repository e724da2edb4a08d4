"""How far the supernet of a work directory can be trusted: some networks are trained alone."""

import dataclasses
import math
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scarlet_jax import cost, processes, ranking, search, tensors
from scarlet_jax import space as spaces
from scarlet_jax.differences import differences
from scarlet_jax.files import read_signed, write_signed
from scarlet_jax.nn import functional
from scarlet_jax.progress import say
from scarlet_jax.run.one_writer import one_writer
from scarlet_jax.run.search import score_context
from scarlet_jax.run.setup import Setup, training_settings
from scarlet_jax.run.subnet import results, train_subnet
from scarlet_jax.run.supernet import right_images
from scarlet_jax.space import Array

DIRECTORY = "rank"  # of the networks that are trained for it, in the work directory
RECORD = "rank.json"
CALIBRATIONS = 4  # ours: so many are compared, to know what another would have changed
SUPERNET, LAYERS = "supernet's score", "layers that are no skip"
Record = dict[str, Any]


@one_writer
def rank_supernet(
    setup: Setup, network: functional.Network, minutes: float = math.inf
) -> Record | None:
    """Compares the supernet's order of some networks with that of the same trained alone.

    The networks are drawn from those that a search begins with, so within its bounds, one from
    each of `rank.architectures` groups of equal size by MACs. They are trained like a subnet, in
    a share of its steps, in random order, and compared on the validation images. Writes
    `rank.json`; what is trained is kept.

    Args:
      setup: of the work directory.
      network: the supernet.
      minutes: after which no further training is begun that is not likely to be over by then.

    Returns:
      The record written; None where time was too short for two networks.

    Raises:
      InputError: see `search.ask` and `train_subnet`.
    """
    sample, brief = stratified_sample(setup), _briefly(setup)
    right = _right(setup, network, sample)
    accuracies = _trained(brief, sample, minutes)
    say(f"ranking: {len(accuracies)} of {len(sample)} networks trained alone")
    if len(accuracies) < 2:
        return None
    record = {
        "context": score_context(setup, network),
        "sample": len(sample),
        "steps": brief.config.subnet.steps,
        "images": right.shape[2],
        **_compared(setup, sample[: len(accuracies)], right[:, : len(accuracies)], accuracies),
    }
    if processes.is_first():
        write_signed(setup.workdir / RECORD, record)
    _say(record)
    return record


def load_record(setup: Setup, network: functional.Network) -> Record | None:
    """What `rank_supernet` has written, if it is of this supernet's scores."""
    record = read_signed(setup.workdir / RECORD)
    if record is None or differences(record["context"], score_context(setup, network)):
        return None
    return record


def stratified_sample(setup: Setup) -> Array:
    """The architectures to train, `int32[<= rank.architectures, L]`, in random order."""
    problem, seed = setup.problem, setup.config.seed
    every = search.ask(problem, search.init(problem, seed)).architectures
    wanted = setup.config.rank.architectures
    if len(every) < wanted:
        say(f"ranking: rank.architectures is {wanted}, a search begins with {len(every)}")
    rng = np.random.default_rng([seed, wanted])
    order = np.argsort(cost.costs(setup.space, every, setup.size)[:, 0], kind="stable")
    groups = np.array_split(every[order], min(wanted, len(every)))
    return rng.permutation(np.stack([rng.choice(group) for group in groups]))


def _briefly(setup: Setup) -> Setup:
    """The setup that trains the sample: a share of a subnet's steps, in a folder of its own.

    Weights are averaged over as large a part of the steps as a subnet's.
    """
    config = setup.config.copy_and_resolve_references()
    section, share = config.subnet, config.rank.share
    with config.unlocked():
        section.warmup_steps = math.floor(section.warmup_steps * share)
        section.steps = math.ceil(section.steps * share)
        section.ema_decay = max(0.0, 1 - (1 - section.ema_decay) / share)
    return dataclasses.replace(setup, config=config.lock(), workdir=setup.workdir / DIRECTORY)


def _right(setup: Setup, network: functional.Network, sample: Array) -> NDArray[np.bool_]:
    """Which validation images each gets right in the supernet, `bool[R, P, images]`."""
    recalibrated = setup.config.search.statistics == "recalibrated"
    numbers = range(CALIBRATIONS if recalibrated else 1)
    return np.stack([right_images(setup, network, number)(sample) for number in numbers])


def _trained(setup: Setup, sample: Array, minutes: float) -> list[float]:
    """Validation accuracy of the first of the sample, as many as there is time for."""
    done, accuracies = results(setup.workdir), []
    begin, new = time.monotonic(), 0
    for architecture in sample:
        name = tensors.fingerprint(architecture)[:8]
        settings = training_settings(setup, "subnet", {"architecture": architecture.tolist()})
        result = done.get(name)
        if result is None or differences(result["settings"], settings):
            spent = (time.monotonic() - begin) / 60
            enough = spent + spent / new > minutes if new else minutes <= 0
            if processes.gather(enough)[0]:
                break
            result = train_subnet(setup, architecture, name)
            new += 1
        accuracies.append(float(result["validation_accuracy"]))
    return accuracies


def _compared(
    setup: Setup, sample: Array, right: NDArray[np.bool_], accuracies: list[float]
) -> Record:
    scores = right[0].mean(axis=1)
    macs, params = cost.costs(setup.space, sample, setup.size).T
    is_skip = np.array([choice.is_skip for choice in setup.space.choices])
    depth = (~is_skip[sample]).sum(axis=1)
    orders = {
        SUPERNET: scores,
        "MACs": macs,
        "parameters": params,
        "layers that are no skip": depth,
    }
    networks = zip(sample.tolist(), scores, accuracies, macs, params, depth, strict=True)
    return {
        "networks": [
            {
                "architecture": architecture,
                "blocks": spaces.to_names(setup.space, architecture),
                "score": float(score),
                "validation_accuracy": accuracy,
                "macs": int(own_macs),
                "params": int(own_params),
                "depth": int(layers),
            }
            for architecture, score, accuracy, own_macs, own_params, layers in networks
        ],
        "precision": ranking.precision(right)._asdict(),
        "kendall_tau": {
            name: [None if math.isnan(value) else value for value in interval]
            for name, interval in ranking.kendall_tau(orders, accuracies).items()
        },
    }


def _say(record: Record) -> None:
    for name, (tau, low, high) in record["kendall_tau"].items():
        known = "not defined" if tau is None else f"{tau:.2f}, 95% interval {low:.2f} to {high:.2f}"
        say(f"ranking: Kendall's tau of the {name} with accuracy alone: {known}")
    precision = ranking.Precision(**record["precision"])
    say(
        f"ranking: a score's standard error is {precision.by_images:.2%} by its "
        f"{record['images']:,} images and {precision.by_calibration:.2%} by the calibration; "
        f"{precision.clear_pairs:.0%} of the pairs differ by more than twice the error of it"
    )
