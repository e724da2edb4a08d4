"""Batches from a source, through Grain: shuffled and augmented, or in order for evaluation.

The batch of a step depends on the seed and the step alone, not on threads, reader processes
or the step at which reading began.
"""

import multiprocessing
import os
import shutil
import signal
import threading
from collections.abc import Generator, Sequence
from functools import partial
from pathlib import Path
from typing import TypedDict

import grain.python as grain
import numpy as np
from absl import flags, logging
from ml_collections import ConfigDict
from numpy.typing import NDArray

from scarlet_jax import interrupts
from scarlet_jax.data import augment
from scarlet_jax.data.decode import UnreadableImage
from scarlet_jax.data.sources import Source
from scarlet_jax.errors import InputError

SHARED_MEMORY = Path("/dev/shm")  # of Linux; other systems set no limit
BATCHES_A_WORKER = 5  # that Grain has there at once, measured
BATCH_OVERHEAD = 4 * 4096  # bytes: every array is rounded up to a page
GREY = 128  # every pixel of an image that stands for an unreadable one or for padding

Element = tuple[NDArray[np.uint8], int, float, int]  # image, label, weight, index


class Batch(TypedDict):
    image: NDArray[np.uint8]  # [B, S, S, C]
    label: NDArray[np.int32]  # [B]
    weight: NDArray[np.float32]  # [B]: 1, or 0 for padding and unreadable images
    index: NDArray[np.int32]  # [B]: position in the source, or -1 for padding


class Unreadable:
    """The running record of images that could not be read; one serves many iterators."""

    def __init__(self) -> None:
        self.reasons: dict[str, str] = {}  # by name, in the order of their first appearance

    def __len__(self) -> int:
        return len(self.reasons)

    def __str__(self) -> str:
        if not self.reasons:
            return "no unreadable images"
        noun = "image" if len(self) == 1 else "images"
        listed = (f"{name} ({reason})" for name, reason in self.reasons.items())
        return f"{len(self)} unreadable {noun}: {', '.join(listed)}"

    def note(self, name: str, reason: str) -> None:
        """Adds an image, and logs it if it is new."""
        if name not in self.reasons:
            self.reasons[name] = reason
            logging.warning("unreadable image, left out: %s (%s)", name, reason)

    def update(self, source: Source, batch: Batch) -> None:
        """Notes the unreadable images of a batch of `source`."""
        for index in batch["index"][(batch["weight"] == 0) & (batch["index"] >= 0)].tolist():
            name = source.name(index)
            if name not in self.reasons:
                self.note(name, _reason(source, index))


def train_batches(
    source: Source,
    data: ConfigDict,
    *,
    batch_size: int,
    seed: int,
    start_step: int,
    process_index: int = 0,
    process_count: int = 1,
    unreadable: Unreadable | None = None,
) -> Generator[Batch, None, None]:
    """Augmented batches for ever, shuffled anew each epoch, from step `start_step` on.

    Epochs follow each other without a gap: a batch may hold the end of one and the start of
    the next. A process gets part `process_index` of the batch, of `batch_size /
    process_count` images. Threads and reader processes end when the iterator is closed.

    Raises:
      InputError: if the source is empty or the batch cannot be divided.
    """
    if not len(source):
        raise InputError("there are no training images; data.validation may be too large")
    part = _part(batch_size, process_count)
    shuffle_seed, augment_seed = (int(s) for s in np.random.SeedSequence(seed).generate_state(2))
    examples = (
        grain.MapDataset.range(len(source))
        .shuffle(seed=shuffle_seed)
        .repeat()
        .random_map(partial(_train_example, source, data), seed=augment_seed)
    )
    batches = examples.batch(part, drop_remainder=True, batch_fn=_stack)
    batches = batches[process_index::process_count][start_step:]
    return _read(batches, source, data, unreadable)


def eval_batches(
    source: Source,
    data: ConfigDict,
    *,
    batch_size: int,
    process_index: int = 0,
    process_count: int = 1,
    unreadable: Unreadable | None = None,
) -> Generator[Batch, None, None]:
    """Every image once, in order; the last batch is filled up with padding.

    Processes get equally many batches, each its part as in `train_batches`.

    Raises:
      InputError: if the batch cannot be divided.
    """
    part = _part(batch_size, process_count)
    padded = -(-len(source) // batch_size) * batch_size
    examples = grain.MapDataset.range(padded).map(partial(_eval_example, source, data))
    batches = examples.batch(part, batch_fn=_stack)[process_index::process_count]
    return _read(batches, source, data, unreadable)


def check_shared_memory(data: ConfigDict, batch_size: int) -> None:
    """Raises `InputError` where reader processes lack memory to hand over batches of such a size.

    While training batches are waiting, an evaluation has readers of its own.
    """
    if not data.workers or not SHARED_MEMORY.is_dir():
        return
    size = batch_size * data.image_size**2 * data.channels + BATCH_OVERHEAD
    needed = 2 * (data.workers * BATCHES_A_WORKER + 1) * size
    if (free := shutil.disk_usage(SHARED_MEMORY).free) < needed:
        raise InputError(
            f"data.workers is {data.workers}, whose batches take {needed / 1e6:,.1f} MB of "
            f"{SHARED_MEMORY}, and {free / 1e6:,.1f} MB are free; allowed: fewer workers, 0 for "
            "none, or more shared memory (docker run --shm-size)"
        )


def _part(batch_size: int, process_count: int) -> int:
    if batch_size < 1 or batch_size % process_count:
        raise InputError(
            f"batch_size is {batch_size}; allowed: a multiple of the {process_count} processes"
        )
    return batch_size // process_count


def _train_example(
    source: Source, data: ConfigDict, index: int, rng: np.random.Generator
) -> Element:
    try:
        example = source[index]
    except UnreadableImage:
        return _blank(data, index)
    return (
        augment.train_image(example["image"], rng, data),
        example["label"],
        1.0,
        index,
    )


def _eval_example(source: Source, data: ConfigDict, index: int) -> Element:
    if index >= len(source):
        return _blank(data, -1)
    try:
        example = source[index]
    except UnreadableImage:
        return _blank(data, index)
    return augment.eval_image(example["image"], data), example["label"], 1.0, index


def _reason(source: Source, index: int) -> str:
    try:
        source[index]
    except UnreadableImage as error:
        return str(error)
    return "it could not be read at first, and can now"


def _blank(data: ConfigDict, index: int) -> Element:
    shape = (data.image_size, data.image_size, data.channels)
    return np.full(shape, GREY, np.uint8), 0, 0.0, index


def _stack(elements: Sequence[Element]) -> Batch:
    images, labels, weights, indices = zip(*elements, strict=True)
    return {
        "image": np.stack(images),
        "label": np.array(labels, np.int32),
        "weight": np.array(weights, np.float32),
        "index": np.array(indices, np.int32),
    }


def _end_with_parent(worker: int, workers: int) -> None:
    """Lets a reader process end with its parent: Grain's would wait for ever if that is killed.

    Signals to the whole group, such as Ctrl-C, are the parent's to deal with.
    """
    for number in interrupts.SIGNALS:
        signal.signal(number, signal.SIG_IGN)

    def watch() -> None:
        parent = multiprocessing.parent_process()
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _copy(batch: Batch) -> Batch:
    """Takes a batch out of the memory shared with a reader process, which is then freed."""
    return {
        "image": np.array(batch["image"]),
        "label": np.array(batch["label"]),
        "weight": np.array(batch["weight"]),
        "index": np.array(batch["index"]),
    }


def _read(
    batches: grain.MapDataset,
    source: Source,
    data: ConfigDict,
    unreadable: Unreadable | None,
) -> Generator[Batch, None, None]:
    """Reads ahead in threads, or in reader processes that have threads of their own."""
    unreadable = Unreadable() if unreadable is None else unreadable
    options = grain.ReadOptions(num_threads=data.threads, prefetch_buffer_size=2 * data.threads)
    dataset = batches.to_iter_dataset(options)
    if data.workers:
        if not flags.FLAGS.is_parsed():  # Grain reads its own flags before it starts processes
            flags.FLAGS.mark_as_parsed()
        processes = grain.MultiprocessingOptions(num_workers=data.workers)
        dataset = dataset.mp_prefetch(processes, worker_init_fn=_end_with_parent).map(_copy)
    iterator = iter(dataset)
    try:
        for batch in iterator:
            unreadable.update(source, batch)
            yield batch
    except RuntimeError as error:
        if "Worker process was terminated" not in str(error):
            raise
        raise InputError(
            f"a reader process of data.workers={data.workers} was ended by the system, as when "
            f"memory or {SHARED_MEMORY} is full; allowed: fewer workers, or 0 for none"
        ) from error
    finally:
        iterator.close()
