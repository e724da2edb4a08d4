"""Learning-rate schedule and optimizer from a training section of the configuration."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from ml_collections import ConfigDict

from scarlet_jax.errors import InputError
from scarlet_jax.train import rules


def make_schedule(training: ConfigDict) -> optax.Schedule:
    """Learning rate by step: linear warm-up from 0, then cosine to 0 or steps down."""
    peak, warmup = training.learning_rate, training.warmup_steps
    rest = training.steps - warmup
    main: optax.Schedule
    if training.schedule == "cosine":
        main = optax.cosine_decay_schedule(peak, rest)
    else:
        drops: dict[int, float] = {}
        for share in training.step_milestones:
            step = round(share * training.steps) - warmup
            drops[step] = drops.get(step, 1.0) * training.step_factor
        main = optax.piecewise_constant_schedule(peak, drops)
    if not warmup:
        return main
    return optax.join_schedules([optax.linear_schedule(0.0, peak, warmup), main], [warmup])


def make_optimizer(
    training: ConfigDict, learning_rate: jax.Array | float
) -> optax.GradientTransformation:
    """The rule that a training section names, with weight decay, at one learning rate.

    The caller evaluates the schedule at its own step, so that no learning rate depends on a count
    inside a state. The state is the same tree whatever the rate, so one rule may make it and
    another go on.

    Kernels alone decay. Decay is decoupled, `kernel -= learning_rate * weight_decay * kernel`
    beside the rule, where Optax's function has it with a mask (adamw, lion, muon: Loshchilov and
    Hutter, arXiv 1711.05101). In lamb and lars it comes before the trust ratio, as in their papers:
    a kernel without a gradient shrinks by `learning_rate`, whatever the decay (lars: times
    `trust_coefficient`). Otherwise it is added to the gradient, as PyTorch does (sgd, rmsprop,
    adam), also where the function has a decay of its own that biases cannot be left out of
    (novograd, prodigy).

    Args:
      training: a training section of the configuration, as `settings.check` gives it.
      learning_rate: `float32[]`, traced or not. Rprop takes it at `init` only.
    """
    function = rules.functions()[training.optimizer.name]
    decay = training.weight_decay
    rate, mask, parts = rules.decay_of(function)

    def rule(**arguments: Any) -> optax.GradientTransformation:
        return function(learning_rate=learning_rate, **training.optimizer.kwargs, **arguments)

    if parts:  # Muon's other arrays: what a part has no mask for is done after the rule
        after = optax.add_decayed_weights(-learning_rate * decay, is_kernel)
        return optax.chain(rule(**dict.fromkeys((rate, *parts), 0.0)), after)
    if rate and mask:
        # Adafactor's is a share of the weights at each step, not of the learning rate.
        share = learning_rate * decay if rate == "weight_decay_rate" else decay
        return rule(**{rate: share, mask: is_kernel})
    before = optax.add_decayed_weights(decay, is_kernel)
    return optax.chain(before, rule(**{rate: 0.0} if rate else {}))


def at_step(
    training: ConfigDict,
    given: optax.GradientTransformation | None,
    step: jax.Array,
    axes: int,
) -> optax.GradientTransformation:
    """What updates a network at a step, `int32[]`: `given`, or the section's rule, by block (see
    `per_block`), after the whole gradient is clipped."""
    if given is None:
        given = make_optimizer(training, jnp.asarray(make_schedule(training)(step)))
    return clipped(per_block(given, axes), training.clip_norm)


def is_kernel(params: Any) -> Any:
    """Which leaves decay: kernels do, biases and batch norm's scales do not."""
    return jax.tree_util.tree_map_with_path(lambda path, _: path[-1].key == "kernel", params)


def clipped(optimizer: optax.GradientTransformation, norm: float) -> optax.GradientTransformation:
    """Clips the whole gradient to a norm before an optimizer; 0 does not clip.

    The state is the optimizer's own, without `optax.chain`'s tuple around it.
    """
    clip = optax.clip_by_global_norm(norm)

    def update(grads: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        grads, _ = clip.update(grads, optax.EmptyState())
        return optimizer.update(grads, state, params)

    return optax.GradientTransformation(optimizer.init, update) if norm else optimizer


def per_block(optimizer: optax.GradientTransformation, axes: int) -> optax.GradientTransformation:
    """An optimizer that sees each block of a supernet alone.

    LAMB's trust ratio, Muon's orthogonal matrix and Adafactor's factors are of whole arrays, and a
    count that corrects a bias is of the updates that a block had.

    Parameters are `{"stem": tree, "stages": [{bundle: tree}, ...], "head": tree}`, where every
    array of a bundle has `axes` leading axes, over which the optimizer is mapped: 2 for `[layers,
    choices, ...]`, 1 for the arrays of a path, `[layers, ...]`. The state has the same form, with a
    state for stem and head each, and the leading axes on every leaf of a bundle's, counts too: a
    path's state is `leaf[layer, choice]`, as its arrays are. Parameters without "stages", those of
    a stand-alone network, are updated as a whole.

    A block narrower than its arrays is padded with zeros, which stay zero under any rule that
    answers a zero gradient with a zero update (`check`). A rule sees the shape with the padding:
    `optax.contrib.muon` scales by the square root of `max(1, fan_out / fan_in)` of the padded array
    (norm and Newton-Schulz's products do not see zeros), and Adafactor's means, with its threshold
    for factoring, count them.
    """

    def init(params: Any) -> Any:
        return _each_block(optimizer.init, axes, params)

    def update(grads: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        pairs = _each_block(optimizer.update, axes, grads, state, params)
        updates, after = (
            jax.tree.map(lambda pair, i=i: pair[i], pairs, is_leaf=lambda node: type(node) is tuple)
            for i in range(2)
        )
        return updates, after

    return optax.GradientTransformation(init, update)


def _each_block(function: Callable[..., Any], axes: int, *trees: Any) -> Any:
    """A function of one block's trees, on those of a whole network."""
    if "stages" not in trees[0]:
        return function(*trees)
    mapped = function
    for _ in range(axes):
        mapped = jax.vmap(mapped)
    stages = zip(*(tree["stages"] for tree in trees), strict=True)
    return {
        "stem": function(*(tree["stem"] for tree in trees)),
        "stages": [
            {bundle: mapped(*(stage[bundle] for stage in same)) for bundle in same[0]}
            for same in stages
        ],
        "head": function(*(tree["head"] for tree in trees)),
    }


def check(training: ConfigDict, name: str, padded: bool) -> None:
    """Tries the optimizer of a training section on a few numbers, for its first two steps.

    Args:
      training: the section, as `settings.check` gives it.
      name: what messages call it.
      padded: whether blocks are padded with zeros, which must stay.

    Raises:
      InputError: if Optax refuses an argument, or gives what cannot be trained with.
    """
    given, schedule = training.optimizer, make_schedule(training)
    what = f"{name}.optimizer is {given.name} with kwargs {dict(given.kwargs)}"
    kernel = jnp.pad(jnp.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]), ((0, 1), (0, 1)))
    params = {"kernel": kernel, "bias": jnp.array([1.0, 2.0, 0.0])}
    grads = jax.tree.map(jnp.sin, params)  # of either sign, and zero in the padding
    rates = [float(schedule(step)) for step in range(2)]
    try:
        state = make_optimizer(training, training.learning_rate).init(params)
        for rate in rates:
            updates, state = make_optimizer(training, rate).update(grads, state, params)
            params = optax.apply_updates(params, updates)
    except Exception as error:  # each function has its own
        raise InputError(
            f"{what}, which Optax refuses: {rules.describe(error)}; allowed: what it documents"
        ) from error
    if not all(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(params)):
        raise InputError(
            f"{what}: at learning rates {rates} and weight_decay {training.weight_decay} weights "
            "leave the finite numbers; allowed: what keeps them there (some optimizers want no "
            "warm-up from 0)"
        )
    if padded and (params["kernel"][-1].any() or params["kernel"][:, -1].any()):
        raise InputError(
            f"{what}, which moves weights without a gradient, such as the zeros that pad blocks; "
            "allowed: an optimizer that leaves them, such as sgd or adam"
        )
