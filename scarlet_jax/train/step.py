"""One training step, of the supernet or of a stand-alone network, data-parallel over a mesh."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct
from jax import lax
from jax.sharding import Mesh, PartitionSpec
from ml_collections import ConfigDict

from scarlet_jax.devices import DATA, normalise
from scarlet_jax.errors import InputError
from scarlet_jax.nn import functional
from scarlet_jax.nn.layers import BatchStatistics
from scarlet_jax.space import Space
from scarlet_jax.train import losses
from scarlet_jax.train.optimizer import make_optimizer, make_schedule
from scarlet_jax.train.sampler import paths_per_step, sample_paths

SHARED_GRADIENTS = ("mean", "sum")
Batch = Mapping[str, jax.Array]


@struct.dataclass
class TrainState:
    """All that training carries from step to step. Replicated over the devices.

    Attributes:
      step: `int32[]`, updates done.
      params, stats: of the network.
      opt_state: optax's.
      ema: moving averages of `(params, stats)`, or None.
    """

    step: jax.Array
    params: Any
    stats: Any
    opt_state: Any
    ema: Any


@dataclass(frozen=True)
class Task:
    """What is trained.

    Attributes:
      forward: `(params, stats, images, path, batch, dropout_keys) -> (logits, stats)`.
      sample: `key -> int32[Q, L]`, the paths of a step.
      shared_scale: factor on the gradients of stem and head, which all paths share.
    """

    forward: Callable[..., tuple[jax.Array, Any]]
    sample: Callable[[jax.Array], jax.Array]
    shared_scale: float = 1.0


def check_training(name: str, training: ConfigDict) -> None:
    """Raises `InputError` for a setting of a training section that is out of range."""
    lowest = {"steps": 1, "log_every": 1, "eval_every": 0}
    lowest |= {"checkpoint_every": 1, "keep_checkpoints": 1}
    for field, low in lowest.items():
        if training[field] < low:
            raise InputError(f"{name}.{field} is {training[field]}; allowed: {low} or more")
    for field in ("ema_decay", "label_smoothing"):
        if not 0 <= training[field] < 1:
            raise InputError(f"{name}.{field} is {training[field]}; allowed: 0 to under 1")
    if not 0 < training.statistics_rate <= 1:
        raise InputError(
            f"{name}.statistics_rate is {training.statistics_rate}; allowed: above 0 to 1"
        )
    make_optimizer(training)


def check_supernet(training: ConfigDict, space: Space) -> int:
    """The paths of a step. Raises `InputError` for an unknown sampler or shared gradient."""
    if training.shared_gradient not in SHARED_GRADIENTS:
        raise InputError(
            f"shared_gradient {training.shared_gradient!r}; allowed: {', '.join(SHARED_GRADIENTS)}"
        )
    return paths_per_step(training.sampler, space)


def supernet_task(graphdef: Any, space: Space, training: ConfigDict) -> Task:
    """Trains shared weights along sampled paths."""
    paths = check_supernet(training, space)

    def forward(
        params: Any, stats: Any, images: jax.Array, path: jax.Array, batch: Any, _: Any
    ) -> Any:
        return functional.apply(graphdef, params, stats, images, path, batch)

    return Task(
        forward,
        partial(sample_paths, training.sampler, space),
        1.0 / paths if training.shared_gradient == "mean" else 1.0,
    )


def subnet_task(graphdef: Any) -> Task:
    """Trains one stand-alone network, with dropout."""

    def forward(
        params: Any, stats: Any, images: jax.Array, _: Any, batch: Any, dropout_keys: Any
    ) -> Any:
        return functional.apply(graphdef, params, stats, images, batch, dropout_keys)

    return Task(forward, lambda key: jnp.zeros((1, 0), jnp.int32))


def init_state(network: functional.Network, training: ConfigDict) -> TrainState:
    """The state before the first step."""
    averaged = (network.params, network.stats)
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=network.params,
        stats=network.stats,
        opt_state=make_optimizer(training).init(network.params),
        ema=jax.tree.map(jnp.copy, averaged) if training.ema_decay else None,
    )


def inference_arrays(state: TrainState) -> tuple[Any, Any]:
    """The parameters and statistics to evaluate with: averaged ones where there are any."""
    return (state.params, state.stats) if state.ema is None else state.ema


def make_train_step(
    task: Task, training: ConfigDict, data: ConfigDict, mesh: Mesh, seed: int
) -> Callable[[TrainState, Batch], tuple[TrainState, dict[str, jax.Array]]]:
    """Builds the compiled step.

    Every device runs the same paths on its part of the batch; batch norm's statistics and the
    gradients are reduced over the mesh, so the result does not depend on the device count.

    Args:
      task: what is trained.
      training: a training section of the configuration.
      data: the data section, for mean and deviation of pixels.
      mesh: devices, with an axis `data`.
      seed: of paths and dropout; step n uses `fold_in(key(seed), n)`.

    Returns:
      `(state, batch) -> (state, metrics)`; the state's buffers are donated. The batch holds
      `image uint8[B, H, W, C]`, `label int32[B]` and `weight float32[B]`; the metrics `loss`,
      `accuracy`, `learning_rate` and `gradient_norm`, float32[].
    """
    optimizer, schedule = make_optimizer(training), make_schedule(training)

    def step(state: TrainState, batch: Batch) -> tuple[TrainState, dict[str, jax.Array]]:
        images = normalise(batch["image"], data.mean, data.std)
        key = jax.random.fold_in(jax.random.key(seed), state.step)
        stats, grads, scores = _sum_over_paths(task, training, state, images, batch, key)
        grads, (loss, accuracy) = lax.psum((grads, scores), DATA)
        for shared in ("stem", "head"):
            grads[shared] = jax.tree.map(lambda g: g * task.shared_scale, grads[shared])
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        ema = state.ema
        if ema is not None:
            ema = optax.incremental_update((params, stats), ema, 1.0 - training.ema_decay)
        metrics = {
            "loss": loss,
            "accuracy": accuracy,
            "learning_rate": jnp.asarray(schedule(state.step)),
            "gradient_norm": optax.tree.norm(grads),
        }
        return TrainState(state.step + 1, params, stats, opt_state, ema), metrics

    replicated, spread = PartitionSpec(), PartitionSpec(DATA)
    sharded = jax.shard_map(
        step,
        mesh=mesh,
        in_specs=(replicated, spread),
        out_specs=(replicated, replicated),
        check_vma=False,
    )
    return jax.jit(sharded, donate_argnums=0)


def _sum_over_paths(
    task: Task,
    training: ConfigDict,
    state: TrainState,
    images: jax.Array,
    batch: Batch,
    key: jax.Array,
) -> tuple[Any, Any, tuple[jax.Array, jax.Array]]:
    """One device's share: statistics after all paths, summed gradients, mean loss and accuracy."""
    path_key, dropout_key = jax.random.split(key)
    paths = task.sample(path_key)  # [Q, L]
    gradient = jax.value_and_grad(partial(_loss_of_path, task, training), has_aux=True)

    def one(stats: Any, index: jax.Array) -> tuple[Any, Any, Any]:
        path_dropout = jax.random.fold_in(dropout_key, index)
        (loss, (stats, hits)), grads = gradient(
            state.params, stats, images, batch, paths[index], path_dropout
        )
        return stats, grads, (loss, hits)

    if len(paths) == 1:
        return one(state.stats, jnp.int32(0))

    def add(carry: Any, index: jax.Array) -> tuple[Any, Any]:
        stats, total = carry
        stats, grads, scores = one(stats, index)
        return (stats, jax.tree.map(jnp.add, total, grads)), scores

    zeros = jax.tree.map(jnp.zeros_like, state.params)
    (stats, grads), scores = lax.scan(add, (state.stats, zeros), jnp.arange(len(paths)))
    return stats, grads, jax.tree.map(jnp.mean, scores)


def _loss_of_path(
    task: Task,
    training: ConfigDict,
    params: Any,
    stats: Any,
    images: jax.Array,
    batch: Batch,
    path: jax.Array,
    key: jax.Array,
) -> tuple[jax.Array, Any]:
    """One device's share of the loss, and of `(stats, accuracy)`: they add up over the mesh."""
    statistics = BatchStatistics(rate=training.statistics_rate, axis=DATA)
    keys = _image_keys(key, len(images))
    logits, stats = task.forward(params, stats, images, path, statistics, keys)
    share = batch["weight"] / jnp.maximum(lax.psum(batch["weight"].sum(), DATA), 1.0)
    loss = losses.cross_entropy(logits, batch["label"], training.label_smoothing)
    hits = losses.correct(logits, batch["label"])
    return (share * loss).sum(), (stats, (share * hits).sum())


def _image_keys(key: jax.Array, count: int) -> jax.Array:
    """One key for each image of the global batch; this device's part: `key[count]`."""
    first = lax.axis_index(DATA) * count
    return jax.vmap(lambda i: jax.random.fold_in(key, i))(first + jnp.arange(count))
