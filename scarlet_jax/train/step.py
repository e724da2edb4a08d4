"""One training step, of the supernet or of a stand-alone network, data-parallel over a mesh."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct
from jax import lax
from jax.sharding import Mesh, PartitionSpec
from ml_collections import ConfigDict

from scarlet_jax import supernet
from scarlet_jax.devices import DATA, normalise
from scarlet_jax.nn import functional
from scarlet_jax.nn.functional import Params, Stats
from scarlet_jax.nn.layers import BatchStatistics
from scarlet_jax.train import losses
from scarlet_jax.train.optimizer import at_step, make_optimizer, make_schedule, per_block
from scarlet_jax.train.sampler import paths_per_step, sample_paths

Batch = Mapping[str, jax.Array]
Metrics = dict[str, jax.Array]
# Paths `int32[Q, L]`, gradients, statistics; and of one path, its parameters and optimizer state.
Result = tuple[jax.Array, Params, Stats, tuple[Params, Any] | None]


@struct.dataclass
class TrainState:
    """All that training carries from step to step. Replicated over the devices.

    Attributes:
      step: `int32[]`, updates done.
      params, stats: of the network.
      opt_state: optax's, see `optimizer.per_block`.
      ema: moving averages of `(params, stats)`, or None.
    """

    step: jax.Array
    params: Params
    stats: Stats
    opt_state: Any
    ema: tuple[Params, Stats] | None


@dataclass(frozen=True)
class Task:
    """What is trained.

    Attributes:
      graph: of a stand-alone network, or the plan of a supernet.
      sample: `(key, step) -> int32[Q, L]`, the paths of a step; the key is the run's.
      paths: Q.
      shared_scale: factor on the gradients of stem and head, which all paths share.
    """

    graph: Any
    sample: Callable[[jax.Array, jax.Array], jax.Array]
    paths: int
    shared_scale: float = 1.0

    @property
    def plan(self) -> supernet.Plan | None:
        return self.graph if isinstance(self.graph, supernet.Plan) else None

    def gather(self, tree: Params, path: jax.Array) -> Params:
        """The arrays of a path; those of a network that is one path as they are."""
        return supernet.gather(self.plan.stages, tree, path) if self.plan else tree

    def scatter(self, tree: Params, own: Params, path: jax.Array) -> Params:
        """The arrays with those of a path written back."""
        return supernet.scatter(self.plan.stages, tree, own, path) if self.plan else own

    def forward(
        self,
        params: Params,
        stats: Stats,
        images: jax.Array,
        path: jax.Array,
        batch: BatchStatistics,
        dropout_keys: jax.Array,
    ) -> tuple[jax.Array, Stats]:
        """Logits along a path, of its arrays, and the statistics after it."""
        if self.plan:
            return supernet.run(self.plan, params, stats, images, path, batch)
        return functional.apply(self.graph, params, stats, images, batch, dropout_keys)


@dataclass(frozen=True)
class Settings:
    """What a step depends on beside its task; see `make_train_step`."""

    training: ConfigDict
    data: ConfigDict
    seed: int
    optimizer: optax.GradientTransformation | None = None


def supernet_task(plan: supernet.Plan, training: ConfigDict) -> Task:
    """Trains shared weights along sampled paths."""
    paths = paths_per_step(training.sampler, plan.space)
    sample = partial(sample_paths, training.sampler, plan.space)
    return Task(plan, sample, paths, 1.0 / paths if training.shared_gradient == "mean" else 1.0)


def subnet_task(graphdef: Any) -> Task:
    """Trains one stand-alone network, with dropout."""
    return Task(graphdef, lambda key, step: jnp.zeros((1, 0), jnp.int32), paths=1)


def init_state(
    network: functional.Network,
    training: ConfigDict,
    optimizer: optax.GradientTransformation | None = None,
) -> TrainState:
    """The state before the first step; `optimizer` as in `make_train_step`."""
    if optimizer is None:
        optimizer = make_optimizer(training, training.learning_rate)
    whole = per_block(optimizer, axes=2)

    @jax.jit  # one program instead of one for each array
    def begin(params: Params, stats: Stats) -> tuple[jax.Array, Any, Any]:
        ema = jax.tree.map(jnp.copy, (params, stats)) if training.ema_decay else None
        return jnp.zeros((), jnp.int32), whole.init(params), ema

    step, opt_state, ema = begin(network.params, network.stats)
    return TrainState(step, network.params, network.stats, opt_state, ema)


def inference_arrays(state: TrainState) -> tuple[Params, Stats]:
    """The parameters and statistics to evaluate with: averaged ones where there are any."""
    return (state.params, state.stats) if state.ema is None else state.ema


def make_train_step(
    task: Task,
    training: ConfigDict,
    data: ConfigDict,
    mesh: Mesh,
    seed: int,
    optimizer: optax.GradientTransformation | None = None,
) -> Callable[[TrainState, Batch], tuple[TrainState, Metrics]]:
    """Builds the compiled step.

    Every device runs the same paths on its part of the batch; batch norm's statistics and the
    gradients are reduced over the mesh, so the result does not depend on the device count.

    Args:
      task: what is trained.
      training: a training section of the configuration.
      data: the data section, for mean and deviation of pixels.
      mesh: devices, with an axis `data`.
      seed: of paths and dropout; step n uses `fold_in(key(seed), n)`.
      optimizer: in place of the section's. It is given each block alone, and its counts are a
        block's own: under uniform sampling, so are the steps of a schedule in it. The section's
        `clip_norm` holds, its `weight_decay` and learning rate do not.

    Returns:
      `(state, batch) -> (state, metrics)`; the state's buffers are donated. The batch holds
      `image uint8[B, H, W, C]`, `label int32[B]` and `weight float32[B]`; the metrics `loss`,
      `accuracy`, `learning_rate` and `gradient_norm`, float32[].
    """
    compute, write = make_programs(task, training, data, mesh, seed, optimizer)

    def step(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        result, metrics = compute(state, batch)
        return write(state, result), metrics

    return step


def make_programs(
    task: Task,
    training: ConfigDict,
    data: ConfigDict,
    mesh: Mesh,
    seed: int,
    optimizer: optax.GradientTransformation | None = None,
) -> tuple[Callable[..., Any], Callable[..., TrainState]]:
    """A step's programs, `(state, batch) -> (result, metrics)` and `(state, result) -> state`.

    In one, XLA would copy the supernet's arrays, which are read before they are written to.
    """
    settings = Settings(training, data, seed, optimizer)
    if task.plan:
        plan = supernet.for_platform(task.plan, mesh.devices.flat[0].platform)
        task = replace(task, graph=plan)
    replicated, spread = PartitionSpec(), PartitionSpec(DATA)
    compute = jax.shard_map(
        partial(_gradient, task, settings),
        mesh=mesh,
        in_specs=(replicated, spread),
        out_specs=(replicated, replicated),
        check_vma=False,
    )
    return jax.jit(compute), jax.jit(partial(_update, task, settings), donate_argnums=0)


def _gradient(
    task: Task, settings: Settings, state: TrainState, batch: Batch
) -> tuple[Result, Metrics]:
    """The paths, their gradients, summed, and the statistics after them; of one path, all of its
    own arrays alone."""
    images = normalise(batch["image"], settings.data.mean, settings.data.std)
    path_key, dropout_key = jax.random.split(jax.random.key(settings.seed))
    paths = task.sample(path_key, state.step)
    dropout_key = jax.random.fold_in(dropout_key, state.step)
    gradient = partial(_gradient_of_path, task, settings, images, batch, dropout_key)
    if task.paths == 1:
        whole = state.params, state.stats, state.opt_state
        params, stats, opt_state = (task.gather(tree, paths[0]) for tree in whole)
        stats, grads, (loss, accuracy) = gradient(params, stats, paths[0], jnp.int32(0))
        own = params, opt_state
    else:
        own = None
        stats, grads, (loss, accuracy) = _sum_over_paths(task, gradient, state, paths)
    for part in ("stem", "head"):
        grads[part] = jax.tree.map(lambda g: g * task.shared_scale, grads[part])
    return (paths, grads, stats, own), {
        "loss": loss,
        "accuracy": accuracy,
        "learning_rate": jnp.asarray(make_schedule(settings.training)(state.step)),
        "gradient_norm": _norm(grads),
    }


def _sum_over_paths(
    task: Task, gradient: Callable[..., Any], state: TrainState, paths: jax.Array
) -> tuple[Stats, Params, Any]:
    """Statistics after all paths, summed gradients, mean scores."""

    def add(carry: Any, number: jax.Array) -> tuple[Any, Any]:
        path = paths[number]
        before, sums = (task.gather(tree, path) for tree in carry)
        after, grads, scores = gradient(task.gather(state.params, path), before, path, number)
        own = after, jax.tree.map(jnp.add, sums, grads)
        return tuple(task.scatter(*pair, path) for pair in zip(carry, own, strict=True)), scores

    zeros = jax.tree.map(jnp.zeros_like, state.params)
    (stats, grads), scores = lax.scan(add, (state.stats, zeros), jnp.arange(len(paths)))
    return stats, grads, jax.tree.map(jnp.mean, scores)


def _update(task: Task, settings: Settings, state: TrainState, result: Result) -> TrainState:
    """One step of the optimizer. After one path, all other blocks stay, with their momentum."""
    paths, grads, stats, own = result
    params, opt_state = own or (state.params, state.opt_state)
    rule = at_step(settings.training, settings.optimizer, state.step, axes=1 if own else 2)
    updates, opt_state = rule.update(grads, opt_state, params)
    params = optax.apply_updates(params, updates)
    if own:
        whole = (state.params, state.stats, state.opt_state)
        params, stats, opt_state = (
            task.scatter(tree, own, paths[0])
            for tree, own in zip(whole, (params, stats, opt_state), strict=True)
        )
    ema = state.ema
    if ema is not None:
        rate = 1.0 - settings.training.ema_decay
        ema = optax.incremental_update((params, stats), ema, rate)
    return TrainState(state.step + 1, params, stats, opt_state, ema)


def _norm(tree: Params) -> jax.Array:
    """Optax's, a stage at a time: XLA's CPU backend compiles several kernels a leaf for sums, and
    one piece would be a copy of all."""
    squares = []
    for part in (tree["stem"], *tree.get("stages", [tree.get("blocks")]), tree["head"]):
        if leaves := [leaf.ravel() for leaf in jax.tree.leaves(part)]:  # none of identities
            flat = jnp.concatenate(leaves)
            squares.append(jnp.vdot(flat, flat))
    return jnp.sqrt(sum(squares))


def _gradient_of_path(
    task: Task,
    settings: Settings,
    images: jax.Array,
    batch: Batch,
    dropout_key: jax.Array,
    params: Params,
    stats: Stats,
    path: jax.Array,
    number: jax.Array,
) -> tuple[Stats, Params, Any]:
    """Along a path, `(stats, gradients, (loss, accuracy))`, summed over the devices here: a path's
    arrays are small, and those of all paths need no copy then."""
    keys = _image_keys(jax.random.fold_in(dropout_key, number), len(images))

    def loss_of(params: Params) -> tuple[jax.Array, Any]:
        """Shares of the loss, and of `(stats, accuracy)`: they add up over the mesh."""
        how = BatchStatistics(rate=settings.training.statistics_rate, axis=DATA)
        logits, after = task.forward(params, stats, images, path, how, keys)
        share = batch["weight"] / jnp.maximum(lax.psum(batch["weight"].sum(), DATA), 1.0)
        loss = losses.cross_entropy(logits, batch["label"], settings.training.label_smoothing)
        hits = losses.correct(logits, batch["label"])
        return (share * loss).sum(), (after, (share * hits).sum())

    (loss, (after, hits)), grads = jax.value_and_grad(loss_of, has_aux=True)(params)
    grads, scores = lax.psum((grads, (loss, hits)), DATA)
    return after, grads, scores


def _image_keys(key: jax.Array, count: int) -> jax.Array:
    """One key for each image of the global batch; this device's part: `key[count]`."""
    first = lax.axis_index(DATA) * count
    return jax.vmap(lambda i: jax.random.fold_in(key, i))(first + jnp.arange(count))
