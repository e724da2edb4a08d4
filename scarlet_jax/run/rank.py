"""How far the supernet of a work directory can be trusted: some networks are trained alone."""

import dataclasses
import math
import time
from typing import Any

import numpy as np
from absl import logging

from scarlet_jax import cost, processes, ranking, search, tensors
from scarlet_jax import space as spaces
from scarlet_jax.differences import describe, differences
from scarlet_jax.files import check_writable, read_signed, write_signed
from scarlet_jax.nn import functional
from scarlet_jax.progress import say
from scarlet_jax.run.one_writer import one_writer
from scarlet_jax.run.search import kept_scorer, score_context
from scarlet_jax.run.setup import Setup, search_seed, training_settings
from scarlet_jax.run.subnet import results, train_subnet
from scarlet_jax.run.supernet import right_images
from scarlet_jax.space import Array

DIRECTORY = "rank"  # of the networks that are trained for it, in the work directory
RECORD = "rank.json"
CALIBRATIONS = 4  # ours: so many are compared, to know what another would have changed
SCORE, LAYERS = "supernet's score", "layers that are no skip"
Record = dict[str, Any]


@one_writer
def rank_supernet(
    setup: Setup, network: functional.Network, minutes: float = math.inf
) -> Record | None:
    """Compares the supernet's order of some networks with that of the same trained alone.

    `rank.architectures` of those that a search begins with, and that are within all its bounds,
    spread evenly over them by MACs. They are trained like a subnet, in a share of its steps, and
    compared on the validation images, with any that were trained so before. Writes `rank.json`;
    what is trained is kept.

    Args:
      setup: of the work directory.
      network: the supernet.
      minutes: after which no further training is begun that is not likely to be over by then.

    Returns:
      The record written; None where there are not two networks to compare.

    Raises:
      InputError: see `search.ask` and `train_subnet`.
    """
    begin = time.monotonic()
    if processes.is_first():
        check_writable(setup.workdir / RECORD)
    context, brief = score_context(setup, network), _briefly(setup)
    candidates = by_macs(setup, _feasible(setup, kept_scorer(setup, network, context)))
    wanted = setup.config.rank.architectures
    if len(candidates) < wanted:
        say(
            f"ranking: of those that a search begins with, {len(candidates)} are within its "
            f"bounds; rank.architectures is {wanted}"
        )
    trained = _trained(brief, candidates, wanted, begin + 60 * minutes)
    if len(trained) < 2:
        logging.warning(
            "%d networks trained alone, too few to compare%s",
            len(trained),
            ": run it again with more --minutes" if len(trained) < len(candidates) else "",
        )
        return None
    record = {
        "context": context,
        "settings": _settings(setup),
        "steps": brief.config.subnet.steps,
        **_compared(setup, network, candidates[list(trained)], list(trained.values())),
    }
    if processes.is_first():
        write_signed(setup.workdir / RECORD, record)
    _say(record)
    return record


def load_record(setup: Setup, network: functional.Network) -> Record | None:
    """What `rank_supernet` has written, if it is of this supernet's scores.

    With what differs of the settings that it was made with, in words, as "differing".
    """
    record = read_signed(setup.workdir / RECORD)
    if record is None or differences(record["context"], score_context(setup, network)):
        return None
    return record | {"differing": describe(differences(record["settings"], _settings(setup)))}


def by_macs(setup: Setup, architectures: Array) -> Array:
    """The architectures `int32[P, L]` in an order of which any beginning is spread by MACs.

    By the reversed bits of their ranks (van der Corput's sequence), so a longer beginning has the
    shorter ones in it.
    """
    macs = cost.costs(setup.space, architectures, setup.size)[:, 0]
    digits = len(macs).bit_length()
    reversed_bits = (int(f"{number:0{digits}b}"[::-1], 2) for number in range(1 << digits))
    ranks = dict.fromkeys(bits * len(macs) >> digits for bits in reversed_bits)
    return architectures[np.argsort(macs, kind="stable")[list(ranks)[: len(macs)]]]


def _feasible(setup: Setup, score: search.Evaluate) -> Array:
    """The architectures that a search begins with, within all its bounds."""
    problem = setup.problem
    drawn = search.ask(problem, search.init(problem, search_seed(setup.config))).architectures
    values = problem.computed_values(drawn)
    if problem.evaluated:
        values[:, problem.evaluated] = score(drawn).reshape(len(drawn), -1)
    return drawn[problem.feasible(values)]


def _briefly(setup: Setup) -> Setup:
    """The setup that trains the networks: a share of a subnet's steps, in a folder of its own."""
    config = setup.config.copy_and_resolve_references()
    section, share = config.subnet, config.rank.share
    with config.unlocked():
        section.steps = max(1, round(section.steps * share))
        section.warmup_steps = min(round(section.warmup_steps * share), section.steps - 1)
    return dataclasses.replace(setup, config=config.lock(), workdir=setup.workdir / DIRECTORY)


def _settings(setup: Setup) -> dict[str, Any]:
    """What a ranking depends on beside the scores' context."""
    config = setup.config
    return {
        "subnet": training_settings(setup, "subnet", {})["subnet"],
        "rank": {"share": config.rank.share},
        "search": {"objectives": config.search.objectives.to_dict()},
    }


def _trained(setup: Setup, candidates: Array, wanted: int, end: float) -> dict[int, float]:
    """Validation accuracy by the number of the candidate.

    Of the first so many, as there is time for, and of all that were trained so before.
    """
    done, found = results(setup.workdir), {}
    seconds: list[float] = []  # of every training
    for number, architecture in enumerate(candidates):
        name = f"{tensors.fingerprint(architecture)[:8]}-{setup.config.subnet.steps}"
        settings = training_settings(setup, "subnet", {"architecture": architecture.tolist()})
        result = done.get(name)
        if result is None or differences(result["settings"], settings):
            begin = time.monotonic()
            likely = begin + (sum(seconds) / len(seconds) if seconds else 0.0)
            if processes.gather(number >= wanted or likely > end)[0]:
                continue
            say(f"ranking: network {number + 1} of {wanted}")
            result = train_subnet(setup, architecture, name)
            seconds.append(time.monotonic() - begin)
        found[number] = float(result["validation_accuracy"])
    return found


def _compared(
    setup: Setup, network: functional.Network, architectures: Array, accuracies: list[float]
) -> Record:
    recalibrated = setup.config.search.statistics == "recalibrated"
    right = np.stack(  # [R, P, images]
        [
            right_images(setup, network, number)(architectures)
            for number in range(CALIBRATIONS if recalibrated else 1)
        ]
    )
    scores = right[0].mean(axis=1)
    macs, params = cost.costs(setup.space, architectures, setup.size).T
    depth = (~setup.space.is_skip[architectures]).sum(axis=1)
    baselines = {"MACs": macs, "parameters": params, LAYERS: depth}
    rows = zip(architectures.tolist(), scores, accuracies, macs, params, depth, strict=True)
    return {
        "images": right.shape[2],
        "networks": [
            {
                "architecture": path,
                "blocks": spaces.to_names(setup.space, path),
                "score": float(score),
                "validation_accuracy": accuracy,
                "macs": int(own_macs),
                "params": int(own_params),
                "depth": int(layers),
            }
            for path, score, accuracy, own_macs, own_params, layers in rows
        ],
        "precision": ranking.precision(right)._asdict(),
        "kendall_tau": {
            name: {key: _or_none(interval) for key, interval in found._asdict().items()}
            for name, found in ranking.kendall_tau({SCORE: scores, **baselines}, accuracies).items()
        },
    }


def _or_none(interval: ranking.Interval) -> list[float | None]:
    """As JSON, which has no NaN."""
    return [None if math.isnan(value) else value for value in interval]


def _say(record: Record) -> None:
    count = len(record["networks"])
    say(f"ranking: {count} networks trained alone, each for {record['steps']:,} steps")
    for name, found in record["kendall_tau"].items():
        tau, low, high = found["tau"]
        text = "not defined" if tau is None else f"{tau:.2f}"
        if low is not None:
            text += f" (95% interval {low:.2f} to {high:.2f})"
        say(f"ranking: ordered by {name}, Kendall's tau with their accuracy is {text}")
    if count < ranking.FEWEST:
        say(f"ranking: intervals need {ranking.FEWEST} networks or more")
    precision = ranking.Precision(**record["precision"])
    say(
        f"ranking: a score's standard error is {precision.by_images:.2%} by its "
        f"{record['images']:,} images and {precision.by_calibration:.2%} by the calibration; "
        f"{precision.clear_pairs:.0%} of the pairs differ by more than {ranking.CLEAR:g} standard "
        "errors of their difference"
    )
