"""Algorithm 1 of the SCARLET supplementary as init, ask and tell over an immutable state.

A search evaluates 2n architectures drawn uniformly and then n offspring in each of N
generations, all within the bounds on computed objectives, none of them twice. Bounds include
their own value. What a state asks for depends on nothing but the state, so a search that is
killed goes on to the same result.
"""

import dataclasses
import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from absl import logging
from numpy.typing import NDArray

from scarlet_jax.errors import InputError
from scarlet_jax.search import controller, feasibility, nsga2, sampling, variation
from scarlet_jax.search import state as states
from scarlet_jax.search.cache import Evaluate
from scarlet_jax.search.objective import Objective
from scarlet_jax.search.problem import Problem
from scarlet_jax.search.state import ORIGINS, State, row_keys
from scarlet_jax.space import Array


@dataclass(frozen=True)
class Batch:
    """Architectures `int32[B, L]` to evaluate, their origins `int8[B]`, and how many new ones
    were checked against the bounds to find them."""

    architectures: Array
    origin: NDArray[np.int8]
    proposed: int


def init(problem: Problem, seed: int) -> State:
    """The state before anything is evaluated. Raises `InputError` for a negative seed."""
    return states.empty(problem.depth, len(problem.objectives), problem.population, seed)


def is_finished(problem: Problem, state: State) -> bool:
    return state.ended or state.generation > problem.generations


def ask(problem: Problem, state: State) -> Batch:
    """The architectures to evaluate next: new, distinct, within the bounds that are computed.

    As many as the generation still lacks; fewer, or none, if `max_tries` rounds of proposals
    and as many of fresh draws do not find them. Where hardly any is feasible, a warning says how
    many are, and what limits them.

    Raises:
      InputError: if not one initial proposal satisfies the bounds; names them and the nearest
        values seen.
    """
    lacking = _target(problem, state) - len(state.offspring)
    known = set(row_keys(state.architectures))
    found, origins, proposed = [], [], []
    learned = _learn(problem, state) if state.generation else None
    for round_ in range(problem.max_tries * (1 if learned is None else 2)):
        proposals, origin = _propose(problem, state, learned, round_, lacking)
        new = _new_rows(proposals, known)
        values = problem.computed_values(proposals[new])
        proposed.append(values)
        inside = new[problem.within_bounds(values, computed_only=True)][:lacking]
        found.append(proposals[inside])
        origins.append(origin[inside])
        lacking -= len(inside)
        if not lacking:
            break
    batch = Batch(np.concatenate(found), np.concatenate(origins), sum(map(len, proposed)))
    if lacking or len(batch.origin) < problem.rare * batch.proposed:
        seen = np.concatenate(proposed)
        if not problem.within_bounds(seen, computed_only=True).all():
            reason = feasibility.of_random(problem, state.seed, seen)
            if not len(batch.origin) and not len(state.architectures):
                raise InputError(f"the bounds leave nothing to search: {reason}")
            logging.warning("generation %d: %s", state.generation, reason)
    return batch


def tell(problem: Problem, state: State, batch: Batch, scores: NDArray[np.float64]) -> State:
    """The state after a batch of `ask` was evaluated.

    All of it enters the history; what satisfies every constraint becomes offspring. A full
    generation, or one that cannot be filled, is closed: the n best of its parents and
    offspring survive.

    Args:
      problem: what is searched.
      state: the one that was asked.
      batch: what it answered.
      scores: of the evaluated objectives, `[B, M]`, or `[B]` if it is one; NaN for what could
        not be scored, which is never feasible.

    Raises:
      InputError: for scores of another shape, or out of an objective's range.
    """
    size, evaluated = len(batch.origin), problem.evaluated
    values = problem.computed_values(batch.architectures)
    scores = np.asarray(scores, np.float64)
    if scores.shape not in {(size, len(evaluated)), *([(size,)] if len(evaluated) == 1 else [])}:
        raise InputError(
            f"scores of shape {list(scores.shape)}; expected [{size}, {len(evaluated)}], a row "
            "for each architecture"
        )
    values[:, evaluated] = scores.reshape(size, len(evaluated))
    for column in evaluated:
        _check_scores(problem.objectives[column], values[:, column])
    lacking = _target(problem, state) - len(state.offspring)
    feasible = state.evaluations + np.flatnonzero(problem.feasible(values))
    state = dataclasses.replace(
        state,
        attempt=state.attempt + 1,
        proposed=state.proposed + batch.proposed,
        architectures=np.concatenate([state.architectures, batch.architectures]),
        values=np.concatenate([state.values, values]),
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
    for and evaluated again; `cache.remember` makes that cheap.

    Args:
      problem: what is searched.
      evaluate: scores `[P, M]` of architectures `int32[P, L]`, or `[P]` if M is 1, of the
        objectives that are not computed, in their order.
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
    state = load(problem, seed=seed, directory=directory, context=context)
    while not is_finished(problem, state):
        batch = ask(problem, state)
        empty = np.zeros((0, len(problem.evaluated)))
        scores = evaluate(batch.architectures) if len(batch.origin) else empty
        generation = state.generation
        state = tell(problem, state, batch, scores)
        if save:
            states.save(directory, state, problem.names, settings)
        if state.generation > generation and on_generation is not None:
            on_generation(state)
    if not len(state.survivors):
        raise InputError(f"no result: {feasibility.of_evaluated(problem, state.values)}")
    return state


def load(
    problem: Problem, *, seed: int, directory: str | os.PathLike[str], context: Mapping[str, Any]
) -> State:
    """Where `run` of the same arguments has come to, or `init` if there is nothing yet.

    Raises:
      InputError: if the directory holds another search.
    """
    settings = _settings(problem, seed, context)
    return states.load(directory, problem.names, settings) or init(problem, seed)


def _target(problem: Problem, state: State) -> int:
    """How many individuals the current generation wants: P_0 and Q_0 at first, then Q."""
    return problem.population * (2 if state.generation == 0 else 1)


def _propose(
    problem: Problem,
    state: State,
    learned: controller.Controller | None,
    round_: int,
    lacking: int,
) -> tuple[Array, NDArray[np.int8]]:
    """One round of proposals `int32[P, L]` and their origins, drawn from a seed of its own.

    Children, if something has been learned, in the first `max_tries` rounds: as many as the
    generation wants at first, then twice what it lacks, four times, and so on, to replace what
    was known or out of bounds. In every second round they are neighbours of the front: where
    much is known, as in small spaces, what is near the best is left (ours: docs/evidence.md).
    Fresh draws after them, or alone.
    """
    rng = np.random.default_rng([state.seed, state.generation, state.attempt, round_])
    target = _target(problem, state)
    if learned is not None and round_ < problem.max_tries:
        count = min(target, lacking << min(round_, 30))
        if round_ % 2:
            return _neighbours_of_front(problem, state, rng, count)
        return _vary(problem, state, rng, learned, count)
    drawn = sampling.sampler(problem)(rng, target)
    if problem.start and not state.evaluations and not round_:
        drawn = np.concatenate([np.array(problem.start, np.int32), drawn])
    return drawn, np.full(len(drawn), ORIGINS.index("initial"), np.int8)


def _learn(problem: Problem, state: State) -> controller.Controller:
    recent = slice(-problem.controller_memory, None)
    return controller.learn(problem, state.architectures[recent], state.values[recent])


def _vary(
    problem: Problem,
    state: State,
    rng: np.random.Generator,
    learned: controller.Controller,
    count: int,
) -> tuple[Array, NDArray[np.int8]]:
    """That many children: mutants in the ratio set, the rest by crossover."""
    parents = state.architectures[state.population]
    values = problem.to_minimise(state.values[state.population])
    one, other = nsga2.tournament(rng, values, problem.weights, 2 * count).reshape(2, count)
    kinds = rng.choice(3, size=count, p=problem.mutation_probabilities)
    mutated = rng.random(count) < problem.mutation_ratio
    origin = np.where(mutated, ORIGINS.index("random") + kinds, ORIGINS.index("crossover"))
    guide = rng.choice(len(problem.goals), size=count, p=problem.guide_probabilities)

    children = parents[one]
    rows = {name: np.flatnonzero(origin == ORIGINS.index(name)) for name in ORIGINS[1:]}
    crossed, drawn, reinforced, prior = rows.values()
    cross = {
        "uniform": variation.uniform_crossover,
        "one-point": variation.one_point_crossover,
    }[problem.crossover]
    children[crossed] = cross(rng, children[crossed], parents[other[crossed]])
    children[drawn] = variation.random_mutation(rng, children[drawn], problem.allowed)
    children[reinforced] = variation.reinforced_mutation(
        rng, children[reinforced], learned, guide[reinforced], problem.reinforced_whole
    )
    children[prior] = variation.prior_mutation(rng, children[prior], problem)
    return children, origin.astype(np.int8)


def _neighbours_of_front(
    problem: Problem, state: State, rng: np.random.Generator, count: int
) -> tuple[Array, NDArray[np.int8]]:
    """That many random mutants of what is not dominated of all that was evaluated."""
    parents = state.architectures[rng.choice(problem.front(state.values), size=count)]
    children = variation.random_mutation(rng, parents, problem.allowed)
    return children, np.full(count, ORIGINS.index("random"), np.int8)


def _new_rows(proposals: Array, known: set[bytes]) -> NDArray[np.int64]:
    """The proposals `[P, L]` that were not known, as indices; they are known from then on."""
    new = []
    for row, key in enumerate(row_keys(proposals)):
        if key not in known:
            known.add(key)
            new.append(row)
    return np.array(new, np.int64)


def _check_scores(objective: Objective, scores: NDArray[np.float64]) -> None:
    invalid = np.isnan(scores)
    if invalid.any():
        logging.warning(
            "%d of %d architectures scored NaN in %s", invalid.sum(), len(scores), objective.name
        )
    low, high = objective.range
    if ((scores[~invalid] < low) | (scores[~invalid] > high)).any():
        raise InputError(
            f"{objective.name} from {np.nanmin(scores)} to {np.nanmax(scores)}; allowed: "
            f"{low:g} to {high:g}"
        )


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
                state.evaluations,
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
    values = problem.to_minimise(state.values[pool])
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


def _settings(problem: Problem, seed: int, context: Mapping[str, Any]) -> dict[str, Any]:
    """What a resumed search must have in common with the saved one."""
    search = {field.name: getattr(problem, field.name) for field in dataclasses.fields(problem)}
    for name in ("picks", "pick_by", "pick_min", "pick_max"):  # they choose from the result
        del search[name]
    objectives = {o.name: _identity(o) for o in search.pop("objectives")}
    return {"seed": seed, "search": search, "objectives": objectives, "context": dict(context)}


def _identity(objective: Objective) -> dict[str, Any]:
    """The objective as JSON values; a table by its contents, a function by whether it is one."""
    values = {f.name: getattr(objective, f.name) for f in dataclasses.fields(objective)}
    values |= {name: str(values[name]) for name in ("low", "high", "range")}
    table = objective.table
    if table is not None:
        parts = (np.asarray(table.stem), table.layers, table.head)
        digest = hashlib.sha256(b"".join(part.tobytes() for part in parts)).hexdigest()
        return values | {"compute": digest[:16]}
    return values | {"compute": "evaluated" if objective.is_evaluated else "function"}
