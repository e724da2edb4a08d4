"""What TensorBoard is told of a search as it runs: numbers of each generation, a few pictures.

Nothing here is read again: a search goes on from `search.npz` alone.
"""

from pathlib import Path

from scarlet_jax import search
from scarlet_jax.events import Events
from scarlet_jax.report.front import front_pixels
from scarlet_jax.report.tallies import spread
from scarlet_jax.run.searched import searched
from scarlet_jax.run.setup import Setup, search_seed

PICTURES = 5  # of the front, evenly spaced, the first and the last included (ours)


def begin(setup: Setup, state: search.State, directory: Path) -> Events:
    """The events of a search that goes on from a state.

    The generation before is told again: a killed search may have saved it, and not told.
    """
    start = max(state.generation - 1, 0)
    events = Events(directory, start)
    if not start:
        section = setup.config.search.to_dict()
        events.hyperparameters({"seed": search_seed(setup.config), "search": section})
    if state.generation:
        tell(events, setup.problem, state)
    return events


def tell(events: Events, problem: search.Problem, state: search.State) -> None:
    """Tells of the generation that was finished last."""
    number, feasible = state.generation - 1, problem.feasible(state.values)
    best = {
        f"best_{objective.name}": (max if objective.goal == "max" else min)(scores)
        for objective, scores in zip(problem.objectives, state.values[feasible].T, strict=True)
        if objective.is_evaluated and objective.goal != "none"
    }
    events.scalars(
        number,
        {
            "hypervolume": search.hypervolume(problem, state),
            "front_size": len(search.front_indices(problem, state)),
            "evaluations": state.evaluations,
            **best,
        },
    )
    if number in spread(problem.generations + 1, PICTURES)[:-1]:
        show(events, problem, state)


def show(events: Events, problem: search.Problem, state: search.State) -> None:
    """Draws the front, after the generation that was finished last."""
    events.image(state.generation - 1, "front", front_pixels(searched(problem, state)))
