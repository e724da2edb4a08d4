"""A search as it is shown: what is evaluated over what is computed."""

import numpy as np

from scarlet_jax import report, search


def searched(problem: search.Problem, state: search.State) -> report.Search:
    """A search, finished or not, for the report and its figures."""
    columns = dict(zip(problem.names, state.values.T, strict=True))
    ranked = sorted(problem.objectives, key=lambda objective: objective.goal == "none")
    upwards = next((o for o in ranked if o.is_evaluated), ranked[0])
    others = [o for o in ranked if o is not upwards] or [upwards]
    across = next((o for o in others if o.name == problem.pick_by), others[0])
    front = search.front_indices(problem, state)
    return report.Search(
        architectures=state.architectures,
        columns=columns,
        axes=(across.name, upwards.name),
        maximize=(across.goal == "max", upwards.goal == "max"),
        feasible=problem.feasible(state.values),
        born=state.born,
        origin=[search.ORIGINS[code] for code in state.origin],
        generations=[row[row >= 0] for row in state.survivors],
        front=front[np.argsort(columns[across.name][front], kind="stable")],
        hypervolume=search.hypervolume_curve(problem, state),
        units={own.name: own.unit for own in problem.objectives if own.unit},
    )
