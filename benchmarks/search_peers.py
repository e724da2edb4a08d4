"""The engine, pymoo's NSGA-II and random search on one task: what each evaluates, in order."""

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.search_tasks import Task
from scarlet_jax import search
from scarlet_jax.search import nsga2
from scarlet_jax.search.variation import neighbours, random_mutation
from scarlet_jax.space import Array

POPULATION = 70  # table 1, of all of them

# The engine without each kind of variation: the others keep their proportions.
ABLATIONS: dict[str, dict[str, Any]] = {
    "table 1": {},
    "no crossover": {"mutation_ratio": 1.0},
    "no random": {"p_random": 0.0, "p_reinforced": 0.65 / 0.8, "p_prior": 0.15 / 0.8},
    "no reinforced": {"p_random": 0.2 / 0.35, "p_reinforced": 0.0, "p_prior": 0.15 / 0.35},
    "no prior-regulated": {"p_random": 0.2 / 0.85, "p_reinforced": 0.65 / 0.85, "p_prior": 0.0},
}

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
    changed = {"pick_by": objectives[0].name, "generations": budget, **settings}
    every = np.ones((task.depth, task.num_choices), bool)
    problem = search.make_problem(every, objectives, changed)
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


def local_search(task: Task, seed: int, budget: int, start: int = 10) -> Array:
    """Pareto local search (Paquete et al., 2004): all neighbours of what is on the front.

    From a few architectures drawn uniformly; one of the front's members that are not explored is
    taken at random, and what is one choice away from it evaluated.
    """
    rng = np.random.default_rng(seed)
    found = list(random(task, seed, start))
    values = list(task.values(np.array(found)))
    known, explored = {row.tobytes() for row in found}, set[int]()
    allowed = np.ones((task.depth, task.num_choices), bool)
    while len(found) < budget:
        front = np.flatnonzero(nsga2.is_non_dominated(np.array(values)))
        open_ = [n for n in front if n not in explored]
        if not open_:
            found_anew = rng.integers(task.num_choices, size=(1, task.depth), dtype=np.int32)
        else:
            explored.add(own := rng.choice(open_))
            found_anew = neighbours(found[own][None], allowed)[0]
        new = [row for row in rng.permutation(found_anew) if row.tobytes() not in known]
        if new:
            known |= {row.tobytes() for row in new}
            found += new
            values += list(task.values(np.array(new)))
    return np.array(found[:budget])


def aging_evolution(
    task: Task, seed: int, budget: int, population: int = 20, sample: int = 5
) -> Array:
    """Regularized evolution (Real et al., 2019), for several objectives.

    A parent is the best of a sample of the population, by front and crowding distance; one of its
    layers takes another choice; the oldest dies.
    """
    rng = np.random.default_rng(seed)
    found = list(random(task, seed, population))
    values = list(task.values(np.array(found)))
    weights = np.ones(len(values[0]))
    allowed = np.ones((task.depth, task.num_choices), bool)
    while len(found) < budget:
        drawn = len(found) - population + rng.choice(population, sample, replace=False)
        best = drawn[nsga2.survive(np.array(values)[drawn], weights, 1)[0]]
        child = random_mutation(rng, found[best][None], allowed)
        found.append(child[0])
        values.append(task.values(child)[0])
    return np.array(found)


def pymoo_integers(task: Task, seed: int, budget: int, population: int = POPULATION) -> Array:
    """pymoo's NSGA-II as its documentation has it for integers: rounded SBX and polynomials."""
    from pymoo.operators.crossover.sbx import SBX
    from pymoo.operators.mutation.pm import PM
    from pymoo.operators.repair.rounding import RoundingRepair

    rounded: dict[str, Any] = {"vtype": float, "repair": RoundingRepair()}
    return _pymoo(
        task, seed, budget, population, SBX(prob=1.0, eta=3.0, **rounded), PM(eta=3.0, **rounded)
    )


def pymoo_choices(task: Task, seed: int, budget: int, population: int = POPULATION) -> Array:
    """pymoo's NSGA-II with operators for unordered choices, which suit architectures better.

    Uniform crossover, and a mutation that draws each layer anew with a chance of 1 / L.
    """
    from pymoo.core.mutation import Mutation
    from pymoo.operators.crossover.ux import UniformCrossover

    class DrawAnew(Mutation):
        def _do(self, problem: Any, X: Any, random_state: Any = None, **_: Any) -> Any:
            drawn = random_state.integers(task.num_choices, size=X.shape)
            return np.where(random_state.random(X.shape) < 1 / task.depth, drawn, X)

    return _pymoo(task, seed, budget, population, UniformCrossover(prob=1.0), DrawAnew())


def _pymoo(
    task: Task, seed: int, budget: int, population: int, crossover: Any, mutation: Any
) -> Array:
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
        pop_size=population,
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
