"""Accuracy on held-out images: of one network, or of a population inside the supernet.

Every image counts once: padding and unreadable images carry weight 0.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import Mesh, PartitionSpec
from ml_collections import ConfigDict
from numpy.typing import NDArray

from scarlet_jax.devices import DATA, normalise, replicate, shard
from scarlet_jax.errors import InputError
from scarlet_jax.nn import functional
from scarlet_jax.nn.layers import BatchStatistics
from scarlet_jax.train import losses

STATISTICS = ("running", "batch", "recalibrated")
TOP = 5  # the usual second score
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

    compiled = jax.jit(
        jax.shard_map(
            count,
            mesh=mesh,
            in_specs=(PartitionSpec(), PartitionSpec(), PartitionSpec(DATA)),
            out_specs=PartitionSpec(),
            check_vma=False,
        )
    )

    def evaluate(params: Any, stats: Any, batches: Iterable[Batch]) -> dict[str, float]:
        total = np.zeros(4)
        for batch in batches:
            part = {name: batch[name] for name in ("image", "label", "weight")}
            total += np.asarray(compiled(params, stats, shard(mesh, part)), np.float64)
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

    A chunk of architectures is spread over the devices; each device runs its own, one after the
    other, over every batch. One program serves all architectures.

    Args:
      graphdef: the supernet's.
      data: the data section of the configuration, for mean and deviation of pixels.
      mesh: the devices.
      statistics: what batch norm uses: "running" statistics of the training, those of the
        evaluated "batch", or statistics "recalibrated" for each path on `calibration`.
      calibration: whole batches of training images, for "recalibrated".
      chunk: architectures in a call, rounded up to a multiple of the devices.

    Raises:
      InputError: for an unknown kind of statistics, none to recalibrate on, or an empty chunk.
    """

    def __init__(
        self,
        graphdef: Any,
        data: ConfigDict,
        mesh: Mesh,
        *,
        statistics: str,
        calibration: Sequence[Batch],
        chunk: int,
    ):
        check_statistics(statistics, len(calibration), chunk)
        self.graphdef, self.data, self.mesh, self.statistics = graphdef, data, mesh, statistics
        self.chunk = -(-chunk // mesh.devices.size) * mesh.devices.size
        names = ("image", "weight")
        self.calibration = (
            replicate(mesh, {name: np.stack([b[name] for b in calibration]) for name in names})
            if statistics == "recalibrated"
            else None
        )
        whole, spread = PartitionSpec(), PartitionSpec(DATA)
        self._compiled_prepare = self._compile(self._prepare, (whole, whole, whole, spread), spread)
        self._compiled_count = self._compile(self._count, (whole, spread, whole, spread), whole)

    def __call__(
        self,
        params: Any,
        stats: Any,
        architectures: NDArray[np.int32],
        batches: Callable[[], Iterable[Batch]],
    ) -> NDArray[np.float64]:
        """The share of readable images that each architecture gets right.

        Args:
          params, stats: of the supernet, replicated.
          architectures: `int32[P, L]`.
          batches: called once a chunk; gives whole batches, the same in every process.

        Returns:
          `float64[P]`.

        Raises:
          InputError: if no image can be read.
        """
        accuracies = [np.zeros(0)]
        for start in range(0, len(architectures), self.chunk):
            part = architectures[start : start + self.chunk]
            padded = np.full((self.chunk, architectures.shape[1]), -1, np.int32)
            padded[: len(part)] = part
            # Each process places its own part of the chunk.
            rows = np.array_split(padded, jax.process_count())[jax.process_index()]
            paths = shard(self.mesh, rows)
            ready = self._compiled_prepare(params, stats, self.calibration, paths)
            right, images = np.zeros(self.chunk), 0.0
            for batch in batches():
                right += np.asarray(self._compiled_count(params, ready, batch, paths))
                images += float(np.asarray(batch["weight"]).sum())
            if not images:
                raise InputError("no image of this split can be read: nothing to score")
            accuracies.append(right[: len(part)] / images)
        return np.concatenate(accuracies)

    def _compile(self, function: Callable[..., Any], in_specs: Any, out_specs: Any) -> Any:
        return jax.jit(
            jax.shard_map(
                function,
                mesh=self.mesh,
                in_specs=in_specs,
                out_specs=out_specs,
                check_vma=False,
            )
        )

    def _prepare(self, params: Any, stats: Any, calibration: Any, paths: jax.Array) -> Any:
        """The statistics for each path of one device, stacked."""
        if calibration is None:
            return jax.tree.map(lambda s: jnp.broadcast_to(s, (len(paths), *s.shape)), stats)

        def recalibrate(path: jax.Array) -> Any:
            """Plain means of the batches' statistics along one path."""

            def add(stats: Any, item: Any) -> tuple[Any, None]:
                number, batch = item
                pixels = normalise(batch["image"], self.data.mean, self.data.std)
                moments = BatchStatistics(rate=1.0 / (number + 1.0), weight=batch["weight"])
                return functional.apply(self.graphdef, params, stats, pixels, path, moments)[
                    1
                ], None

            numbers = jnp.arange(len(calibration["weight"]), dtype=jnp.float32)
            return lax.scan(add, stats, (numbers, calibration))[0]

        return lax.map(
            lambda path: lax.cond(_is_real(path), recalibrate, lambda _: stats, path), paths
        )

    def _count(self, params: Any, stats: Any, batch: Batch, paths: jax.Array) -> jax.Array:
        """Images of a batch that each path of the chunk gets right, `float32[chunk]`."""
        images = normalise(batch["image"], self.data.mean, self.data.std)
        moments = BatchStatistics(rate=0.0, weight=batch["weight"])

        def hits(item: Any) -> jax.Array:
            stats, path = item
            how = moments if self.statistics == "batch" else None
            logits, _ = functional.apply(self.graphdef, params, stats, images, path, how)
            return (batch["weight"] * losses.correct(logits, batch["label"])).sum()

        mine = lax.map(
            lambda item: lax.cond(_is_real(item[1]), hits, lambda _: jnp.zeros(()), item),
            (stats, paths),
        )
        return lax.all_gather(mine, DATA, tiled=True)


def check_statistics(statistics: str, calibration_batches: int, chunk: int) -> None:
    """Raises `InputError` for evaluation settings that are not allowed."""
    if statistics not in STATISTICS:
        raise InputError(f"statistics {statistics!r}; allowed: {', '.join(STATISTICS)}")
    if statistics == "recalibrated" and calibration_batches < 1:
        raise InputError(
            f"calibration_batches is {calibration_batches}; allowed for statistics "
            "'recalibrated': 1 or more"
        )
    if chunk < 1:
        raise InputError(f"chunk is {chunk}; allowed: 1 or more architectures")


def _is_real(path: jax.Array) -> jax.Array:
    """Whether a path is one to score: the rest of a chunk is filled with -1."""
    return path[0] >= 0
