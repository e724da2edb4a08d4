"""The preparations here are written by TFDS itself, and their TFRECORD form by tensorboardX."""

import io
import itertools
import os
import pickle
import struct

import emulators
import numpy as np
import pytest
import tensorflow_datasets as tfds
from data_images import data_config, flat, png
from tensorboardX.record_writer import RecordWriter

from scarlet_jax import buckets, files
from scarlet_jax import data as datasets
from scarlet_jax.data import tfds as tfds_source
from scarlet_jax.data import tfrecord
from scarlet_jax.data.decode import UnreadableImage
from scarlet_jax.errors import InputError

FEATURES = {
    "image": tfds.features.Image(shape=(None, None, 3)),
    "label": tfds.features.ClassLabel(names=["cat", "dog"]),
    "id": tfds.features.Text(),
}


def prepare(
    folder,
    features=FEATURES,
    supervised_keys=("image", "label"),
    train=20,
    test=6,
    label=lambda i: i % 2,
    image=flat,
):
    """Writes an array_record preparation: image i is flat i, its label i % 2; 8 a shard."""
    folder.mkdir(parents=True)
    identity = tfds.core.dataset_info.DatasetIdentity(
        name="tiny", version=tfds.core.Version("1.0.0"), data_dir=str(folder), module_name="tiny"
    )
    info = tfds.core.DatasetInfo(
        builder=identity,
        features=tfds.features.FeaturesDict(features),
        supervised_keys=supervised_keys,
    )

    def example(i):
        values = {"image": io.BytesIO(png(image(i))), "label": label(i), "id": str(i)}
        return {key: values.get(key, 0) for key in features}

    writer = tfds.core.SequentialWriter(info, max_examples_per_shard=8, file_format="array_record")
    writer.initialize_splits(["train", "test"])
    writer.add_examples({"train": [example(i) for i in range(train)]})
    writer.add_examples({"test": [example(100 + i) for i in range(test)]})
    writer.close_all()
    return folder


def to_tfrecord(folder):
    """Rewrites a preparation's shards as TFRECORD."""
    deserialize = tfds.decode.DeserializeMethod.RAW_BYTES
    for split in ("train", "test"):
        builder = tfds.builder_from_directory(folder)
        records = iter(builder.as_data_source(split, deserialize_method=deserialize))
        for shard in builder.info.splits[split].file_instructions:
            writer = RecordWriter(shard.filename.replace("array_record", "tfrecord"))
            for _ in range(shard.take):
                writer.write(next(records))
            writer.close()
    for shard in folder.glob("*.array_record*"):
        shard.unlink()
    info = folder / "dataset_info.json"
    info.write_text(info.read_text().replace('"array_record"', '"tfrecord"'))
    return folder


@pytest.fixture(scope="module")
def preparations(tmp_path_factory):
    root = tmp_path_factory.mktemp("tfds")
    return {
        "array_record": prepare(root / "array_record"),
        "tfrecord": to_tfrecord(prepare(root / "tfrecord")),
    }


@pytest.fixture
def tfrecords(tmp_path):
    """A TFRECORD preparation of its own, for a test to damage: its folder and first shard."""
    folder = to_tfrecord(prepare(tmp_path / "own"))
    return folder, folder / "tiny-train.tfrecord-00000"


def load(folder, **changes):
    return datasets.load(data_config(source="tfds", path=str(folder), **changes), seed=0)


@pytest.mark.parametrize("file_format", ["array_record", "tfrecord"])
@pytest.mark.parametrize("split", ["train", "train[25%:75%]", "train[:3]+train[17:]"])
def test_a_preparation_is_what_tfds_says(preparations, file_format, split):
    splits = load(preparations[file_format], train_split=split)
    expected = tfds.builder_from_directory(preparations["array_record"]).as_data_source(split)
    assert splits.class_names == ("cat", "dog")
    assert len(splits.train) == len(expected)
    assert splits.train.labels().tolist() == [example["label"] for example in expected]
    for source in (splits.train, pickle.loads(pickle.dumps(splits.train))):
        for i, example in enumerate(expected):
            np.testing.assert_array_equal(source[i]["image"], example["image"])
            assert source[i]["label"] == example["label"]
    assert len(splits.test) == 6
    assert splits.train.name(2) == f"{split}[2]"


@pytest.mark.parametrize("file_format", ["array_record", "tfrecord"])
def test_a_preparation_in_a_bucket_is_the_same_data(preparations, file_format):
    url = emulators.bucket("s3")
    buckets.upload(preparations[file_format], files.as_path(url) / file_format)
    found = load(f"{url}/{file_format}")
    assert found.identity == load(preparations[file_format]).identity
    np.testing.assert_array_equal(found.train[2]["image"], flat(2))


@pytest.mark.parametrize("file_format", ["array_record", "tfrecord"])
def test_the_same_examples_with_other_images_are_other_data(preparations, file_format, tmp_path):
    """TFDS orders records by their keys, so that `mnist/28x28[2]` and `mnist/32x32[2]` are one."""
    noise = np.random.default_rng(0).integers(0, 256, (128, 128, 3), np.uint8)
    other = prepare(tmp_path / "other", image=lambda i: noise)  # array_record has blocks of 64 kB
    other = to_tfrecord(other) if file_format == "tfrecord" else other
    one, two = load(preparations[file_format]).identity, load(other).identity
    assert [one[name] == two[name] for name in ("classes", "train", "test")] == [True, False, False]


@pytest.mark.parametrize("file_format", ["array_record", "tfrecord"])
def test_validation_is_stratified(preparations, file_format):
    splits = load(preparations[file_format], validation=0.2)
    assert np.bincount(splits.validation.labels()).tolist() == [2, 2]
    assert np.bincount(splits.train.labels()).tolist() == [8, 8]


@pytest.fixture
def label_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    tfds_source._labels.cache_clear()
    yield tmp_path / "cache/scarlet_jax/labels"
    tfds_source._labels.cache_clear()


def test_labels_are_read_once(tfrecords, label_cache, monkeypatch):
    """Not at every start: a process that begins finds them, unless the files are others."""
    folder, _ = tfrecords
    labels = load(folder).train.labels()
    (kept,) = label_cache.iterdir()
    with monkeypatch.context() as patch:
        patch.setattr(tfds_source, "_read_labels", None)
        assert load(folder).train.labels() is not labels  # other records, of the same files
        tfds_source._labels.cache_clear()
        np.testing.assert_array_equal(load(folder).train.labels(), labels)
    for damage in (b"damaged", b"", b"PK", b"\x93NUMPY"):
        kept.write_bytes(damage)
        tfds_source._labels.cache_clear()
        np.testing.assert_array_equal(load(folder).train.labels(), labels)
    shard = folder / "tiny-train.tfrecord-00000"
    os.utime(shard, ns=(0, 0))
    monkeypatch.setattr(tfds_source, "_read_labels", lambda records, key: np.zeros(20, np.int32))
    assert not load(folder).train.labels().any()


def test_an_image_without_a_label_is_left_out(tmp_path, label_cache):
    folder = prepare(tmp_path / "own", label=lambda i: -1 if i == 3 else i % 2)  # TFDS's for none
    train = load(folder).train
    assert train.labels()[:5].tolist() == [0, 1, 0, -1, 0]
    for read in (train.examine, train.__getitem__):
        with pytest.raises(UnreadableImage, match="no 'label' in the record"):
            read(3)


def test_validation_images_of_a_split_of_their_own(tfrecords, label_cache):
    parts = {"train_split": "train[:14]", "validation_split": "train[14:]"}
    splits = load(tfrecords[0], **parts, validation=0.5)
    assert [len(part) for part in (splits.train, splits.validation, splits.test)] == [14, 6, 6]
    assert splits.validation[0]["image"][0, 0, 0] == 14


def test_labels_without_a_place_to_keep_them(tfrecords, label_cache):
    label_cache.parent.parent.write_text("no folder")
    assert load(tfrecords[0]).train.labels().tolist() == [i % 2 for i in range(20)]


def test_grey_images(preparations):
    train = load(preparations["tfrecord"], channels=1, mean=(0,), std=(1,)).train
    np.testing.assert_array_equal(train[5]["image"], np.full((8, 8, 1), 5))


def test_the_label_may_have_another_name(tmp_path):
    features = {"image": FEATURES["image"], "fine": FEATURES["label"], "coarse": FEATURES["label"]}
    folder = prepare(tmp_path / "named", features, ("image", "fine"), train=2, test=1)
    assert load(folder).class_names == ("cat", "dog")
    folder = prepare(tmp_path / "unclear", features, None, train=2, test=1)
    with pytest.raises(InputError, match=r"label .* has 2: \['(fine|coarse)'"):
        load(folder)
    features = {"image": FEATURES["image"], "id": FEATURES["id"]}
    folder = prepare(tmp_path / "without", features, None, train=2, test=1)
    with pytest.raises(InputError, match="ClassLabel and has 0"):
        load(folder)


@pytest.mark.parametrize("split", ["trai", "train[:5", "train[:50%]x"])
def test_unknown_splits(preparations, split):
    with pytest.raises(InputError, match="allowed: train, test") as caught:
        load(preparations["tfrecord"], train_split=split)
    assert repr(split) in str(caught.value)


def test_splits_that_share_images(preparations):
    with pytest.raises(InputError, match="share images"):
        load(preparations["tfrecord"], train_split="train[:60%]", test_split="train[50%:]")
    splits = load(preparations["tfrecord"], train_split="train[:60%]", test_split="train[60%:]")
    assert (len(splits.train), len(splits.test)) == (12, 8)


def test_a_folder_that_is_no_preparation(tmp_path):
    with pytest.raises(InputError, match=r"dataset_info\.json"):
        load(tmp_path)


def test_other_file_formats(tfrecords):
    info = tfrecords[0] / "dataset_info.json"
    info.write_text(info.read_text().replace('"tfrecord"', '"riegeli"'))
    for shard in tfrecords[0].glob("*.tfrecord*"):
        shard.rename(str(shard).replace("tfrecord-", "riegeli-"))
    with pytest.raises(InputError, match="riegeli; allowed: array_record, tfrecord"):
        load(tfrecords[0])


def test_a_missing_shard(tfrecords):
    folder, shard = tfrecords
    shard.unlink()
    with pytest.raises(InputError, match=f"{shard}.*missing"):
        load(folder)


@pytest.mark.parametrize("cut", [1, 5, 100])
def test_a_truncated_tfrecord_shard(tfrecords, cut):
    folder, shard = tfrecords
    shard.write_bytes(shard.read_bytes()[:-cut])
    with pytest.raises(InputError, match=f"{shard} is truncated"):
        load(folder)


def test_a_shard_cut_between_two_records(tfrecords):
    folder, shard = tfrecords
    shard.write_bytes(shard.read_bytes()[: tfrecord.scan(shard)[-2]])
    with pytest.raises(InputError, match=f"{shard} holds 7 records, but .* says 8"):
        load(folder)


def test_a_damaged_header(tfrecords):
    folder, shard = tfrecords
    content = bytearray(shard.read_bytes())
    content[tfrecord.scan(shard)[3] + 1] ^= 1  # in the length of record 3
    shard.write_bytes(content)
    with pytest.raises(InputError, match=f"{shard} is damaged: the header of record 3"):
        load(folder)


def test_a_damaged_record_is_unreadable_and_not_fatal(tfrecords):
    folder, shard = tfrecords
    content = bytearray(shard.read_bytes())
    start = tfrecord.scan(shard)[3] + tfrecord.HEADER.size
    content[start : start + 20] = b"\xff" * 20
    shard.write_bytes(content)
    splits = load(folder, validation=0.2)  # reads all labels
    train = load(folder).train
    with pytest.raises(UnreadableImage):
        train[3]
    assert train[4]["label"] == 0
    assert len(splits.train) + len(splits.validation) == 20


@pytest.mark.parametrize("size", [0, 10, 65536, -1])
def test_a_truncated_array_record_shard(tmp_path, size):
    folder = prepare(tmp_path / "own")
    shard = folder / "tiny-train.array_record-00000"
    shard.write_bytes(shard.read_bytes()[:size])
    with pytest.raises(InputError, match=f"{shard} is truncated or damaged"):
        load(folder)


def test_checksum_of_the_standard_check_string():
    # CRC-32C of "123456789" is 0xE3069283 in every catalogue of checksums
    crc = 0xE3069283
    masked = ((crc >> 15 | crc << 17) + 0xA282EAD8) % 2**32
    assert tfrecord.masked_crc32c(b"123456789") == masked


def test_scan_and_read_of_records_of_any_length(tmp_path):
    path = tmp_path / "some.tfrecord"
    records = [b"", b"a", b"bc" * 5000]
    with path.open("wb") as file:
        for record in records:
            length = struct.pack("<Q", len(record))
            file.write(length + struct.pack("<I", tfrecord.masked_crc32c(length)))
            file.write(record + struct.pack("<I", tfrecord.masked_crc32c(record)))
    offsets = tfrecord.scan(path)
    assert offsets.tolist() == [0, 16, 33, 10049]
    pairs = itertools.pairwise(offsets)
    assert [tfrecord.read(path, start, end) for start, end in pairs] == records
