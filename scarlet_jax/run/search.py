"""The search of a work directory."""

from collections.abc import Mapping
from contextlib import ExitStack
from itertools import pairwise
from typing import Any

import numpy as np
from absl import logging
from numpy.typing import NDArray

from scarlet_jax import interrupts, processes, ranking, search, tensors
from scarlet_jax import space as spaces
from scarlet_jax.errors import InputError
from scarlet_jax.files import write_json
from scarlet_jax.nn import functional
from scarlet_jax.progress import Progress, say
from scarlet_jax.run import board
from scarlet_jax.run.one_writer import one_writer
from scarlet_jax.run.setup import Setup, data_settings, search_seed
from scarlet_jax.run.subnet import model_name
from scarlet_jax.run.supernet import path_scorer, right_images
from scarlet_jax.search.cache import Evaluate
from scarlet_jax.space import Array

DIRECTORY = "search"  # of its state, in the work directory


def score_context(setup: Setup, network: functional.Network) -> dict[str, Any]:
    """What a supernet's scores depend on, as JSON values."""
    section = setup.config.search
    return {
        "supernet": tensors.fingerprint((network.params, network.stats)),
        "space": setup.config.space.to_dict(),
        "data": data_settings(setup),
        "dtype": setup.config.model.dtype,
        "seed": setup.config.seed,  # of the held-out images
        "statistics": section.statistics,
        "calibration_batches": section.calibration_batches,
        "batch_size": section.batch_size,
    }


def kept_scorer(setup: Setup, network: functional.Network, context: Mapping[str, Any]) -> Evaluate:
    """`path_scorer`, but what was scored in the same `score_context` is looked up.

    Whoever asked for it: scores are kept beside the supernet, after every chunk.
    """
    score = path_scorer(setup, network)

    def score_or_stop(architectures: Array) -> NDArray[np.float64]:
        if processes.must_stop():
            interrupts.stop(
                "stopped in the search, whose scores are kept; the same command goes on from there"
            )
        return score(architectures)

    return search.remember(
        score_or_stop,
        setup.supernet_workdir / "evaluations",
        context,
        chunk=setup.config.search.chunk,
        save=processes.is_first(),
        agree=lambda value: processes.gather(value)[0],
    )


@one_writer
def search_supernet(setup: Setup, network: functional.Network) -> search.State:
    """Searches with the supernet's weights and writes `front.json`.

    What has been scored before is not scored again, see `kept_scorer`.
    """
    section, problem = setup.config.search, setup.problem
    _say_start(problem)
    save = processes.is_first()
    context, directory = score_context(setup, network), setup.workdir / DIRECTORY
    evaluate = kept_scorer(setup, network, context)
    seed = search_seed(setup.config)
    begun = search.load(problem, seed=seed, directory=directory, context=context)
    with ExitStack() as stack:
        stack.enter_context(interrupts.deferred())
        progress = stack.enter_context(
            Progress("search", section.generations, "generation", max(begun.generation - 1, 0))
        )
        events = None
        if save and not search.is_finished(problem, begun):
            events = stack.enter_context(board.begin(setup, begun, directory))

        def on_generation(state: search.State) -> None:
            # What a search begins with is its generation 0.
            progress.update(state.generation - 1, _search_detail(problem, state))
            if events is not None:
                board.tell(events, problem, state)

        state = search.run(
            problem,
            evaluate,
            seed=seed,
            directory=directory,
            context=context,
            save=save,
            on_generation=on_generation,
        )
        if events is not None:
            board.show(events, problem, state)
    front = search.front(problem, state)
    for model in front["front"]:
        model["blocks"] = spaces.to_names(setup.space, model["architecture"])
    path = setup.workdir / "front.json"
    if save:
        write_json(path, {"space": setup.space.name, **front})
    search.say_picks(problem, state)
    say(
        f"search: {state.evaluations} evaluated, hypervolume {front['hypervolume']:.4f}, "
        f"{len(front['front'])} on the front, in {path}"
    )
    return state


def _say_start(problem: search.Problem) -> None:
    """Warns of a warm start that is not taken whole."""
    if problem.start:
        values = problem.computed_values(np.array(problem.start, np.int32))
        inside = int(problem.within_bounds(values, computed_only=True).sum())
        taken = min(inside, 2 * problem.population)  # what is evaluated before any generation
        if taken < len(problem.start):
            logging.warning(
                "%d of %d architectures of search.start are evaluated: %d are within the bounds, "
                "and twice the population is %d",
                taken,
                len(problem.start),
                inside,
                2 * problem.population,
            )


def undecided(setup: Setup, network: functional.Network, state: search.State) -> list[str]:
    """Says of which picks, next to each other by their scores, the order is not known.

    Those are within `ranking.CLEAR` standard errors of their difference, had other images been
    drawn.
    """
    picks = state.architectures[search.pick_indices(setup.problem, state)]
    if len(picks) < 2:
        return []
    right = right_images(setup, network)(picks)
    scores, errors = right.mean(axis=1), ranking.difference_errors(right)
    names = [model_name(setup, number, pick) for number, pick in enumerate(picks)]
    order = np.argsort(-scores, kind="stable").tolist()
    return [
        f"which of {names[a]} and {names[b]} is better is not known: on the supernet they get "
        f"{scores[a]:.2%} and {scores[b]:.2%} of {right.shape[1]:,} images right, within "
        f"{ranking.CLEAR:g} standard errors of the difference, {errors[a, b]:.2%} each"
        for a, b in pairwise(order)
        if scores[a] - scores[b] <= ranking.CLEAR * errors[a, b]
    ]


def check_searched(setup: Setup) -> None:
    """Raises `InputError` if the work directory holds no search to go on with."""
    path = setup.workdir / DIRECTORY / search.FILE_NAME
    if not path.exists():
        raise InputError(f"there is no search to resume: {path} does not exist")


def saved_search(setup: Setup, network: functional.Network) -> search.State:
    """The search of the work directory as far as it has come, if there is one.

    Raises:
      InputError: if it is another search, or of another supernet.
    """
    return search.load(
        setup.problem,
        seed=search_seed(setup.config),
        directory=setup.workdir / DIRECTORY,
        context=score_context(setup, network),
    )


def _search_detail(problem: search.Problem, state: search.State) -> str:
    """Of the new architectures proposed, feasible are those that satisfied every constraint."""
    feasible = problem.feasible(state.values)
    details = [
        f"{state.evaluations} evaluated",
        f"{feasible.sum() / max(state.proposed, 1):.0%} feasible",
        f"hypervolume {search.hypervolume(problem, state):.3f}",
    ]
    for column in problem.evaluated:
        objective, scores = problem.objectives[column], state.values[feasible, column]
        if len(scores) and objective.goal != "none":
            best = scores.max() if objective.goal == "max" else scores.min()
            details.append(f"best {objective.name} {best:.3f}")
    return ", ".join(details)
