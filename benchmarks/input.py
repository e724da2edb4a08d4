"""Measures how fast images come: JPEG files of 500 x 375 pixels to 224, beside PyTorch's loader.

python -m benchmarks.input

Photographs are parts of the two that scikit-learn ships (mnist extra). With torchvision, its
ImageFolder and DataLoader read the same files, by as many processes.
"""

import importlib.util
import io
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from absl import app, flags
from PIL import Image

from benchmarks import record
from benchmarks.measure import CORES, ROOT, machine
from scarlet_jax.launch import heap

FLAGS = flags.FLAGS
CLASSES, WIDTH, HEIGHT, QUALITY = 10, 500, 375, 93  # ImageNet's usual size, 60 KB a file
BATCH, SIZE = 64, 224
WARM_BATCHES, SECONDS = 6, 15.0
SOURCES = ("folder", "array_record", "tfrecord")
JITTER = (0.4, 0.0)
HEADER = (
    *("images from", "jitter", "images a second", "PyTorch", "ratio"),
    *("PyTorch, same allocator", "ratio"),
)


def photographs(count: int) -> Iterator[bytes]:
    """JPEG files: random parts of two photographs."""
    from sklearn.datasets import load_sample_images

    rng = np.random.default_rng(0)
    whole = [Image.fromarray(image) for image in load_sample_images().images]
    for number in range(count):
        picture = whole[number % len(whole)]
        height = rng.uniform(0.6, 1.0) * picture.height
        width = height * WIDTH / HEIGHT
        left = rng.uniform(0, picture.width - width)
        top = rng.uniform(0, picture.height - height)
        box = left, top, left + width, top + height
        part = picture.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC, box=box)
        part.save(buffer := io.BytesIO(), "JPEG", quality=QUALITY)
        yield buffer.getvalue()


def write(folder: Path, count: int) -> None:
    """The same images as class folders and as two TFDS preparations."""
    import tensorflow_datasets as tfds
    from tensorboardX.record_writer import RecordWriter

    files = list(photographs(count))
    for split, images in (("train", files), ("test", files[:CLASSES])):
        for number, image in enumerate(images):
            own = folder / "folder" / split / str(number % CLASSES)
            own.mkdir(parents=True, exist_ok=True)
            (own / f"{number}.jpg").write_bytes(image)
    features = tfds.features.FeaturesDict(
        {
            "image": tfds.features.Image(shape=(None, None, 3)),
            "label": tfds.features.ClassLabel(num_classes=CLASSES),
        }
    )
    prepared = folder / "array_record"
    prepared.mkdir()
    identity = tfds.core.dataset_info.DatasetIdentity(
        name="photos", version=tfds.core.Version("1.0.0"), data_dir=str(prepared), module_name="-"
    )
    info = tfds.core.DatasetInfo(
        builder=identity, features=features, supervised_keys=("image", "label")
    )
    writer = tfds.core.SequentialWriter(
        info, max_examples_per_shard=512, file_format="array_record"
    )
    writer.initialize_splits(["train", "test"])
    for split, images in (("train", files), ("test", files[:CLASSES])):
        examples = [{"image": io.BytesIO(i), "label": n % CLASSES} for n, i in enumerate(images)]
        writer.add_examples({split: examples})
    writer.close_all()
    other = folder / "tfrecord"
    other.mkdir()
    raw = tfds.decode.DeserializeMethod.RAW_BYTES
    builder = tfds.builder_from_directory(prepared)
    for split in ("train", "test"):
        records = iter(builder.as_data_source(split, deserialize_method=raw))
        for shard in builder.info.splits[split].file_instructions:
            name = Path(shard.filename).name.replace("array_record", "tfrecord")
            shard_writer = RecordWriter(str(other / name))
            for record_ in itertools.islice(records, shard.take):
                shard_writer.write(record_)
            shard_writer.close()
    for name in ("features.json", "dataset_info.json"):
        text = (prepared / name).read_text().replace('"array_record"', '"tfrecord"')
        (other / name).write_text(text)


def ours(path: Path, jitter: float) -> Iterator[Any]:
    """Batches of a source, by a reader process for every core."""
    from scarlet_jax import data
    from scarlet_jax.configs import imagenet_s2

    section = imagenet_s2.get_config().data
    source = "folder" if path.name == "folder" else "tfds"
    section.update(source=source, path=str(path), test_split="test", jitter=jitter)
    section.update(workers=CORES, num_classes=0, validation=0.0, image_size=SIZE)
    splits = data.load(section, seed=0)
    return data.train_batches(splits.train, section, batch_size=BATCH, seed=0, start_step=0)


def theirs(path: Path, jitter: float) -> Iterator[Any]:
    """Batches of torchvision's, with the same augmentation on Pillow's images."""
    import torch
    from torchvision import datasets, transforms

    colour = [transforms.ColorJitter(jitter, jitter, jitter)] if jitter else []
    augment = transforms.Compose(
        [
            transforms.RandomResizedCrop(SIZE),
            transforms.RandomHorizontalFlip(),
            *colour,
            transforms.PILToTensor(),
        ]
    )
    loader = torch.utils.data.DataLoader(
        datasets.ImageFolder(path / "train", augment),
        BATCH,
        shuffle=True,
        num_workers=CORES,
        drop_last=True,
        persistent_workers=True,
    )
    while True:
        yield from loader


def rate(batches: Iterator[Any]) -> float:
    """Images a second, once it runs."""
    for _ in range(WARM_BATCHES):
        next(batches)
    begin, count = time.monotonic(), 0
    while time.monotonic() < begin + SECONDS:
        next(batches)
        count += BATCH
    return count / (time.monotonic() - begin)


def measure(side: str, path: Path, jitter: float, keep_heap: bool = False) -> float:
    """In a process of its own, on `CORES` cores; with our launchers' allocator settings or not."""
    command = [sys.executable, "-m", "benchmarks.input", f"--one={side},{path},{jitter}"]
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "JAX_PLATFORMS": "cpu"}
    environment |= heap.ENVIRONMENT if keep_heap else {}
    child = subprocess.run(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=True
    )
    return float(json.loads(child.stdout.splitlines()[-1]))


def main(argv: list[str]) -> None:
    if argv[1:]:
        raise app.UsageError(f"unexpected argument {argv[1]!r}; flags start with --")
    if FLAGS.one:
        side, path, jitter = FLAGS.one
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])
        print(rate({"ours": ours, "theirs": theirs}[side](Path(path), float(jitter))), flush=True)
        return
    rows = []
    peer = importlib.util.find_spec("torchvision") is not None
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write(folder, FLAGS.images)
        print(f"| {' | '.join(HEADER)} |\n|{' --- |' * len(HEADER)}")
        for source, jitter in itertools.product(SOURCES, JITTER):
            own = measure("ours", folder / source, jitter, keep_heap=True)
            row = {"source": source, "jitter": jitter, "ours": own}
            if peer:  # right after ours, so that the same drift hits both
                row["theirs"] = measure("theirs", folder / "folder", jitter)
                row["theirs_same"] = measure("theirs", folder / "folder", jitter, keep_heap=True)
            print(line(row), flush=True)
            rows.append(row)
    print(f"\n{', '.join(machine().values())}")
    if peer:
        record.write("input", "python -m benchmarks.input", {"rows": rows})


def line(row: Mapping[str, Any]) -> str:
    """Of the table. A ratio is our rate over theirs."""
    cells = [row["source"], row["jitter"], f"{row['ours']:.0f}"]
    for other in ("theirs", "theirs_same"):
        known = other in row
        cells += [f"{row[other]:.0f}", f"{row['ours'] / row[other]:.2f}"] if known else ["", ""]
    return f"| {' | '.join(map(str, cells))} |"


if __name__ == "__main__":
    flags.DEFINE_integer("images", 2000, "How many files.", lower_bound=BATCH)
    flags.DEFINE_list("one", [], "One measurement, for this program itself.")
    app.run(main)
