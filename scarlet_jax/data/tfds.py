"""TensorFlow Datasets preparations (array_record or TFRECORD) without TensorFlow."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import tensorflow_datasets as tfds
from array_record.python.array_record_data_source import ArrayRecordDataSource
from array_record.python.array_record_module import ArrayRecordReader
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from tensorflow_datasets.proto import tf_example_pb2

from scarlet_jax.data import tfrecord
from scarlet_jax.data.decode import UnreadableImage, decode_image
from scarlet_jax.data.sources import Example, Source
from scarlet_jax.errors import InputError

UNKNOWN_LABEL = -1  # of a record that cannot be parsed


class Records(Protocol):
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
    channels: int
    max_aspect: float

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> Example:
        features = self._features(index)
        encoded = features[self.image_key].bytes_list.value
        label = features[self.label_key].int64_list.value
        if not encoded or not label:
            raise UnreadableImage(f"no {self.image_key!r} or no {self.label_key!r} in the record")
        return {
            "image": decode_image(encoded[0], self.channels, self.max_aspect),
            "label": int(label[0]),
        }

    def name(self, index: int) -> str:
        return f"{self.split}[{index}]"

    def mark(self, index: int) -> str:
        return self.name(index)

    def labels(self) -> NDArray[np.int32]:
        """As `Source.labels`, but every record is read, the first time; -1 where one is damaged.

        That takes about 30 microseconds a record beside the time to read it from the disk.
        """
        return self._labels

    def examine(self, index: int) -> None:
        if self._labels[index] == UNKNOWN_LABEL:
            self._features(index)
            raise UnreadableImage(f"no {self.label_key!r} in the record")

    @cached_property
    def _labels(self) -> NDArray[np.int32]:
        labels = np.full(len(self), UNKNOWN_LABEL, np.int32)
        for index in range(len(self)):
            try:
                value = self._features(index)[self.label_key].int64_list.value
            except UnreadableImage:
                continue
            if value:
                labels[index] = value[0]
        return labels

    def _features(self, index: int) -> Any:  # a protobuf map of tf.train.Feature by name
        try:
            record = self.records[index]
            return tf_example_pb2.Example.FromString(record).features.feature
        except (
            OSError,
            RuntimeError,
            DecodeError,
        ) as error:  # RuntimeError is array_record's
            raise UnreadableImage(f"{type(error).__name__}: {error}") from error


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
    try:
        builder = tfds.builder_from_directory(path)
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
    how = (image_key, label_key, channels, max_aspect)
    return {
        name: TfdsSource(_open(builder.info, own), splits[name], *how)
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
