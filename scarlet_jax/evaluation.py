"""Accuracy on held-out images: of one network, or of a population inside the supernet.

Every image counts once: padding and unreadable images carry weight 0.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import Mesh
from ml_collections import ConfigDict
from numpy.typing import NDArray

from scarlet_jax import supernet
from scarlet_jax.devices import (
    DATA,
    SPREAD,
    WHOLE,
    computed_part,
    normalise,
    program,
    replicate,
    shard,
)
from scarlet_jax.errors import InputError, check_one_of
from scarlet_jax.nn import functional
from scarlet_jax.nn.functional import Params, Stats
from scarlet_jax.nn.layers import BatchStatistics
from scarlet_jax.train import losses

STATISTICS = ("running", "batch", "recalibrated")
TOP = 5  # the usual second score
# Ours, measured: on CPUs, XLA's elder emitters compile what has no gradient in two thirds of the
# time, and LLVM's least level in 0.85 of that; it runs no slower. Programs with gradients run a
# third slower with the former.
CPU_OPTIONS = {"xla_cpu_use_fusion_emitters": False, "xla_backend_optimization_level": 1}
Batch = Mapping[str, Any]


def network_evaluator(
    graphdef: Any, data: ConfigDict, mesh: Mesh
) -> Callable[[Any, Any, Iterable[Batch]], dict[str, float]]:
    """Scores a stand-alone network with its running statistics, batches spread over devices.

    Returns:
      `(params, stats, batches) -> scores`: `accuracy`, `top5_accuracy` and `loss` over the
      images that could be read, and their number `images`. The batches are this process's.
    """

    def count(params: Any, stats: Any, batch: Batch) -> jax.Array:
        images = normalise(batch["image"], data.mean, data.std)
        logits, _ = functional.apply(graphdef, params, stats, images)
        label, weight = batch["label"], batch["weight"]
        best = lax.top_k(logits, min(TOP, logits.shape[-1]))[1]  # [B, TOP]
        columns = (
            losses.correct(logits, label),
            (best == label[:, None]).any(axis=1).astype(jnp.float32),
            losses.cross_entropy(logits, label, smoothing=0.0),
            jnp.ones_like(weight),
        )
        return lax.psum(jnp.stack([(weight * column).sum() for column in columns]), DATA)

    compiled = program(mesh, count, (WHOLE, WHOLE, SPREAD), WHOLE)

    def evaluate(params: Any, stats: Any, batches: Iterable[Batch]) -> dict[str, float]:
        total = np.zeros(4)
        for batch in batches:
            part = shard(mesh, computed_part(batch))
            total += np.asarray(compiled(params, stats, part), np.float64)
        hits, hits_of_top, loss, images = total
        if not images:
            raise InputError("no image of this split can be read: nothing to score")
        return {
            "accuracy": hits / images,
            "top5_accuracy": hits_of_top / images,
            "loss": loss / images,
            "images": int(images),
        }

    return evaluate


class PopulationEvaluator:
    """Scores whole populations with a supernet's weights.

    Architectures are sorted and spread over the devices; each device runs its own, one after
    the other, and on CPUs what neighbours share only once (`supernet.run_population`). A score
    depends neither on the other architectures nor on the devices.

    Args:
      plan: of the supernet.
      data: the data section of the configuration, for mean and deviation of pixels.
      mesh: the devices.
      statistics: what batch norm uses: "running" statistics of the training, those of the
        evaluated "batch", or statistics "recalibrated" for each path.
      chunk: architectures in a call, rounded up to a multiple of the devices.

    Raises:
      InputError: for an unknown kind of statistics.
    """

    def __init__(
        self,
        plan: supernet.Plan,
        data: ConfigDict,
        mesh: Mesh,
        *,
        statistics: str,
        chunk: int,
    ):
        check_one_of("statistics", statistics, STATISTICS)
        platform = mesh.devices.flat[0].platform
        self.plan, self.data, self.mesh = supernet.for_platform(plan, platform), data, mesh
        self.chunk = -(-chunk // mesh.devices.size) * mesh.devices.size
        on_mesh = partial(program, mesh, options=CPU_OPTIONS if platform == "cpu" else None)
        self.start = on_mesh(self._gather, (WHOLE, SPREAD), SPREAD)
        paths = SPREAD, WHOLE
        self.recalibrate = on_mesh(self._recalibrate, (WHOLE, SPREAD, WHOLE, WHOLE, *paths), SPREAD)
        score = partial(self._score, statistics == "batch")
        self.score = on_mesh(score, (WHOLE, SPREAD, WHOLE, *paths), WHOLE)
        self.compiled = False

    def __call__(
        self,
        params: Any,
        stats: Any,
        architectures: NDArray[np.int32],
        batches: Sequence[Batch],
        calibration: Sequence[Batch],
    ) -> NDArray[np.bool_]:
        """Which of the readable images each architecture gets right.

        Args:
          params, stats: of the supernet, replicated.
          architectures: `int32[P, L]`.
          batches: whole ones, the same in every process, in the host's memory: devices hold one at
            a time.
          calibration: batches of training images, likewise; none unless statistics are
            recalibrated.

        Returns:
          `bool[P, images]`.

        Raises:
          InputError: if no image can be read.
        """
        weights = [np.asarray(batch["weight"]) for batch in batches]
        readable = np.concatenate(weights or [np.zeros(0)]) > 0
        if not readable.any():
            raise InputError("no image of this split can be read: nothing to score")
        right = np.zeros((len(architectures), int(readable.sum())), np.bool_)
        order = np.lexsort(architectures.T[::-1])
        for start in range(0, len(order), self.chunk):
            chunk = order[start : start + self.chunk]
            padded = np.resize(architectures[chunk], (self.chunk, architectures.shape[1]))
            # Each process passes its own part of the chunk.
            part = np.array_split(padded, jax.process_count())[jax.process_index()]
            paths = (shard(self.mesh, part), replicate(self.mesh, np.int32(len(chunk))))
            own = self.start(stats, paths[0])
            if calibration and not self.compiled:
                one, other = (replicate(self.mesh, part[0]) for part in (batches, calibration))
                self._compile_side_by_side(params, own, one, other, paths)
            for number, batch in enumerate(calibration):
                # Plain means of the batches' statistics.
                rate = np.float32(1.0 / (number + 1.0))
                own = self.recalibrate(params, own, replicate(self.mesh, batch), rate, *paths)
            parts = [
                np.asarray(self.score(params, own, replicate(self.mesh, batch), *paths))
                for batch in batches
            ]
            right[chunk] = np.concatenate(parts, axis=1)[: len(chunk), readable]
        return right

    def _compile_side_by_side(
        self,
        params: Params,
        own: Stats,
        batch: Batch,
        calibration: Batch,
        paths: tuple[jax.Array, jax.Array],
    ) -> None:
        """Compiles both programs at once, whose calls find them compiled: one alone does not use
        all cores."""
        with ThreadPoolExecutor(1) as thread:
            # Compiling does not hold Python's lock: the second is traced meanwhile.
            first = self.recalibrate.lower(params, own, calibration, np.float32(1), *paths)
            waiting = thread.submit(first.compile)
            self.score.lower(params, own, batch, *paths).compile()
            waiting.result()
        self.compiled = True

    def _gather(self, stats: Stats, paths: jax.Array) -> Stats:
        """The supernet's statistics for each path of one device, stacked."""
        return lax.map(lambda path: supernet.gather(self.plan.stages, stats, path), paths)

    def _recalibrate(
        self,
        params: Params,
        stats: Stats,
        batch: Batch,
        rate: jax.Array,
        paths: jax.Array,
        count: jax.Array,
    ) -> Stats:
        """The statistics of each path after a batch."""
        return self._run(params, stats, batch, batch_statistics(batch, rate), paths, count)[1]

    def _score(
        self,
        by_batch: bool,
        params: Params,
        stats: Stats,
        batch: Batch,
        paths: jax.Array,
        count: jax.Array,
    ) -> jax.Array:
        """Which images of a batch each path gets right, `bool[chunk, B]`."""
        norm = batch_statistics(batch, 0.0) if by_batch else None
        logits, _ = self._run(params, stats, batch, norm, paths, count)
        right = losses.correct(logits, batch["label"]) > 0  # [P, B]
        return lax.all_gather(right, DATA, tiled=True)

    def _run(
        self,
        params: Params,
        stats: Stats,
        batch: Batch,
        norm: BatchStatistics | None,
        paths: jax.Array,
        count: jax.Array,
    ) -> tuple[jax.Array, Stats]:
        images = normalise(batch["image"], self.data.mean, self.data.std)
        own = jnp.clip(count - lax.axis_index(DATA) * len(paths), 0, len(paths))
        return supernet.run_population(self.plan, params, stats, images, paths, own, norm)


def batch_statistics(batch: Batch, rate: jax.Array | float) -> BatchStatistics:
    """Of the readable images of a batch on one device, for batch norm."""
    return BatchStatistics(rate, batch["weight"] / jnp.maximum(batch["weight"].sum(), 1.0))
