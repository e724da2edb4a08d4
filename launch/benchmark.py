"""Counts and times architectures on this machine's device, or makes a latency table for it.

scarlet benchmark --arch=scarlet-a --arch=all-identity --csv=table.csv --json=table.json
scarlet benchmark --config=mnist --supernet=runs/mnist --arch=all-identity
scarlet benchmark --config=mnist --table=latency.json
"""

from absl import flags
from ml_collections import ConfigDict

from scarlet_jax import benchmark_table, data, devices, files, latency, models
from scarlet_jax import space as spaces
from scarlet_jax.benchmark import Timing
from scarlet_jax.errors import InputError
from scarlet_jax.launch import common
from scarlet_jax.network_size import IMAGENET, NetworkSize
from scarlet_jax.progress import say
from scarlet_jax.run.setup import Setup, make_space, prepare

FLAGS = flags.FLAGS


def main() -> None:
    _check_flags()
    config = FLAGS.config
    space = make_space(config) if config else spaces.get_space(FLAGS.space)
    architectures = [spaces.parse(space, text) for text in FLAGS.arch or []]
    # `common.prepare` would split a CPU into devices, and times would not be those without a
    # supernet.
    setup = prepare(config, FLAGS.supernet) if FLAGS.supernet else None
    size = _size(config, setup)
    models.check_image_size(space, size.image_size)
    timing = Timing(FLAGS.dtype, FLAGS.batch_size or (1 if FLAGS.table else 16), FLAGS.repeats)
    if FLAGS.table:
        make_table(space, size, timing)
        return
    accuracies = benchmark_table.score(setup, architectures, size) if setup else None
    _describe(space, size, timing)
    benchmark_table.run(
        space,
        list(zip(map(spaces.label, FLAGS.arch, architectures), architectures, strict=True)),
        size,
        timing,
        accuracies=accuracies,
        csv_path=FLAGS.csv,
        json_path=FLAGS.json,
    )


def _check_flags() -> None:
    if bool(FLAGS.arch) == bool(FLAGS.table):
        raise InputError(f"--arch or --table, not both, must be given, {common.examples(__doc__)}")
    for name in ("supernet", "csv", "json"):
        if FLAGS.table and getattr(FLAGS, name):
            raise InputError(f"--{name} goes with --arch, not with --table")
    if FLAGS.supernet and not FLAGS.config:
        raise InputError(f"--supernet={FLAGS.supernet} needs --config=FILE, what it is trained by")
    if FLAGS.csv and FLAGS.csv == FLAGS.json:
        raise InputError(f"--csv and --json are both {FLAGS.csv}; allowed: two files")
    for path in filter(None, (FLAGS.table, FLAGS.csv, FLAGS.json)):
        files.check_writable(path)


def _size(config: ConfigDict | None, setup: Setup | None) -> NetworkSize:
    """As the flags say, or else as a run of the configuration takes it, or else ImageNet's."""
    if setup:
        own = setup.size
    elif config:
        section = config.data
        num_classes = FLAGS.num_classes or section.num_classes
        num_classes = num_classes or len(data.load(section, config.seed).class_names)
        own = NetworkSize(section.image_size, num_classes, section.channels)
    else:
        own = IMAGENET
    return NetworkSize(
        FLAGS.image_size or own.image_size, FLAGS.num_classes or own.num_classes, own.channels
    )


def _describe(space: spaces.Space, size: NetworkSize, timing: Timing) -> None:
    about = devices.describe()
    say(
        f"space {space.name}, {size.image_size} pixels, batch {timing.batch_size}, "
        f"{timing.dtype}, {about['devices']}, jax {about['jax']}"
    )


def make_table(space: spaces.Space, size: NetworkSize, timing: Timing) -> None:
    _describe(space, size, timing)
    record = latency.measure_table(space, size, timing, check=FLAGS.check)
    latency.write(FLAGS.table, record)
    if check := record.get("check"):
        tau = check["kendall_tau"]
        say(
            f"{len(check['sums'])} random networks, sum of the table against measured latency: "
            f"median error {check['median_error']:.1%}, worst {check['worst_error']:.1%}, "
            f"Kendall's tau {'undefined' if tau is None else f'{tau:.2f}'}"
        )
    say(f"latency table of {record['device']['kind']}: {FLAGS.table}")


if __name__ == "__main__":
    common.define_config()
    flags.DEFINE_multi_string("arch", None, common.ARCH_HELP + " Repeatable.")
    common.define_path(
        "supernet",
        None,
        "A work directory whose supernet, trained by the --config, scores each --arch on the "
        "validation images.",
    )
    common.define_path("csv", None, "Where the rows of an --arch go as CSV.")
    common.define_path("json", None, "Where the rows of an --arch go as JSON.")
    common.define_path(
        "table", None, "Where a table of every block's latency goes. A stopped run starts anew."
    )
    flags.DEFINE_integer(
        "check", 20, "Random networks to compare the --table with; 0 for none.", lower_bound=0
    )
    flags.DEFINE_string("space", "s2", "The search space, s1 or s2, where there is no --config.")
    flags.DEFINE_integer(
        "image_size", None, "Pixels a side; 224, or the --config's.", lower_bound=1
    )
    flags.DEFINE_integer(
        "num_classes", None, "Classifier outputs; 1000, or the --config's.", lower_bound=1
    )
    flags.DEFINE_integer(
        "batch_size",
        None,
        "Images a batch: for throughput and memory of an --arch (16), of all times in a --table "
        "(1).",
        lower_bound=1,
    )
    flags.DEFINE_integer(
        "repeats",
        20,
        "Timed calls, after one that warms up; of a --table, rounds of a few calls each.",
        lower_bound=1,
    )
    flags.DEFINE_enum("dtype", "float32", ["float32", "bfloat16"], "Of the computation.")
    common.run(main, __doc__, required=())
