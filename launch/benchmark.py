"""Counts and times architectures on this machine's device, or makes a table of every block.

scarlet benchmark --arch=scarlet-a --arch=all-identity --csv=table.csv --json=table.json
scarlet benchmark --config=mnist --supernet=runs/mnist --arch=all-identity
scarlet benchmark --config=mnist --table=latency.json
scarlet benchmark --config=mnist --blocks=phone --table=phone.json
"""

import os

from absl import flags

from scarlet_jax import benchmark_table, devices, files, latency, supernet
from scarlet_jax import space as spaces
from scarlet_jax.benchmark import Timing
from scarlet_jax.errors import InputError, MismatchError
from scarlet_jax.files import as_path
from scarlet_jax.launch import common
from scarlet_jax.network_size import NetworkSize
from scarlet_jax.progress import say
from scarlet_jax.run.setup import prepare

FLAGS = flags.FLAGS


def main() -> None:
    _check_flags()
    config = FLAGS.config
    space = common.space()
    architectures = [spaces.parse(space, text) for text in FLAGS.arch or []]
    # `common.prepare` would split a CPU into devices, and times would not be those without a
    # supernet.
    setup = prepare(config, FLAGS.supernet) if FLAGS.supernet else None
    size = common.size(space, setup.size if setup else None)
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
    for name in ("supernet", "csv", "json") if FLAGS.table else ("check", "force"):
        if FLAGS[name].present:
            goes = "--arch, not with --table" if FLAGS.table else "--table, not with --arch"
            raise InputError(f"--{name} goes with {goes}")
    if FLAGS.supernet and not FLAGS.config:
        raise InputError(f"--supernet={FLAGS.supernet} needs --config=FILE, what it is trained by")
    if FLAGS.blocks and not FLAGS.table:
        raise InputError(f"--blocks={FLAGS.blocks} goes with --table=FILE, where its table goes")
    for name in ("repeats", "check", "dtype", "batch_size"):
        if FLAGS.blocks and FLAGS[name].present:
            raise InputError(f"--{name} does not go with --blocks, which are measured already")
    common.check_local("blocks")
    if FLAGS.blocks and os.path.realpath(FLAGS.table) == os.path.realpath(
        as_path(FLAGS.blocks) / latency.TABLE
    ):
        raise InputError(f"--table is {FLAGS.table}, which is filled in; allowed: another file")
    common.check_outputs("table", "csv", "json")
    if FLAGS.table:
        files.check_writable(_rejected())


def _describe(space: spaces.Space, size: NetworkSize, timing: Timing) -> None:
    about = devices.describe()
    say(
        f"space {space.name}, {size.image_size} pixels, batch {timing.batch_size}, "
        f"{timing.dtype}, {about['devices']}, jax {about['jax']}"
    )


def make_table(space: spaces.Space, size: NetworkSize, timing: Timing) -> None:
    if FLAGS.blocks:
        record = latency.read_blocks(space, size, as_path(FLAGS.blocks))
    else:
        _describe(space, size, timing)
        record = latency.measure_table(space, size, timing, check=FLAGS.check)
    if check := record.get("check"):
        tau = check["kendall_tau"]
        say(
            f"{len(check['sums'])} random networks, sum of the table against what was measured: "
            f"median error {check['median_error']:.1%}, worst {check['worst_error']:.1%}, "
            f"Kendall's tau {'undefined' if tau is None else f'{tau:.2f}'}"
        )
        if (fault := latency.useless(check)) and not FLAGS.force:
            files.write_json(_rejected(), record)
            raise MismatchError(
                f"the table is useless: {fault}; it is in {_rejected()}, and would be in "
                f"{FLAGS.table} with --force"
            )
    files.write_json(FLAGS.table, record)
    say(f"table of {record['device']['kind']}, in {record['unit']}: {FLAGS.table}")


def _rejected() -> str:
    """Where a table goes that is of no use: measuring it took long, and it shows what is wrong."""
    return f"{FLAGS.table}.rejected"


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
    common.define_path(
        "blocks",
        None,
        "A folder of scarlet export --blocks=..., with what was printed of its files on their "
        "device beside them: the --table is of that, and nothing is measured here.",
    )
    flags.DEFINE_boolean(
        "force",
        False,
        "Writes a --table that its check finds useless as well; else it goes to FILE.rejected.",
    )
    flags.DEFINE_integer(
        "check", 20, "Random networks to compare a --table with; 0 for none.", lower_bound=0
    )
    common.define_size()
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
    flags.DEFINE_enum("dtype", "float32", supernet.DTYPES, "Of the computation.")
    common.run(main, __doc__, required=())
