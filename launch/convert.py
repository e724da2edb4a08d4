"""Weights of the authors' PyTorch release as a model of ours, and back.

scarlet convert --from=ScarletA.pth.tar --to=models/scarlet-a
scarlet convert --from=models/scarlet-a --to=ScarletA.pth
"""

from pathlib import Path

from absl import flags

from scarlet_jax import cost, files, models, release, torch_file
from scarlet_jax import space as spaces
from scarlet_jax.buckets import is_bucket
from scarlet_jax.errors import InputError
from scarlet_jax.files import as_path
from scarlet_jax.launch import common
from scarlet_jax.models import Model
from scarlet_jax.progress import say
from scarlet_jax.space import S2

FLAGS = flags.FLAGS
OF_THEIRS = ("arch", "labels", "image_size", "state")  # flags of a PyTorch file alone


def main() -> None:
    source, target = as_path(getattr(FLAGS, "from")), as_path(FLAGS.to)
    if source.is_dir() or source.suffix == Path(models.FILE_NAME).suffix:
        convert = to_release
    else:
        convert, target = from_release, target / models.FILE_NAME
    say(describe(convert(source, target), target))


def from_release(source: Path, target: Path) -> Model:
    check_folder(target.parent)
    architecture = spaces.parse(S2, FLAGS.arch) if FLAGS.arch else None
    names = release.read_names(FLAGS.labels) if FLAGS.labels else None
    model = release.to_model(
        torch_file.read(source, FLAGS.state),
        source=str(source),
        architecture=architecture,
        class_names=names,
        image_size=FLAGS.image_size,
    )
    files.make_folder(target.parent)
    models.save(model, target)
    return model


def to_release(source: Path, target: Path) -> Model:
    given = [f"--{name}" for name in OF_THEIRS if FLAGS[name].present]
    if given:
        raise InputError(f"{' and '.join(given)} given, but {source} is a model file with its own")
    files.check_writable(target)
    common.check_not_read("to", source)
    model = models.load(source)
    torch_file.write(target, release.from_model(model))
    return model


def check_folder(folder: Path) -> None:
    """Raises `InputError` if the folder is not there and cannot be made, or not written into."""
    if is_bucket(folder):
        files.check_writable(folder / models.FILE_NAME)
        return
    nearest = next(path for path in (folder, *folder.parents) if path.exists())
    if not nearest.is_dir():
        raise InputError(f"{folder} cannot be a folder: {nearest} is a file")
    files.check_writable(nearest / models.FILE_NAME)


def describe(model: Model, path: Path) -> str:
    size = model.size
    macs, params = cost.costs(S2, model.architecture, size)
    same = [name for name in spaces.PRESETS if (spaces.parse(S2, name) == model.architecture).all()]
    return (
        f"wrote {path}: architecture {', '.join(same) or spaces.to_text(model.architecture)}, "
        f"{size.num_classes} classes, {macs:,} MACs at {size.image_size} pixels, "
        f"{params:,} parameters"
    )


if __name__ == "__main__":
    common.define_path(
        "from", None, "A PyTorch file of the release; or a model file of ours, or its folder."
    )
    common.define_path("to", None, "The folder of a model of ours; or else a PyTorch file.")
    flags.DEFINE_string("arch", None, common.ARCH_HELP + " Of a PyTorch file; inferred by default.")
    common.define_path(
        "labels", None, "A file of class names for a PyTorch file, one a line; numbers by default."
    )
    flags.DEFINE_string(
        "state",
        "",
        "The key of the weights in a PyTorch file that holds several states, such as state_dict "
        "beside state_dict_ema.",
    )
    flags.DEFINE_integer("image_size", 224, "Pixels a side, for a PyTorch file.")
    common.run(main, __doc__, required=("from", "to"))
