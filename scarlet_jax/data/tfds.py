"""TensorFlow Datasets preparations (array_record or TFRECORD) without TensorFlow."""

import contextlib
import hashlib
import itertools
import math
import os
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import tensorflow_datasets as tfds
from array_record.python.array_record_data_source import ArrayRecordDataSource
from array_record.python.array_record_module import ArrayRecordReader
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from tensorflow_datasets.proto import tf_example_pb2

from scarlet_jax.copies import fetched
from scarlet_jax.data import tfrecord
from scarlet_jax.data.decode import UnreadableImage, decode_image
from scarlet_jax.data.sources import Example, Source
from scarlet_jax.errors import InputError
from scarlet_jax.files import as_path, make_folder, replacing, user_cache
from scarlet_jax.progress import Progress

UNKNOWN_LABEL = -1  # of a record that cannot be parsed
SHOW_EVERY = 1000  # records whose labels are read


class Records(Hashable, Protocol):
    """Serialized `tf.train.Example` protos by index."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> bytes: ...


@dataclass(frozen=True, eq=False)
class TfRecords:
    """The records of TFRECORD shards. A file is open only while a record is read."""

    paths: tuple[Path, ...]
    shards: NDArray[np.int32]  # [N], the shard of each record
    bounds: NDArray[np.int64]  # [N, 2], the offsets at which it starts and ends

    def __len__(self) -> int:
        return len(self.shards)

    def __getitem__(self, index: int) -> bytes:
        start, end = self.bounds[index]
        return tfrecord.read(self.paths[self.shards[index]], int(start), int(end))


@dataclass(frozen=True, eq=False)
class TfdsSource:
    """A split of a preparation."""

    records: Records
    split: str
    image_key: str
    label_key: str
    identity: str  # of its records: of their shards
    size: int  # of these, in bytes: the same examples may be encoded in other ways
    channels: int
    max_aspect: float
    fast_above: float = math.inf  # see `decode_image`

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> Example:
        features = _features(self.records, index)
        encoded = features[self.image_key].bytes_list.value
        label = features[self.label_key].int64_list.value
        if not encoded or not label or label[0] == UNKNOWN_LABEL:  # TFDS's for "no label", too
            raise UnreadableImage(f"no {self.image_key!r} or no {self.label_key!r} in the record")
        return {
            "image": decode_image(encoded[0], self.channels, self.max_aspect, self.fast_above),
            "label": int(label[0]),
        }

    def name(self, index: int) -> str:
        return f"{self.split}[{index}]"

    def mark(self, index: int) -> str:
        return f"{self.name(index)} of {self.size} bytes"

    def labels(self) -> NDArray[np.int32]:
        """As `Source.labels`; -1 for a damaged record.

        Every record is read the first time, 30 microseconds each beside the time of the disk. Then
        the labels are kept, in memory and in the user's cache folder.
        """
        return _labels(self.records, self.label_key, self.identity)

    def examine(self, index: int) -> None:
        if self.labels()[index] == UNKNOWN_LABEL:
            _features(self.records, index)
            raise UnreadableImage(f"no {self.label_key!r} in the record")


def _features(records: Records, index: int) -> Any:  # a protobuf map of tf.train.Feature by name
    try:
        return tf_example_pb2.Example.FromString(records[index]).features.feature
    except (OSError, RuntimeError, DecodeError) as error:  # RuntimeError is array_record's
        raise UnreadableImage(f"{type(error).__name__}: {error}") from error


@lru_cache(maxsize=8)
def _labels(records: Records, label_key: str, identity: str) -> NDArray[np.int32]:
    """Of all records; from the user's cache folder, where they are known."""
    cache = user_cache()
    path = cache and cache / "labels" / f"{identity}.npy"
    with contextlib.suppress(Exception):  # no such file, or a damaged one: NumPy raises anything
        if path and len(known := np.load(path)) == len(records):
            return np.asarray(known, np.int32)
    labels = _read_labels(records, label_key)
    with contextlib.suppress(OSError):  # a cache folder is not a must
        if path:
            make_folder(path.parent)
            with replacing(path) as partial, partial.open("wb") as file:
                np.save(file, labels)
    return labels


def _read_labels(records: Records, label_key: str) -> NDArray[np.int32]:
    labels = np.full(len(records), UNKNOWN_LABEL, np.int32)
    with Progress("labels", len(records), "record") as progress:
        for index in range(len(records)):
            with contextlib.suppress(UnreadableImage):
                if value := _features(records, index)[label_key].int64_list.value:
                    labels[index] = value[0]
            if index % SHOW_EVERY == 0:
                progress.update(index)
        progress.update(len(records))
    return labels


def prepared(
    path: str, splits: Mapping[str, str], channels: int, max_aspect: float
) -> tuple[dict[str, Source], tuple[str, ...]]:
    """Opens the version folder of a preparation: a source by split, and class names.

    Splits may be slices, such as `train[:90%]`. The classes are the label feature's.

    Args:
      path: of the folder.
      splits: what the preparation calls each.
      channels, max_aspect: of the images.

    Raises:
      InputError: for a folder that is no preparation, one of another file format or without
        an image and a class label, unknown or overlapping splits, missing or truncated shards.
    """
    folder = fetched(as_path(path))
    try:
        builder = tfds.builder_from_directory(folder)
    except (OSError, ValueError) as error:
        raise InputError(
            f"data.path {path!r} is not a prepared TFDS version (the folder that holds "
            f"dataset_info.json and features.json): {error}"
        ) from error
    image_key, label_key = _keys(builder.info)
    shards = {name: _shards(builder.info, split) for name, split in splits.items()}
    for one, other in itertools.combinations(shards, 2):
        if _overlap(shards[one], shards[other]):
            raise InputError(
                f"data.{one}_split {splits[one]!r} and data.{other}_split {splits[other]!r} share "
                "images"
            )
    return {
        name: TfdsSource(
            _open(builder.info, own),
            splits[name],
            image_key,
            label_key,
            _identity(own, label_key),
            sum(os.stat(shard.filename).st_size for shard in own),
            channels,
            max_aspect,
        )
        for name, own in shards.items()
    }, tuple(builder.info.features[label_key].names)


def _keys(info: Any) -> tuple[str, str]:
    """The names of the image and the label: the supervised pair, or the only ones there are."""
    kinds = {"image": tfds.features.Image, "label": tfds.features.ClassLabel}
    pair = info.supervised_keys or ()
    found = []
    for kind, feature_class in kinds.items():
        names = [name for name, f in info.features.items() if isinstance(f, feature_class)]
        names = [name for name in names if name in pair] or names
        if len(names) != 1:
            raise InputError(
                f"TFDS data set {info.name!r} needs one {kind} feature of type "
                f"{feature_class.__name__} and has {len(names)}: {names}"
            )
        found += names
    if info.features[found[0]].np_dtype == np.float32:
        raise InputError(f"TFDS image feature {found[0]!r} is float32; allowed: uint8, uint16")
    return found[0], found[1]


def _shards(info: Any, split: str) -> Sequence[Any]:
    """TFDS's file instructions: shard file, records to skip and to take, records in it."""
    try:
        shards: Sequence[Any] = info.splits[split].file_instructions
    except (KeyError, ValueError) as error:
        raise InputError(
            f"TFDS split {split!r} does not exist; allowed: {', '.join(info.splits)}, "
            f"or slices of them such as 'train[:90%]'"
        ) from error
    for shard in shards:
        if not Path(shard.filename).is_file():
            raise InputError(f"shard {shard.filename} of TFDS split {split!r} is missing")
    return shards


def _identity(shards: Sequence[Any], label_key: str) -> str:
    """Tells these records and their labels from others: files that were written anew, too."""
    digest = hashlib.sha256(label_key.encode())
    for shard in shards:
        status, path = os.stat(shard.filename), os.path.realpath(shard.filename)
        parts = path, status.st_size, status.st_mtime_ns, shard.skip, shard.take
        digest.update(repr(parts).encode())
    return digest.hexdigest()


def _overlap(train: Sequence[Any], test: Sequence[Any]) -> bool:
    return any(
        a.filename == b.filename and max(a.skip, b.skip) < min(a.skip + a.take, b.skip + b.take)
        for a, b in itertools.product(train, test)
    )


def _open(info: Any, shards: Sequence[Any]) -> Records:
    file_format = info.file_format.value if info.file_format else "tfrecord"
    if file_format == "array_record":
        for shard in shards:
            _check_count(shard, _array_record_count(shard.filename))
        records: Records = ArrayRecordDataSource(shards)
        return records
    if file_format != "tfrecord":
        raise InputError(
            f"TFDS data set {info.name!r} is in {file_format}; allowed: array_record, tfrecord"
        )
    bounds = []
    for shard in shards:
        offsets = tfrecord.scan(Path(shard.filename))
        _check_count(shard, len(offsets) - 1)
        pairs = np.stack([offsets[:-1], offsets[1:]], axis=1)  # [N, 2]
        bounds.append(pairs[shard.skip : shard.skip + shard.take])
    return TfRecords(
        paths=tuple(Path(shard.filename) for shard in shards),
        shards=np.repeat(np.arange(len(shards), dtype=np.int32), [len(b) for b in bounds]),
        bounds=np.concatenate(bounds),
    )


def _array_record_count(filename: str) -> int:
    try:
        reader = ArrayRecordReader(filename)
        count: int = reader.num_records()
        reader.close()  # where a damaged file makes itself known
    except RuntimeError as error:
        raise InputError(f"shard {filename} is truncated or damaged: {error}") from error
    return count


def _check_count(shard: Any, count: int) -> None:
    if count != shard.examples_in_shard:
        raise InputError(
            f"shard {shard.filename} holds {count} records, but dataset_info.json says "
            f"{shard.examples_in_shard}; prepare the data set again"
        )
