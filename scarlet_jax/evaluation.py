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
from scarlet_jax.progress import Progress
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


def population_evaluator(
    graphdef: Any,
    data: ConfigDict,
    mesh: Mesh,
    *,
    statistics: str,
    calibration: Sequence[Batch],
    chunk: int,
) -> Callable[..., NDArray[np.float64]]:
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

    Returns:
      `evaluate(params, stats, architectures, batches, progress=None) -> float64[P]`, the share
      of readable images that each architecture `int32[P, L]` gets right. `batches` is called
      once a chunk and gives whole batches, the same in every process.

    Raises:
      InputError: for an unknown kind of statistics, or none to recalibrate on.
    """
    if statistics not in STATISTICS:
        raise InputError(f"statistics {statistics!r}; allowed: {', '.join(STATISTICS)}")
    if statistics == "recalibrated" and not calibration:
        raise InputError("statistics 'recalibrated' need calibration_batches of 1 or more")
    devices = mesh.devices.size
    chunk = -(-chunk // devices) * devices
    stacked = None
    if statistics == "recalibrated":
        stacked = replicate(
            mesh, {name: np.stack([b[name] for b in calibration]) for name in ("image", "weight")}
        )

    def recalibrate(params: Any, stats: Any, images: Any, path: jax.Array) -> Any:
        """Plain means of the batches' statistics along one path."""

        def add(stats: Any, item: Any) -> tuple[Any, None]:
            number, batch = item
            pixels = normalise(batch["image"], data.mean, data.std)
            moments = BatchStatistics(rate=1.0 / (number + 1.0), weight=batch["weight"])
            return functional.apply(graphdef, params, stats, pixels, path, moments)[1], None

        count = len(images["weight"])
        return lax.scan(add, stats, (jnp.arange(count, dtype=jnp.float32), images))[0]

    def prepare(params: Any, stats: Any, images: Any, paths: jax.Array) -> Any:
        """The statistics of each path of this device, stacked."""
        if images is None:
            return jax.tree.map(lambda s: jnp.broadcast_to(s, (len(paths), *s.shape)), stats)
        return lax.map(lambda path: _if_real(recalibrate, stats, params, stats, images, path), paths)

    def count(params: Any, stats: Any, batch: Batch, paths: jax.Array) -> jax.Array:
        images = normalise(batch["image"], data.mean, data.std)
        moments = BatchStatistics(rate=0.0, weight=batch["weight"])

        def hits(stats: Any, path: jax.Array) -> jax.Array:
            how = moments if statistics == "batch" else None
            logits, _ = functional.apply(graphdef, params, stats, images, path, how)
            return (batch["weight"] * losses.correct(logits, batch["label"])).sum()

        mine = lax.map(
            lambda item: _if_real(hits, jnp.zeros(()), item[0], item[1]), (stats, paths)
        )
        return lax.all_gather(mine, DATA, tiled=True)  # [chunk]

    whole, spread = PartitionSpec(), PartitionSpec(DATA)

    def compiled(function: Callable[..., Any], in_specs: Any, out_specs: Any) -> Any:
        return jax.jit(
            jax.shard_map(
                function, mesh=mesh, in_specs=in_specs, out_specs=out_specs, check_vma=False
            )
        )

    prepare = compiled(prepare, (whole, whole, whole, spread), spread)
    count = compiled(count, (whole, spread, whole, spread), whole)

    def evaluate(
        params: Any,
        stats: Any,
        architectures: NDArray[np.int32],
        batches: Callable[[], Iterable[Batch]],
        progress: Progress | None = None,
    ) -> NDArray[np.float64]:
        accuracies = []
        for start in range(0, len(architectures), chunk):
            part = architectures[start : start + chunk]
            padded = np.full((chunk, architectures.shape[1]), -1, np.int32)
            padded[: len(part)] = part
            paths = shard(mesh, padded)
            ready = prepare(params, stats, stacked, paths)
            right, images = np.zeros(chunk), 0.0
            for batch in batches():
                right += np.asarray(count(params, ready, batch, paths))
                images += float(np.asarray(batch["weight"]).sum())
            if not images:
                raise InputError("no image of this split can be read: nothing to score")
            accuracies.append(right[: len(part)] / images)
            if progress is not None:
                progress.update(min(start + chunk, len(architectures)))
        return np.concatenate(accuracies) if accuracies else np.zeros(0)

    return evaluate


def _if_real(function: Callable[..., Any], otherwise: Any, *args: Any) -> Any:
    """Runs a function on a path (its last argument), unless that only fills up a chunk."""
    return lax.cond(args[-1][0] >= 0, lambda: function(*args), lambda: otherwise)
