"""A `lax.switch` for choice blocks whose backward pass is cheap."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
from jax import lax

Branch = Callable[[Any, Any], tuple[Any, Any]]


def switch(branches: Sequence[Branch], index: Any, operands: Any, fixed: Any) -> Any:
    """Runs `branches[index](operands, fixed) -> (outputs, extras)`.

    Plain differentiation through `lax.switch` makes the residuals of every branch part of the
    forward pass: zeros for all branches that were not taken are written and kept. Here only
    the operands are kept, and the taken branch is run again inside its own backward pass.

    Args:
      branches: functions that close over no traced value.
      index: `int32[]`, which one to run.
      operands: pytree, differentiated.
      fixed: pytree, not differentiated (running statistics, indices).

    Returns:
      The outputs, differentiable, and the extras, which are not.
    """
    return _switch(tuple(branches), index, operands, fixed)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _switch(branches: tuple[Branch, ...], index: Any, operands: Any, fixed: Any) -> Any:
    return lax.switch(index, branches, operands, fixed)


def _forward(branches: tuple[Branch, ...], index: Any, operands: Any, fixed: Any) -> Any:
    return _switch(branches, index, operands, fixed), (index, operands, fixed)


def _backward(branches: tuple[Branch, ...], residuals: Any, cotangents: Any) -> Any:
    index, operands, fixed = residuals
    outputs_cotangent, _ = cotangents

    def pull_back(branch: Branch) -> Callable[[Any, Any, Any], Any]:
        def run(operands: Any, fixed: Any, cotangent: Any) -> Any:
            _, pull = jax.vjp(lambda o: branch(o, fixed)[0], operands)
            return pull(cotangent)[0]

        return run

    gradients = lax.switch(
        index, [pull_back(b) for b in branches], operands, fixed, outputs_cotangent
    )
    return None, gradients, None


_switch.defvjp(_forward, _backward)
