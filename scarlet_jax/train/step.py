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

from scarlet_jax import stacks, supernet
from scarlet_jax.devices import DATA, normalise
from scarlet_jax.nn import functional
from scarlet_jax.nn.layers import BatchStatistics
from scarlet_jax.train import losses
from scarlet_jax.train.optimizer import make_optimizer, make_schedule
from scarlet_jax.train.sampler import paths_per_step, sample_paths

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
      forward: `(params, stats, images, path, batch, dropout_keys) -> (logits, stats)`, on the
        arrays of a path.
      sample: `(key, step) -> int32[Q, L]`, the paths of a step; the key is the run's.
      paths: Q.
      index: of a supernet's stacks; None for a network that is one path.
      shared_scale: factor on the gradients of stem and head, which all paths share.
    """

    forward: Callable[..., tuple[jax.Array, Any]]
    sample: Callable[[jax.Array, jax.Array], jax.Array]
    paths: int
    index: stacks.Index | None
    shared_scale: float = 1.0


def supernet_task(plan: supernet.Plan, training: ConfigDict) -> Task:
    """Trains shared weights along sampled paths."""
    paths = paths_per_step(training.sampler, plan.space)

    def forward(
        params: Any, stats: Any, images: jax.Array, architecture: jax.Array, batch: Any, _: Any
    ) -> Any:
        return supernet.run(plan, params, stats, images, architecture, batch)

    return Task(
        forward,
        partial(sample_paths, training.sampler, plan.space),
        paths,
        plan.index,
        1.0 / paths if training.shared_gradient == "mean" else 1.0,
    )


def subnet_task(graphdef: Any) -> Task:
    """Trains one stand-alone network, with dropout."""

    def forward(
        params: Any, stats: Any, images: jax.Array, _: Any, batch: Any, dropout_keys: Any
    ) -> Any:
        return functional.apply(graphdef, params, stats, images, batch, dropout_keys)

    return Task(forward, lambda key, step: jnp.zeros((1, 0), jnp.int32), paths=1, index=None)


def init_state(network: functional.Network, training: ConfigDict) -> TrainState:
    """The state before the first step."""

    @jax.jit  # one program instead of one for each array
    def begin(params: Any, stats: Any) -> tuple[jax.Array, Any, Any]:
        ema = jax.tree.map(jnp.copy, (params, stats)) if training.ema_decay else None
        return jnp.zeros((), jnp.int32), make_optimizer(training).init(params), ema

    step, opt_state, ema = begin(network.params, network.stats)
    return TrainState(step, network.params, network.stats, opt_state, ema)


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
      seed: of paths and dropout.

    Returns:
      `(state, batch) -> (state, metrics)`; the state's buffers are donated. The batch holds
      `image uint8[B, H, W, C]`, `label int32[B]` and `weight float32[B]`; the metrics `loss`,
      `accuracy`, `learning_rate` and `gradient_norm`, float32[].
    """
    compute, write = make_programs(task, training, data, mesh, seed)

    def step(state: TrainState, batch: Batch) -> tuple[TrainState, dict[str, jax.Array]]:
        result, metrics = compute(state, batch)
        return write(state, result), metrics

    return step


def make_programs(
    task: Task, training: ConfigDict, data: ConfigDict, mesh: Mesh, seed: int
) -> tuple[Callable[..., Any], Callable[..., TrainState]]:
    """A step's programs, `(state, batch) -> (result, metrics)` and `(state, result) -> state`.

    In one, XLA would copy the stacks, which are read before they are written to.
    """
    compute: Callable[..., Any] = partial(_gradient, task, training, data, seed)
    write: Callable[..., TrainState] = partial(_update, training)
    if task.index is not None and task.paths == 1:
        compute = partial(_move_path, task, training, data, seed, task.index)
        write = partial(_write_path, training, task.index)
    replicated, spread = PartitionSpec(), PartitionSpec(DATA)
    sharded = jax.shard_map(
        compute,
        mesh=mesh,
        in_specs=(replicated, spread),
        out_specs=(replicated, replicated),
        check_vma=False,
    )
    return jax.jit(sharded), jax.jit(write, donate_argnums=0)


def _move_path(
    task: Task,
    training: ConfigDict,
    data: ConfigDict,
    seed: int,
    index: stacks.Index,
    state: TrainState,
    batch: Batch,
) -> tuple[Any, Any]:
    """A step along one path: its arrays after it. All others, with their momentum, stay."""
    (architecture,), gradient = _prepare(task, training, data, seed, state, batch)
    whole = (state.params, state.stats, state.opt_state)
    params, stats, opt_state = stacks.take(index, whole, architecture)
    stats, grads, scores = gradient(params, stats, architecture, jnp.int32(0))
    grads, metrics = _reduce(task, training, state, grads, scores)
    updates, opt_state = make_optimizer(training).update(grads, opt_state, params)
    return (architecture, optax.apply_updates(params, updates), stats, opt_state), metrics


def _write_path(
    training: ConfigDict, index: stacks.Index, state: TrainState, result: Any
) -> TrainState:
    architecture, *parts = result
    whole = (state.params, state.stats, state.opt_state)
    params, stats, opt_state = stacks.put(index, whole, tuple(parts), architecture)
    return _next(training, state, params, stats, opt_state)


def _gradient(
    task: Task, training: ConfigDict, data: ConfigDict, seed: int, state: TrainState, batch: Batch
) -> tuple[Any, Any]:
    """The gradients of all paths, summed, and the statistics after them."""
    paths, gradient = _prepare(task, training, data, seed, state, batch)
    if task.index is None:
        stats, grads, scores = gradient(state.params, state.stats, paths[0], jnp.int32(0))
    else:
        stats, grads, scores = _sum_over_paths(task.index, gradient, state, paths)
    grads, metrics = _reduce(task, training, state, grads, scores)
    return (grads, stats), metrics


def _update(training: ConfigDict, state: TrainState, result: Any) -> TrainState:
    grads, stats = result
    updates, opt_state = make_optimizer(training).update(grads, state.opt_state, state.params)
    return _next(training, state, optax.apply_updates(state.params, updates), stats, opt_state)


def _prepare(
    task: Task, training: ConfigDict, data: ConfigDict, seed: int, state: TrainState, batch: Batch
) -> tuple[jax.Array, Callable[..., Any]]:
    """The paths of a step, `int32[Q, L]`, and the function that gives a path's gradient."""
    images = normalise(batch["image"], data.mean, data.std)
    path_key, dropout_key = jax.random.split(jax.random.key(seed))
    dropout_key = jax.random.fold_in(dropout_key, state.step)
    return task.sample(path_key, state.step), partial(
        _gradient_of_path, task, training, images, batch, dropout_key
    )


def _sum_over_paths(
    index: stacks.Index, gradient: Callable[..., Any], state: TrainState, paths: jax.Array
) -> tuple[Any, Any, Any]:
    """Statistics after all paths, summed gradients, mean scores: one device's share."""

    def add(carry: Any, number: jax.Array) -> tuple[Any, Any]:
        stats, total = carry
        path = paths[number]
        params, own, sums = stacks.take(index, (state.params, stats, total), path)
        own, grads, scores = gradient(params, own, path, number)
        sums = jax.tree.map(jnp.add, sums, grads)
        return stacks.put(index, (stats, total), (own, sums), path), scores

    zeros = jax.tree.map(jnp.zeros_like, state.params)
    (stats, grads), scores = lax.scan(add, (state.stats, zeros), jnp.arange(len(paths)))
    return stats, grads, jax.tree.map(jnp.mean, scores)


def _reduce(
    task: Task, training: ConfigDict, state: TrainState, grads: Any, scores: Any
) -> tuple[Any, dict[str, jax.Array]]:
    """Gradients over all devices, those of stem and head scaled; and the step's metrics."""
    grads, (loss, accuracy) = lax.psum((grads, scores), DATA)
    if task.shared_scale != 1:
        for part in ("stem", "head"):
            grads[part] = jax.tree.map(lambda g: g * task.shared_scale, grads[part])
    return grads, {
        "loss": loss,
        "accuracy": accuracy,
        "learning_rate": jnp.asarray(make_schedule(training)(state.step)),
        "gradient_norm": _norm(grads),
    }


def _norm(tree: Any) -> jax.Array:
    """Optax's, in one piece: XLA's CPU backend compiles several kernels a leaf for sums."""
    flat = jnp.concatenate([leaf.ravel() for leaf in jax.tree.leaves(tree)])
    return jnp.sqrt(jnp.vdot(flat, flat))


def _next(
    training: ConfigDict, state: TrainState, params: Any, stats: Any, opt_state: Any
) -> TrainState:
    ema = state.ema
    if ema is not None:
        ema = optax.incremental_update((params, stats), ema, 1.0 - training.ema_decay)
    return TrainState(state.step + 1, params, stats, opt_state, ema)


def _gradient_of_path(
    task: Task,
    training: ConfigDict,
    images: jax.Array,
    batch: Batch,
    dropout_key: jax.Array,
    params: Any,
    stats: Any,
    architecture: jax.Array,
    index: jax.Array,
) -> tuple[Any, Any, Any]:
    """One device's share of a path: `(stats, gradients, (loss, accuracy))`."""
    (loss, (stats, hits)), grads = jax.value_and_grad(_loss_of_path, argnums=2, has_aux=True)(
        task,
        training,
        params,
        stats,
        images,
        batch,
        architecture,
        jax.random.fold_in(dropout_key, index),
    )
    return stats, grads, (loss, hits)


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
