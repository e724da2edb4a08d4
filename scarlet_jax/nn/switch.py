"""A `lax.switch` between functions that bring their own backward passes."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
from jax import lax


class Way(NamedTuple):
    """A function to switch to, and its gradient.

    Attributes:
      forward: `(operands, fixed) -> (outputs, extras, kept)`; kept is what the backward pass
        needs besides the operands, `()` for nothing.
      backward: `(operands, fixed, kept, outputs' cotangents) -> operands' cotangents`.
    """

    forward: Callable[[Any, Any], tuple[Any, Any, Any]]
    backward: Callable[[Any, Any, Any, Any], Any]


def plain(function: Callable[[Any, Any], tuple[Any, Any]]) -> Way:
    """The way of a cheap `(operands, fixed) -> (outputs, extras)`, run again to go back."""

    def backward(operands: Any, fixed: Any, _: Any, cotangents: Any) -> Any:
        pull_back = jax.vjp(lambda operands: function(operands, fixed)[0], operands)[1]
        return pull_back(cotangents)[0]

    return Way(lambda operands, fixed: (*function(operands, fixed), ()), backward)


def switch(ways: Sequence[Way], index: Any, operands: Any, fixed: Any) -> tuple[Any, Any]:
    """Runs `ways[index]`.

    Plain differentiation through `lax.switch` makes the residuals of every branch part of the
    forward pass: all of them are written, zeros for the branches that were not taken.

    Args:
      ways: functions that close over no traced value. At most one of them keeps anything.
      index: `int32[]`, which one to run.
      operands: pytree, differentiated.
      fixed: pytree, not differentiated (running statistics, indices).

    Returns:
      The outputs, differentiable, and the extras, which are not.
    """
    # Traced once for values and for gradients; tracing is what a start waits for.
    forwards = tuple(jax.jit(way.forward, inline=True) for way in ways)
    return _switch(forwards, tuple(way.backward for way in ways), index, operands, fixed)


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _switch(forwards: Any, _: Any, index: Any, operands: Any, fixed: Any) -> Any:
    def without_kept(forward: Any) -> Any:
        return lambda operands, fixed: forward(operands, fixed)[:2]

    return lax.switch(index, [without_kept(forward) for forward in forwards], operands, fixed)


def _forward(forwards: Any, _: Any, index: Any, operands: Any, fixed: Any) -> Any:
    kept = [jax.eval_shape(forward, operands, fixed)[2] for forward in forwards]
    (place,) = [shapes for shapes in kept if jax.tree.leaves(shapes)] or [()]

    def with_place(forward: Any) -> Any:
        def run(operands: Any, fixed: Any) -> Any:
            *results, kept = forward(operands, fixed)
            if not jax.tree.leaves(kept):
                kept = jax.tree.map(lambda leaf: lax.empty(leaf.shape, leaf.dtype), place)
            return *results, kept

        return run

    outputs, extras, kept = lax.switch(
        index, [with_place(forward) for forward in forwards], operands, fixed
    )
    return (outputs, extras), (index, operands, fixed, kept)


def _backward(_: Any, backwards: Any, residuals: Any, cotangents: Any) -> Any:
    index, *arguments = residuals
    return None, lax.switch(index, backwards, *arguments, cotangents[0]), None


_switch.defvjp(_forward, _backward)
