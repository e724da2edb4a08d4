r"""Writes a trained model, or every block of a space, as files of other runtimes.

scarlet export --weights=runs/mnist/subnets/model-0 --format=onnx --out=model.onnx
scarlet export --weights=runs/mnist/subnets/model-0 --format=litert --out=model.tflite \
    --precision=int8 --config=mnist
scarlet export --weights=runs/mnist --config=mnist --arch=all-identity --format=onnx --out=path.onnx
scarlet export --config=mnist --blocks=phone --format=litert  # every block, to be measured there
"""

from pathlib import Path
from typing import Any

import numpy as np
from absl import flags

from scarlet_jax import data, export, latency, models
from scarlet_jax import space as spaces
from scarlet_jax.copies import fetched
from scarlet_jax.errors import InputError
from scarlet_jax.export import images
from scarlet_jax.files import as_path
from scarlet_jax.launch import common
from scarlet_jax.progress import Progress, say
from scarlet_jax.run.setup import prepare
from scarlet_jax.run.supernet import is_supernet, load_supernet, path_model

FLAGS = flags.FLAGS

OF_MODELS = (
    *("weights", "arch", "out", "batch_size", "opset"),
    *("images", "calibration_images", "threads", "repeats"),
)
OF_BLOCKS = ("check", "space", "image_size", "num_classes")
NOISE_IMAGES = 64  # (ours)
MOST_IMAGES = 10**6  # (ours)
BATCH_SIZE = 32  # images compared at once (ours)


def main() -> None:
    _check_flags()
    if FLAGS.blocks:
        export_blocks(as_path(FLAGS.blocks))
    else:
        export_model()


def _check_flags() -> None:
    if not FLAGS.blocks and not (FLAGS.weights and FLAGS.out):
        raise InputError(
            f"--weights and --out, or --blocks, must be given, {common.examples(__doc__)}"
        )
    common.check_local("blocks")
    for name in OF_MODELS if FLAGS.blocks else OF_BLOCKS:
        if FLAGS[name].present:
            which = "does not go with" if FLAGS.blocks else "goes with"
            raise InputError(f"--{name} {which} --blocks")


def export_blocks(folder: Path) -> None:
    space = common.space()
    count = latency.export_blocks(
        space,
        common.size(space),
        FLAGS.format,
        folder,
        check=FLAGS.check,
        precision=FLAGS.precision,
    )
    table = folder / latency.TABLE
    say(f"{count} files, and {table} to fill in. With a phone attached, and the tool on it:")
    for line in latency.commands(FLAGS.format, folder):
        say(f"  {line}")
    say(
        f"Then name the device in {table}, and scarlet benchmark --blocks={folder} --table=FILE, "
        "with the same --config or --space, makes the table."
    )


def export_model() -> None:
    path, batch_size = as_path(FLAGS.out), _batch_size()
    if FLAGS.precision == "int8" and not FLAGS.config:
        raise InputError(
            "--precision=int8 needs --config=FILE: images to calibrate on and to score"
        )
    module = export.check(FLAGS.format, path, batch_size, FLAGS.precision, FLAGS.opset)
    source = as_path(FLAGS.weights)
    model = _path_model(source) if is_supernet(source) else models.load(source)
    common.check_not_read("out", source)
    if FLAGS.arch:
        asked = spaces.parse(model.space, FLAGS.arch)
        models.check_architecture(model, model.space, asked, FLAGS.weights)
    unreadable = data.Unreadable()
    examples, calibration = _images(model, unreadable)
    result = export.export(
        model,
        FLAGS.format,
        path,
        examples,
        batch_size=batch_size,
        precision=FLAGS.precision,
        calibration=calibration,
        opset=FLAGS.opset,
    )
    _report(path, result)
    preprocessing = model.preprocessing
    side = preprocessing.image_size
    shape = (batch_size or 1, side, side, preprocessing.channels)
    times = export.latency_ms(module.load(fetched(path), FLAGS.threads), shape, FLAGS.repeats)
    say(
        f"latency of {shape[0]} x {side} x {side} in its runtime: p50 "
        f"{np.percentile(times, 50):.2f} ms, p95 {np.percentile(times, 95):.2f} ms"
    )
    if len(unreadable):
        say(str(unreadable))
    say(f"{FLAGS.format} {FLAGS.precision}: {path}")


def _path_model(source: Path) -> models.Model:
    if not FLAGS.config or not FLAGS.arch:
        raise InputError(
            f"--weights={source} is a supernet's work directory, which needs its --config and "
            "--arch=PATH"
        )
    setup = prepare(FLAGS.config, source)
    return path_model(setup, load_supernet(setup), spaces.parse(setup.space, FLAGS.arch))


def _batch_size() -> int | None:
    text = FLAGS.batch_size or (
        "1" if FLAGS.precision == "int8" or FLAGS.format == "litert" else "any"
    )
    if text == "any":
        return None
    if not text.isascii() or not text.isdecimal() or not 1 <= int(text[:9]) <= MOST_IMAGES:
        raise InputError(f"--batch_size is {text!r}; allowed: any, or 1 to {MOST_IMAGES:,} images")
    return int(text)


def _images(model: models.Model, unreadable: data.Unreadable) -> tuple[images.Batches, list[Any]]:
    """What to compare on, held-out where there is data, and what to calibrate on, for int8."""
    if not FLAGS.config:
        return images.random(model, FLAGS.images or NOISE_IMAGES), []
    section = images.fitted(FLAGS.config.data, model)
    splits = data.load(section, FLAGS.config.seed)
    outputs = images.check_classes(model, splits.class_names)

    def read(label: str, source: data.Source, count: int, batch_size: int) -> images.Batches:
        total = min(count or len(source), len(source))
        with Progress(label, total, "image") as progress:
            done = 0
            for pixels, labels in images.read(source, section, count, batch_size, unreadable):
                yield pixels, outputs[labels]
                done += len(labels)
                progress.update(done)

    calibration = (
        [image for image, _ in read("calibrate", splits.train, FLAGS.calibration_images, 1)]
        if FLAGS.precision == "int8"
        else []
    )
    return read("compare", splits.test, FLAGS.images, BATCH_SIZE), calibration


def _report(path: Path, result: export.Exported) -> None:
    for fold in result.folds:
        say(f"folded {fold}")
    agreement = result.agreement
    say(
        f"{result.size:,} bytes, {result.cost.macs:,} MACs, {result.cost.params:,} parameters\n"
        f"{agreement.images} images in its runtime and in JAX: largest difference "
        f"{agreement.difference:.1e} of the largest logit, {agreement.other_classes} in another "
        "class"
    )
    if FLAGS.config:
        say(
            f"accuracy on these test images: {agreement.accuracy:.2%}, in JAX "
            f"{agreement.model_accuracy:.2%}"
        )


if __name__ == "__main__":
    common.define_config()
    common.define_path(
        "weights",
        None,
        "A model file, a folder with one, or the work directory of a supernet, of which --arch is "
        "exported.",
    )
    flags.DEFINE_string("arch", None, "What --weights must be of, or its path. " + common.ARCH_HELP)
    common.define_path(
        "blocks",
        None,
        "A folder for every distinct block of the --config's space, or of --space, as files, for "
        "litert or onnx, with a table to fill in by what they take on another device.",
    )
    flags.DEFINE_integer(
        "check", 20, "Random networks beside --blocks, to check the table by.", lower_bound=0
    )
    common.define_size()
    flags.DEFINE_enum("format", None, export.FORMATS, "Of the file.")
    common.define_path("out", None, "The file to write.")
    flags.DEFINE_enum("precision", "float32", export.PRECISIONS, "The last two: onnx and litert.")
    flags.DEFINE_integer("opset", None, "Of onnx; the oldest possible, 14, if absent.")
    flags.DEFINE_string("batch_size", None, "Images a call, or any; 1 for litert and int8.")
    flags.DEFINE_integer(
        "images",
        0,
        "To compare on: of the --config's test images, 0 for all; without one, noise (64).",
        lower_bound=0,
        upper_bound=MOST_IMAGES,
    )
    flags.DEFINE_integer("calibration_images", 200, "For int8, of training.", lower_bound=1)
    flags.DEFINE_integer(
        "threads", None, "Of the runtime; its own choice if absent.", lower_bound=1
    )
    flags.DEFINE_integer("repeats", 50, "Timed calls.", lower_bound=1)
    common.run(main, __doc__, required=("format",))
