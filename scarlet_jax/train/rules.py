"""Optax's optimizers by name: which of them can train here, and what they take."""

import inspect
import warnings
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
import optax.contrib

Function = Callable[..., optax.GradientTransformation]


class Decay(NamedTuple):
    """How a function takes decoupled weight decay.

    Attributes:
      rate, mask: names of its parameters for them; empty where it has none.
      parts: names of its parameters for a decay of some arrays only, which has no mask.
    """

    rate: str
    mask: str
    parts: tuple[str, ...]


def functions() -> dict[str, Function]:
    """What makes an optimizer in `optax` and `optax.contrib`: functions of a `learning_rate`.

    `scale_by_...`, by Optax's convention, are parts of them.
    """
    return {
        name: member
        for module in (optax.contrib, optax)
        for name, member in sorted(vars(module).items())
        if inspect.isfunction(member)
        and not name.startswith(("_", "scale_by_"))
        and "learning_rate" in inspect.signature(member).parameters
    }


def names() -> list[str]:
    """Those that can train here."""
    return sorted(name for name, function in functions().items() if not _fault(function))


def decay_of(function: Function) -> Decay:
    """Which parameters of a function are about weight decay."""
    own = inspect.signature(function).parameters
    return Decay(
        next((name for name in own if name in ("weight_decay", "weight_decay_rate")), ""),
        next((name for name in own if name in ("mask", "weight_decay_mask")), ""),
        tuple(name for name in own if name.endswith("_weight_decay")),
    )


def takes(name: str) -> list[str]:
    """What a function takes besides what the training gives: learning rate, weight decay, mask."""
    function = functions()[name]
    rate, mask, parts = decay_of(function)
    given = {"learning_rate", rate, mask, *parts}
    own = inspect.signature(function).parameters
    return [parameter for parameter in own if parameter not in given]


def refuse_name(name: str) -> str:
    """Why there is no such optimizer and which there are, in one line; empty if there is.

    A function that cannot train here is told by what it does with abstract arrays: it wants
    more at an update than gradients and parameters (a loss, for a line search), or gradients of
    every image, or its parameters are not those to evaluate by. No device is touched.
    """
    function = functions().get(name)
    fault = "" if function is None else _fault(function)
    if function is not None and not fault:
        return ""
    reason = f"it cannot train here ({fault}); " if fault else ""
    return f"{reason}allowed, of Optax: {', '.join(names())}"


def refuse_arguments(name: str, arguments: Mapping[str, Any]) -> str:
    """What a function's signature has against keyword arguments, in one line; empty if nothing."""
    own = inspect.signature(functions()[name]).parameters
    allowed = takes(name)
    allows = f"allowed: {', '.join(allowed) or 'none'}"
    if unknown := [argument for argument in arguments if argument not in allowed]:
        reason = "has other settings for" if unknown[0] in own else "does not take"
        return f"{name} {reason} {unknown[0]!r}; {allows}"
    required = [p for p in allowed if own[p].default is inspect.Parameter.empty]
    if missing := [parameter for parameter in required if parameter not in arguments]:
        return f"{name} needs {', '.join(missing)}; {allows}"
    return ""


def describe(error: Exception) -> str:
    """An error of Optax's or JAX's in one line."""
    first = next(iter(str(error).splitlines()), "")
    return first or type(error).__name__


def _fault(function: Function) -> str:
    """Why a function cannot train here. What it takes without a default is tried as 1."""
    parameters = inspect.signature(function).parameters
    required = {
        name: 1
        for name, parameter in parameters.items()
        if parameter.default is inspect.Parameter.empty and name != "learning_rate"
    }

    def step(rate: jax.Array, params: Any) -> Any:
        rule = function(learning_rate=rate, **required)
        state = rule.init(params)
        return rule.update(params, state, params)

    params = {"kernel": jax.ShapeDtypeStruct((4, 3), jnp.float32)}
    try:
        with warnings.catch_warnings(action="ignore"):  # of what may become an error one day
            updates, state = jax.eval_shape(step, jax.ShapeDtypeStruct((), jnp.float32), params)
    except Exception as error:  # each function has its own
        return describe(error)
    if updates["kernel"].shape != (4, 3):
        return "it wants the gradients of every image"
    averages = optax.contrib.ScheduleFreeState
    if any(isinstance(s, averages) for s in jax.tree.leaves(state, is_leaf=_is(averages))):
        return "its parameters are not those to evaluate by"
    return ""


def _is(kind: type) -> Callable[[Any], bool]:
    return lambda node: isinstance(node, kind)
