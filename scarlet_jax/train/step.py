"""One training step, of the supernet or of a stand-alone network, data-parallel over a mesh."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import struct
from jax import lax
from jax.sharding import Mesh
from jax.stages import Wrapped
from ml_collections import ConfigDict
from numpy.typing import NDArray

from scarlet_jax import supernet, tensors
from scarlet_jax.devices import DATA, SPREAD, WHOLE, normalise, program
from scarlet_jax.nn import functional
from scarlet_jax.nn.functional import Params, Stats
from scarlet_jax.nn.layers import BatchStatistics
from scarlet_jax.train import losses
from scarlet_jax.train.optimizer import at_step, make_optimizer, make_schedule, per_block
from scarlet_jax.train.sampler import sample_paths

Batch = Mapping[str, jax.Array]
Metrics = dict[str, jax.Array]
# Paths `int32[Q, L]`, gradients and statistics after them; of one path, those of its own arrays
# alone, with its parameters and optimizer state.
Result = tuple[jax.Array, Params, Stats, tuple[Params, Any] | None]


@struct.dataclass
class TrainState:
    """All that training carries from step to step. Replicated over the devices."""

    step: jax.Array  # `int32[]`, updates done
    params: Params
    stats: Stats
    opt_state: Any  # Optax's, see `optimizer.per_block`
    ema: tuple[Params, Stats] | None  # moving averages of parameters and statistics


@dataclass(frozen=True)
class Task:
    """What is trained, and how.

    Attributes:
      graphdef: of a stand-alone network, or the plan of a supernet.
      training, data: sections of the configuration; of the data's, mean and deviation of pixels.
      seed: of paths and dropout, with the step.
      class_weights: of the images of each class in the loss, `float32[C]`, 1 in the mean of all
        training images; None for equal ones.
      optimizer: in place of the section's. It is given each block alone, and its counts are a
        block's own: under uniform sampling, so are the steps of a schedule in it. The section's
        `clip_norm` holds, its `weight_decay` and learning rate do not.
    """

    graphdef: Any
    training: ConfigDict
    data: ConfigDict
    seed: int
    class_weights: NDArray[np.float32] | None = None
    optimizer: optax.GradientTransformation | None = None

    @property
    def frozen(self) -> Sequence[str]:
        """Modules of a stand-alone network whose parameters stay; see also `subnet.freeze`."""
        frozen: Sequence[str] = self.training.get("frozen", ())
        return frozen

    @property
    def plan(self) -> supernet.Plan | None:
        return self.graphdef if isinstance(self.graphdef, supernet.Plan) else None

    def paths(self, key: jax.Array, step: jax.Array) -> jax.Array:
        """Those of a step, `int32[Q, L]`."""
        if self.plan is None:
            return jnp.zeros((1, 0), jnp.int32)
        return sample_paths(self.training.sampler, self.plan.space, key, step)

    def gather(self, tree: Params, path: jax.Array) -> Params:
        """The arrays of a path; those of a network that is one path as they are."""
        return supernet.gather(self.plan.stages, tree, path) if self.plan else tree

    def scatter(self, tree: Params, own: Params, path: jax.Array) -> Params:
        """The arrays with those of a path written back."""
        return supernet.scatter(self.plan.stages, tree, own, path) if self.plan else own


def init_state(network: functional.Network, task: Task) -> TrainState:
    """The state before the first step."""
    rule = per_block(
        task.optimizer or make_optimizer(task.training, task.training.learning_rate), axes=2
    )

    def begin(params: Params, stats: Stats) -> TrainState:
        ema = jax.tree.map(jnp.copy, (params, stats)) if task.training.ema_decay else None
        return TrainState(jnp.zeros((), jnp.int32), params, stats, rule.init(params), ema)

    return jax.jit(begin)(network.params, network.stats)  # one program, not one for each array


def averaging_rate(decay: float, step: jax.Array) -> jax.Array:
    """How far moving averages go towards the weights after a step, `int32[]` from 0; `float32[]`.

    `1 - decay`, or 9 / (10 + step) where that is more, by the numbers of TensorFlow's
    `ExponentialMovingAverage` with `num_updates`: averages are of the last ninth of the steps at
    most, and soon have nothing left of the initial weights.
    """
    return jnp.maximum(1.0 - decay, 9.0 / (10.0 + step))


def inference_arrays(state: TrainState) -> tuple[Params, Stats]:
    """The parameters and statistics to evaluate with: averaged ones where there are any."""
    return (state.params, state.stats) if state.ema is None else state.ema


def make_train_step(
    task: Task, mesh: Mesh
) -> Callable[[TrainState, Batch], tuple[TrainState, Metrics]]:
    """Builds the compiled step.

    Every device runs the same paths on its part of the batch; batch norm's statistics and the
    gradients are reduced over the mesh, so the result does not depend on the device count, unless
    `local_batch_norm` keeps the former on each device.

    Returns:
      `(state, batch) -> (state, metrics)`; the state's buffers are donated. The batch holds
      `image uint8[B, H, W, C]`, `label int32[B]` and `weight float32[B]`; the metrics `loss`,
      `accuracy`, `learning_rate` and `gradient_norm`, float32[].
    """
    compute, write = make_programs(task, mesh)

    def step(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        result, metrics = compute(state, batch)
        return write(state, result), metrics

    return step


def make_programs(task: Task, mesh: Mesh) -> tuple[Wrapped, Wrapped]:
    """A step's programs, `(state, batch) -> (result, metrics)` and `(state, result) -> state`.

    In one, XLA would copy the supernet's arrays, which are read before they are written to.
    """
    if task.plan:
        plan = supernet.for_platform(task.plan, mesh.devices.flat[0].platform)
        task = replace(task, graphdef=plan)
    compute = program(mesh, partial(_compute, task), (WHOLE, SPREAD), WHOLE)
    return compute, jax.jit(partial(_write, task), donate_argnums=0)


def _compute(task: Task, state: TrainState, batch: Batch) -> tuple[Result, Metrics]:
    images = normalise(batch["image"], task.data.mean, task.data.std)
    path_key, dropout_key = jax.random.split(jax.random.key(task.seed))
    paths = task.paths(path_key, state.step)
    dropout_key = jax.random.fold_in(dropout_key, state.step)
    gradient = partial(_gradient, task, {**batch, "image": images}, dropout_key)
    own = None
    if len(paths) == 1:
        params, stats, opt_state = (
            task.gather(tree, paths[0]) for tree in (state.params, state.stats, state.opt_state)
        )
        own = params, opt_state
        stats, grads, scores = gradient(params, stats, paths[0])
    else:
        stats, grads, scores = _sum_over_paths(task, gradient, state, paths)
        if task.training.shared_gradient == "mean":
            for part in ("stem", "head"):
                grads[part] = jax.tree.map(lambda g: g / len(paths), grads[part])
    if task.frozen:
        grads = _keep(task.frozen, jax.tree.map(jnp.zeros_like, grads), grads)
    return (paths, grads, stats, own), scores | {
        "learning_rate": jnp.asarray(make_schedule(task.training)(state.step)),
        "gradient_norm": optax.tree.norm(grads),
    }


def _sum_over_paths(
    task: Task, gradient: Callable[..., Any], state: TrainState, paths: jax.Array
) -> tuple[Stats, Params, Metrics]:
    """Statistics after all paths, summed gradients, mean scores."""

    def add(carry: Any, path: jax.Array) -> tuple[Any, Any]:
        stats, sums = (task.gather(tree, path) for tree in carry)
        stats, grads, scores = gradient(task.gather(state.params, path), stats, path)
        own = stats, jax.tree.map(jnp.add, sums, grads)
        return tuple(task.scatter(*pair, path) for pair in zip(carry, own, strict=True)), scores

    zeros = jax.tree.map(jnp.zeros_like, state.params)
    (stats, grads), scores = lax.scan(add, (state.stats, zeros), paths)
    return stats, grads, jax.tree.map(jnp.mean, scores)


def _gradient(
    task: Task,
    batch: Batch,
    dropout_key: jax.Array,
    params: Params,
    stats: Stats,
    path: jax.Array,
) -> tuple[Stats, Params, Metrics]:
    """Along a path, `(stats, gradients, scores)`, summed over the devices here: a path's arrays are
    small, and those of all paths need no copy then."""
    images = batch["image"]
    share = batch["weight"] / jnp.maximum(lax.psum(batch["weight"].sum(), DATA), 1.0)
    counted = share
    if task.class_weights is not None:
        counted = share * jnp.asarray(task.class_weights)[batch["label"]]
    local = task.training.local_batch_norm
    norm = BatchStatistics(rate=task.training.statistics_rate, axis=None if local else DATA)

    def loss_of(params: Params) -> tuple[jax.Array, Any]:
        """Shares of the loss, and of `(stats, accuracy)`: they add up over the mesh."""
        if task.plan:
            logits, after = supernet.run(task.plan, params, stats, images, path, norm)
        else:
            number = lax.axis_index(DATA) * len(images) + jnp.arange(len(images))
            keys = jax.vmap(partial(jax.random.fold_in, dropout_key))(number)  # one an image
            logits, after = functional.apply(task.graphdef, params, stats, images, norm, keys)
        loss = losses.cross_entropy(logits, batch["label"], task.training.label_smoothing)
        hits = losses.correct(logits, batch["label"])
        return (counted * loss).sum(), (after, (share * hits).sum())

    (loss, (after, hits)), grads = jax.value_and_grad(loss_of, has_aux=True)(params)
    if local:
        after = lax.pmean(after, DATA)
    return after, *lax.psum((grads, {"loss": loss, "accuracy": hits}), DATA)


def _write(task: Task, state: TrainState, result: Result) -> TrainState:
    """One step of the optimizer. After one path, all other blocks stay, with their momentum."""
    paths, grads, stats, own = result
    params, opt_state = own or (state.params, state.opt_state)
    rule = at_step(task.training, task.optimizer, state.step, axes=1 if own else 2)
    updates, opt_state = rule.update(grads, opt_state, params)
    params = optax.apply_updates(params, updates)
    if own:
        params = task.scatter(state.params, params, paths[0])
        stats = task.scatter(state.stats, stats, paths[0])
        opt_state = task.scatter(state.opt_state, opt_state, paths[0])
    if task.frozen:
        params = _keep(task.frozen, state.params, params)
    ema = state.ema
    if ema is not None:
        rate = averaging_rate(task.training.ema_decay, state.step)
        ema = optax.incremental_update((params, stats), ema, rate)
    return TrainState(state.step + 1, params, stats, opt_state, ema)


def _keep(frozen: Sequence[str], before: Params, after: Params) -> Params:
    """`after`, but for the arrays of frozen modules."""

    def choose(keypath: functional.KeyPath, old: jax.Array, new: jax.Array) -> jax.Array:
        return old if tensors.is_inside(tensors.name_of(keypath), frozen) else new

    return jax.tree_util.tree_map_with_path(choose, before, after)
