"""Optimizer and learning-rate schedule from a training section of the configuration."""

from typing import Any

import jax
import optax
from ml_collections import ConfigDict


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


def make_optimizer(training: ConfigDict) -> optax.GradientTransformation:
    """Clipping, weight decay on kernels (added to the gradient, as PyTorch does), then the rule."""
    schedule = make_schedule(training)
    if training.optimizer == "sgd":
        rule = optax.sgd(schedule, momentum=training.momentum)
    else:
        rule = optax.rmsprop(
            schedule,
            decay=training.rmsprop_decay,
            eps=training.rmsprop_epsilon,
            momentum=training.momentum,
        )
    clip = optax.clip_by_global_norm(training.clip_norm) if training.clip_norm else optax.identity()
    return optax.chain(clip, optax.add_decayed_weights(training.weight_decay, is_kernel), rule)


def is_kernel(params: Any) -> Any:
    """Which leaves decay: kernels do, biases and batch norm's scales do not."""
    return jax.tree_util.tree_map_with_path(lambda path, _: path[-1].key == "kernel", params)
