"""A `lax.switch` for choice blocks whose backward pass is cheap."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

Keep = Callable[[jax.Array], jax.Array]
Branch = Callable[..., tuple[Any, Any]]


def switch(branches: Sequence[Branch], index: Any, operands: Any, fixed: Any) -> Any:
    """Runs `branches[index](operands, fixed, keep) -> (outputs, extras)`.

    Plain differentiation through `lax.switch` makes the residuals of every branch part of the
    forward pass: zeros for all branches that were not taken are written and kept. Here only
    the operands are kept, and what a branch passes through `keep`; of these the n-th ones of
    all branches share a place. The taken branch is run again inside its own backward pass,
    where `keep` gives the kept value, so what led to it is not computed a second time.

    Args:
      branches: functions that close over no traced value.
      index: `int32[]`, which one to run.
      operands: pytree, differentiated.
      fixed: pytree, not differentiated (running statistics, indices).

    Returns:
      The outputs, differentiable, and the extras, which are not.
    """
    # Traced once for forward and backward passes; tracing is what a start waits for.
    taped = tuple(jax.jit(partial(_taped, branch), inline=True) for branch in branches)
    return _switch(tuple(branches), taped, index, operands, fixed)


def keep_nothing(value: jax.Array) -> jax.Array:
    """The `keep` of a computation that will not be run again."""
    return value


@jax.custom_vjp
def instead(value: jax.Array, same: jax.Array) -> jax.Array:
    """The second of two equal arrays, with the gradient going to the first."""
    return same


instead.defvjp(lambda value, same: (same, None), lambda _, cotangent: (cotangent, None))


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _switch(_: Any, taped: Sequence[Branch], index: Any, operands: Any, fixed: Any) -> Any:
    def without_tape(run: Branch) -> Callable[[Any, Any], Any]:
        return lambda operands, fixed: run(operands, fixed)[0]

    return lax.switch(index, [without_tape(run) for run in taped], operands, fixed)


def _forward(_: Any, taped: Sequence[Branch], index: Any, operands: Any, fixed: Any) -> Any:
    tapes = [jax.eval_shape(run, operands, fixed)[1] for run in taped]
    places = [
        jax.ShapeDtypeStruct(
            tuple(map(max, zip(*(value.shape for value in sharing), strict=True))),
            sharing[0].dtype,
        )
        for sharing in _columns(tapes)
    ]

    def padded(run: Callable[..., Any]) -> Callable[..., Any]:
        def to_places(operands: Any, fixed: Any) -> Any:
            out, tape = run(operands, fixed)
            kept = [_pad(value, place.shape) for value, place in zip(tape, places, strict=False)]
            rest = [lax.empty(place.shape, place.dtype) for place in places[len(tape) :]]
            return out, kept + rest

        return to_places

    out, kept = lax.switch(index, [padded(run) for run in taped], operands, fixed)
    return out, (index, operands, fixed, kept)


def _columns(tapes: Sequence[Sequence[Any]]) -> list[list[Any]]:
    longest = max(map(len, tapes))
    return [[tape[i] for tape in tapes if i < len(tape)] for i in range(longest)]


def _taped(branch: Branch, operands: Any, fixed: Any) -> tuple[Any, list[jax.Array]]:
    """What a branch gives, and what it keeps."""
    tape: list[jax.Array] = []

    def keep(value: jax.Array) -> jax.Array:
        tape.append(value)
        return value

    return branch(operands, fixed, keep), tape


def _pad(value: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    return jnp.pad(value, [(0, size - n) for n, size in zip(value.shape, shape, strict=True)])


def _backward(branches: Sequence[Branch], _: Any, residuals: Any, cotangents: Any) -> Any:
    index, operands, fixed, kept = residuals
    outputs_cotangent, _ = cotangents

    def pull_back(branch: Branch) -> Callable[[Any, Any, Any, Any], Any]:
        def run(operands: Any, fixed: Any, kept: Any, cotangent: Any) -> Any:
            tape = iter(kept)

            def keep(value: jax.Array) -> jax.Array:
                return instead(value, lax.slice(next(tape), [0] * value.ndim, value.shape))

            _, pull = jax.vjp(lambda o: branch(o, fixed, keep)[0], operands)
            return pull(cotangent)[0]

        return run

    gradients = lax.switch(
        index, [pull_back(b) for b in branches], operands, fixed, kept, outputs_cotangent
    )
    return None, gradients, None


_switch.defvjp(_forward, _backward)
