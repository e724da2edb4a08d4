"""The engine, pymoo's NSGA-II and random search on one task: what each evaluates, in order."""

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.search_tasks import Task
from configs import base
from scarlet_jax import search
from scarlet_jax.space import Array

POPULATION = 70  # table 1, of all of them

Run = Callable[[Task, int, int], Array]  # task, seed, budget to int32[budget, L]


def engine(task: Task, seed: int, budget: int, **settings: Any) -> Array:
    """Algorithm 1 as `configs/base.py` sets it, with equal weights and the task's bounds."""
    evaluated = task.front.shape[1] - len(task.tables)
    weight = 1 / task.front.shape[1]
    objectives = [search.Objective(f"score-{i}", "min", weight) for i in range(evaluated)]
    objectives += [
        search.Objective(f"cost-{i}", "min", weight, compute=table)
        for i, table in enumerate(task.tables)
    ]
    objectives += [
        search.Objective(f"bound-{i}", "none", low=low, high=high, compute=table)
        for i, (table, low, high) in enumerate(task.bounds)
    ]
    section = base.get_config().search
    section.update({"pick_by": objectives[0].name, "generations": budget, **settings})
    problem = search.make_problem(task.depth, task.num_choices, objectives, section)
    state = search.init(problem, seed)
    while state.evaluations < budget and not search.is_finished(problem, state):
        batch = search.ask(problem, state)
        state = search.tell(problem, state, batch, task.score(batch.architectures))
    return state.architectures[:budget]


def random(task: Task, seed: int, budget: int) -> Array:
    """Distinct architectures, drawn uniformly."""
    rng = np.random.default_rng(seed)
    drawn = rng.integers(task.num_choices, size=(2 * budget, task.depth), dtype=np.int32)
    _, first = np.unique(drawn, axis=0, return_index=True)
    return drawn[np.sort(first)][:budget]


def pymoo_integers(task: Task, seed: int, budget: int) -> Array:
    """pymoo's NSGA-II as its documentation has it for integers: rounded SBX and polynomials."""
    from pymoo.operators.crossover.sbx import SBX
    from pymoo.operators.mutation.pm import PM
    from pymoo.operators.repair.rounding import RoundingRepair

    rounded: dict[str, Any] = {"vtype": float, "repair": RoundingRepair()}
    return _pymoo(task, seed, budget, SBX(prob=1.0, eta=3.0, **rounded), PM(eta=3.0, **rounded))


def pymoo_choices(task: Task, seed: int, budget: int) -> Array:
    """pymoo's NSGA-II with operators for unordered choices, which suit architectures better.

    Uniform crossover, and a mutation that draws each layer anew with a chance of 1 / L.
    """
    from pymoo.core.mutation import Mutation
    from pymoo.operators.crossover.ux import UniformCrossover

    class DrawAnew(Mutation):
        def _do(self, problem: Any, X: Any, random_state: Any = None, **_: Any) -> Any:
            drawn = random_state.integers(task.num_choices, size=X.shape)
            return np.where(random_state.random(X.shape) < 1 / task.depth, drawn, X)

    return _pymoo(task, seed, budget, UniformCrossover(prob=1.0), DrawAnew())


def _pymoo(task: Task, seed: int, budget: int, crossover: Any, mutation: Any) -> Array:
    from pymoo.algorithms.moo.nsga2 import NSGA2
    from pymoo.core.problem import Problem
    from pymoo.operators.sampling.rnd import IntegerRandomSampling
    from pymoo.optimize import minimize

    evaluated: list[Array] = []

    class Integers(Problem):
        def __init__(self) -> None:
            super().__init__(
                n_var=task.depth,
                n_obj=task.front.shape[1],
                xl=0,
                xu=task.num_choices - 1,
                vtype=int,
            )

        def _evaluate(self, x: Any, out: dict[str, Any], *_: Any, **__: Any) -> None:
            architectures = x.astype(np.int32)
            evaluated.append(architectures)
            out["F"] = task.values(architectures)

    algorithm = NSGA2(
        pop_size=POPULATION,
        sampling=IntegerRandomSampling(),
        crossover=crossover,
        mutation=mutation,
        eliminate_duplicates=True,
    )
    minimize(Integers(), algorithm, ("n_eval", budget), seed=seed)
    return np.concatenate(evaluated)[:budget]


PEERS: dict[str, Run] = {
    "ours": engine,
    "pymoo, integers": pymoo_integers,
    "pymoo, choices": pymoo_choices,
    "random": random,
}
