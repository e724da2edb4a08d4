"""Classifies pictures by a trained model, or by a file of `scarlet export`.

scarlet predict --weights=runs/mnist/subnets/model-0 --images=photo.png --images=FOLDER
scarlet predict --weights=model.onnx --images=FOLDER --csv=classes.csv --json=classes.json
"""

import csv
import io

from absl import flags

from scarlet_jax import data, files, predict
from scarlet_jax.errors import InputError
from scarlet_jax.files import as_path
from scarlet_jax.launch import common
from scarlet_jax.progress import Progress, say

FLAGS = flags.FLAGS
COLUMNS = ("image", "class", "probability")


def main() -> None:
    common.check_outputs("csv", "json")
    paths = predict.pictures(map(as_path, FLAGS.images))
    classifier, unreadable = predict.load(as_path(FLAGS.weights), FLAGS.threads), data.Unreadable()
    names = classifier.class_names
    found: dict[str, list[tuple[str, float]]] = {}  # likeliest classes first
    with Progress("predict", len(paths), "image") as progress:
        for own in predict.predict(classifier, paths, unreadable, progress.update):
            order = own.probabilities.argsort()[::-1][: FLAGS.top].tolist()
            likely = [(names[i], round(float(own.probabilities[i]), 6)) for i in order]
            found[str(own.path)] = likely
            if not (FLAGS.csv or FLAGS.json):
                classes = ", ".join(f"{name} {value:.1%}" for name, value in likely)
                say(f"{data.printable(str(own.path))}: {classes}")
    if not found:
        raise InputError(str(unreadable))
    if FLAGS.csv:
        writer = csv.writer(text := io.StringIO(newline=""))
        writer.writerow(COLUMNS)
        writer.writerows((path, *row) for path, likely in found.items() for row in likely)
        with files.replacing(FLAGS.csv) as partial:  # a file's name may be no text
            partial.write_bytes(text.getvalue().encode("utf-8", "surrogateescape"))
        say(f"classes of {len(found):,} images: {FLAGS.csv}")
    if FLAGS.json:
        record = {
            path: [dict(zip(COLUMNS[1:], row, strict=True)) for row in likely]
            for path, likely in found.items()
        }
        files.write_json(FLAGS.json, record)
        say(f"classes of {len(found):,} images: {FLAGS.json}")
    if len(unreadable):
        say(str(unreadable))


if __name__ == "__main__":
    common.define_path(
        "weights", None, "A model file, a folder with one, or a file of scarlet export."
    )
    flags.DEFINE_multi_string("images", [], "A picture, or a folder of them. Repeatable.")
    flags.DEFINE_integer("top", 5, "So many of the likeliest classes.", lower_bound=1)
    common.define_path("csv", None, "A file to write, with columns image, class and probability.")
    common.define_path("json", None, "A file to write: classes and probabilities by image.")
    flags.DEFINE_integer(
        "threads", None, "Of an exported file's runtime; its choice if absent.", lower_bound=1
    )
    common.run(main, __doc__, required=("weights", "images"))
