"""Algorithm 1 of the SCARLET supplementary as init, ask and tell over an immutable state.

A search evaluates 2n architectures drawn uniformly and then n offspring in each of N
generations, all within the bounds on MACs and parameters, none of them twice. Bounds include
their own value. What a state asks for depends on nothing but the state, so a search that is
killed goes on to the same result.
"""

import dataclasses
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from absl import logging
from numpy.typing import NDArray

from scarlet_jax import space as spaces
from scarlet_jax.errors import InputError
from scarlet_jax.search import nsga2, variation
from scarlet_jax.search import state as states
from scarlet_jax.search.problem import Problem
from scarlet_jax.search.state import ORIGINS, State
from scarlet_jax.space import Array

Evaluate = Callable[[Array], NDArray[np.float64]]  # int32[P, L] to accuracies [P] in [0, 1]


@dataclass(frozen=True)
class Batch:
    """Architectures `int32[B, L]` to evaluate, and their origins `int8[B]`."""

    architectures: Array
    origin: NDArray[np.int8]


def init(problem: Problem, seed: int) -> State:
    """The state before anything is evaluated. Raises `InputError` for a negative seed."""
    return states.empty(problem.space.depth, problem.population, seed)


def is_finished(problem: Problem, state: State) -> bool:
    return state.ended or state.generation > problem.generations


def ask(problem: Problem, state: State) -> Batch:
    """The architectures to evaluate next: new, distinct, within the bounds on MACs and parameters.

    As many as the generation still lacks; fewer, or none, if `max_tries` rounds of proposals
    do not find them.

    Raises:
      InputError: if not one initial proposal satisfies the bounds; names them and the nearest
        values seen.
    """
    lacking = _target(problem, state) - len(state.offspring)
    found = Batch(state.architectures[:0], state.origin[:0])
    seen_costs = []
    for proposals in _proposal_rounds(problem, state):
        costs = problem.costs(proposals.architectures)
        seen_costs.append(costs)
        known = np.concatenate([state.architectures, found.architectures])
        wanted = within_bounds(problem, costs) & _is_new(proposals.architectures, known)
        chosen = np.flatnonzero(wanted)[: lacking - len(found.origin)]
        found = Batch(
            np.concatenate([found.architectures, proposals.architectures[chosen]]),
            np.concatenate([found.origin, proposals.origin[chosen]]),
        )
        if len(found.origin) == lacking:
            break
    if not len(found.origin) and not len(state.architectures):
        raise InputError(_explain_bounds(problem, np.concatenate(seen_costs)))
    return found


def tell(problem: Problem, state: State, batch: Batch, accuracy: NDArray[np.float64]) -> State:
    """The state after a batch of `ask` was evaluated.

    All of it enters the history; what reaches `accuracy_min` becomes offspring. A full
    generation, or one that cannot be filled, is closed: the n best of its parents and
    offspring survive.

    Args:
      problem: what is searched.
      state: the one that was asked.
      batch: what it answered.
      accuracy: `[B]`, in [0, 1]; NaN for what could not be scored, which is never feasible.

    Raises:
      InputError: for accuracies of another shape or range.
    """
    accuracy = np.asarray(accuracy, np.float64)
    size = len(batch.origin)
    if accuracy.shape != (size,):
        raise InputError(f"accuracies of shape {list(accuracy.shape)}; expected [{size}]")
    invalid = np.isnan(accuracy)
    if invalid.any():
        logging.warning("%d of %d architectures scored NaN", invalid.sum(), size)
    if ((accuracy[~invalid] < 0) | (accuracy[~invalid] > 1)).any():
        raise InputError(
            f"accuracies from {np.nanmin(accuracy)} to {np.nanmax(accuracy)}; allowed: 0 to 1"
        )
    lacking = _target(problem, state) - len(state.offspring)
    feasible = len(state.accuracy) + np.flatnonzero(accuracy >= problem.accuracy_min)
    macs, params = problem.costs(batch.architectures).T
    state = dataclasses.replace(
        state,
        attempt=state.attempt + 1,
        architectures=np.concatenate([state.architectures, batch.architectures]),
        accuracy=np.concatenate([state.accuracy, accuracy]),
        macs=np.concatenate([state.macs, macs]),
        params=np.concatenate([state.params, params]),
        born=np.concatenate([state.born, np.full(size, state.generation, np.int32)]),
        origin=np.concatenate([state.origin, batch.origin]),
        offspring=np.concatenate([state.offspring, feasible.astype(np.int32)]),
    )
    given_up = size < lacking or state.attempt == problem.max_tries
    if len(feasible) < lacking and not given_up:
        return state
    return _close_generation(problem, state)


def run(
    problem: Problem,
    evaluate: Evaluate,
    *,
    seed: int,
    directory: str | os.PathLike[str],
    context: Mapping[str, Any],
    on_generation: Callable[[State], None] | None = None,
    save: bool = True,
) -> State:
    """Searches to the end, or goes on where an earlier call with this directory was stopped.

    The state is saved after every batch. A batch whose evaluation was interrupted is asked
    for and evaluated again.

    Args:
      problem: what is searched.
      evaluate: the accuracies `float64[P]` in [0, 1] of architectures `int32[P, L]`.
      seed: of all random draws, 0 or more.
      directory: where `search.npz` is kept; created if absent.
      context: what else the result depends on, such as a fingerprint of the supernet's
        weights: JSON values, which must be the same when a search is resumed.
      on_generation: called with the state whenever a generation is finished.
      save: whether this call writes the state: of processes that search together, one does.

    Raises:
      InputError: if a constraint cannot be satisfied, naming it, its bound and the nearest
        value seen (what was evaluated stays saved); or if the directory holds another search.
    """
    settings = _settings(problem, seed, context)
    state = states.load(directory, settings) or init(problem, seed)
    while not is_finished(problem, state):
        batch = ask(problem, state)
        accuracy = evaluate(batch.architectures) if len(batch.origin) else np.zeros(0)
        generation = state.generation
        state = tell(problem, state, batch, accuracy)
        if save:
            states.save(directory, state, settings)
        if state.generation > generation and on_generation is not None:
            on_generation(state)
    if not len(state.survivors):
        raise InputError(_explain_accuracy(problem, state))
    return state


def within_bounds(problem: Problem, costs: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which of `int64[P, 2]` MACs and parameters satisfy the bounds, `bool[P]`."""
    macs, params = costs[:, 0], costs[:, 1]
    inside = (macs >= problem.macs_min) & (macs <= problem.macs_max)
    return inside & (params <= problem.params_max) if problem.params_max else inside


def _target(problem: Problem, state: State) -> int:
    """How many individuals the current generation wants: P_0 and Q_0 at first, then Q."""
    return problem.population * (2 if state.generation == 0 else 1)


def _proposal_rounds(problem: Problem, state: State) -> Iterator[Batch]:
    """Yields round after round of proposals, each drawn from its own seed."""

    def rng(round_: int) -> np.random.Generator:
        return np.random.default_rng([state.seed, state.generation, state.attempt, round_])

    if state.generation == 0:
        count, origin = _target(problem, state), ORIGINS.index("initial")
        for round_ in range(problem.max_tries):
            drawn = spaces.sample(problem.space, rng(round_), count)
            yield Batch(drawn, np.full(count, origin, np.int8))
    else:
        count, origin = problem.population, ORIGINS.index("prior")
        scores = _guide_scores(problem, state)
        for round_ in range(problem.max_tries):
            children = _vary(problem, state, rng(round_), scores)
            drawn = children.architectures
            yield children
    # Too few of those are new and within the bounds: let the last ones walk there.
    for round_ in range(problem.max_tries, 2 * problem.max_tries):
        drawn = _steer(problem, rng(round_), drawn)
        yield Batch(drawn, np.full(count, origin, np.int8))


def _vary(
    problem: Problem, state: State, rng: np.random.Generator, scores: NDArray[np.float64]
) -> Batch:
    """A population of children: mutants in the ratio set, the rest by crossover."""
    parents = state.architectures[state.population]
    values = problem.values(state.columns)[state.population]
    count = problem.population
    one, other = nsga2.tournament(rng, values, problem.weights, 2 * count).reshape(2, count)
    kinds = rng.choice(3, size=count, p=problem.mutation_probabilities)
    mutated = rng.random(count) < problem.mutation_ratio
    origin = np.where(mutated, ORIGINS.index("random") + kinds, ORIGINS.index("crossover"))
    guide = rng.choice(len(problem.objectives), size=count, p=problem.guide_probabilities)

    children = parents[one]
    choices = problem.space.num_choices
    for name in ORIGINS[1:]:
        rows = np.flatnonzero(origin == ORIGINS.index(name))
        if name == "crossover":
            children[rows] = variation.crossover(rng, children[rows], parents[other[rows]])
        elif name == "random":
            children[rows] = variation.random_mutation(rng, children[rows], choices)
        elif name == "reinforced":
            children[rows] = variation.reinforced_mutation(rng, children[rows], scores[guide[rows]])
        else:
            children[rows] = _steer(problem, rng, children[rows])
    return Batch(children, origin.astype(np.int8))


def _guide_scores(problem: Problem, state: State) -> NDArray[np.float64]:
    """For each objective, the worth of each choice in each layer, `float64[K, L, N]`."""
    return np.stack(
        [
            variation.choice_scores(state.architectures, -column, problem.space.num_choices)
            for column in problem.values(state.columns).T
        ]
    )


def _steer(problem: Problem, rng: np.random.Generator, parents: Array) -> Array:
    return variation.prior_mutation(
        rng,
        parents,
        problem.space.num_choices,
        problem.costs,
        problem.macs_band,
        problem.params_max,
    )


def _is_new(proposals: Array, known: Array) -> NDArray[np.bool_]:
    """Which proposals `[P, L]` are neither known nor repeat an earlier proposal, `bool[P]`."""
    _, first = np.unique(np.concatenate([known, proposals]), axis=0, return_index=True)
    new = np.zeros(len(known) + len(proposals), bool)
    new[first] = True
    return new[len(known) :]


def _close_generation(problem: Problem, state: State) -> State:
    """Selects the survivors and opens the next generation, or ends the search."""
    if not len(state.offspring):
        if len(state.survivors):
            logging.info(
                "search ends in generation %d of %d: %d rounds of proposals found nothing that "
                "is new and satisfies the constraints; %d evaluated",
                state.generation,
                problem.generations,
                problem.max_tries,
                len(state.accuracy),
            )
        return dataclasses.replace(state, ended=True)
    if len(state.offspring) < (target := _target(problem, state)):
        logging.warning(
            "generation %d has %d new individuals instead of %d: more that satisfy the "
            "constraints were not found",
            state.generation,
            len(state.offspring),
            target,
        )
    pool = np.concatenate([state.population, state.offspring])
    values = problem.values(state.columns)[pool]
    best = pool[nsga2.survive(values, problem.weights, problem.population)]
    row = np.full((1, problem.population), -1, np.int32)
    row[0, : len(best)] = best
    return dataclasses.replace(
        state,
        generation=state.generation + 1,
        attempt=0,
        offspring=state.offspring[:0],
        survivors=np.concatenate([state.survivors, row]),
    )


def _explain_bounds(problem: Problem, costs: NDArray[np.int64]) -> str:
    """Says of each bound that proposals `int64[P, 2]` violated how near they came to it."""
    macs, params = costs.T
    bounds = [
        ("macs_max", problem.macs_max, macs > problem.macs_max, macs.min()),
        ("macs_min", problem.macs_min, macs < problem.macs_min, macs.max()),
    ]
    if problem.params_max:
        bounds += [("params_max", problem.params_max, params > problem.params_max, params.min())]
    violated = [
        f"search.{name} {bound:,} is missed by {missed.mean():.0%} of them, best value {best:,}"
        for name, bound, missed, best in bounds
        if missed.any()
    ]
    return f"none of {len(costs):,} architectures satisfies the bounds: {'; '.join(violated)}"


def _explain_accuracy(problem: Problem, state: State) -> str:
    scored = state.accuracy[~np.isnan(state.accuracy)]
    best = f"the best value is {scored.max():.4f}" if len(scored) else "all of them scored NaN"
    return (
        f"search.accuracy_min is {problem.accuracy_min:g}, which none of "
        f"{len(state.accuracy)} evaluated architectures satisfies; {best}"
    )


def _settings(problem: Problem, seed: int, context: Mapping[str, Any]) -> dict[str, Any]:
    """What a resumed search must have in common with the saved one."""
    search = dataclasses.asdict(problem)
    network = {name: search.pop(name) for name in ("image_size", "num_classes", "channels")}
    space = search.pop("space")
    return {
        "seed": seed,
        "search": search,
        "space": space,
        "network": network,
        "context": dict(context),
    }
