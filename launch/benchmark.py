"""Counts and times architectures on this machine's device, or makes a latency table for it.

python -m launch.benchmark --arch=scarlet-a --arch=all-identity
python -m launch.benchmark --table=latency.json --config=configs/mnist.py
"""

from typing import Any

from absl import flags

from launch import common
from scarlet_jax import benchmark, data, devices, files, latency, workspace
from scarlet_jax import space as spaces
from scarlet_jax.errors import InputError
from scarlet_jax.progress import say

FLAGS = flags.FLAGS
USAGE = "python -m launch.benchmark --arch=scarlet-a --arch=all-identity"
HEADER = ("MACs", "parameters", "latency p50 ms", "p95 ms", "images/s", "architecture")


def main() -> None:
    if bool(FLAGS.arch) == bool(FLAGS.table):
        raise InputError(f"--arch or --table, not both, must be given, for example\n  {USAGE}")
    config = FLAGS.config
    space = workspace.make_space(config) if config else spaces.get_space(FLAGS.space)
    network = {
        "image_size": FLAGS.image_size or (config.data.image_size if config else 224),
        "num_classes": FLAGS.num_classes or (_num_classes(config) if config else 1000),
        "channels": config.data.channels if config else 3,
        "dtype": FLAGS.dtype,
        "batch_size": FLAGS.batch_size or (1 if FLAGS.table else 16),
        "repeats": FLAGS.repeats,
    }
    work = make_table if FLAGS.table else time_architectures
    work(space, network)


def _num_classes(config: Any) -> int:
    """As a run of the configuration takes them."""
    return config.data.num_classes or len(data.load(config.data, config.seed).class_names)


def _describe(space: spaces.Space, network: dict[str, Any]) -> None:
    about = devices.describe()
    say(
        f"space {space.name}, {network['image_size']} pixels, batch {network['batch_size']}, "
        f"{network['dtype']}, {about['devices']}, jax {about['jax']}"
    )


def time_architectures(space: spaces.Space, network: dict[str, Any]) -> None:
    architectures = [spaces.parse(space, text) for text in FLAGS.arch]
    _describe(space, network)
    say("{:>13} {:>11} {:>14} {:>9} {:>9}  {}".format(*HEADER))
    for text, architecture in zip(FLAGS.arch, architectures, strict=True):
        row = benchmark.measure(space, architecture, **network)
        say(
            "{macs:>13} {params:>11} {latency_p50_ms:>14.2f} {latency_p95_ms:>9.2f} "
            "{images_per_second:>9.1f}  {arch}".format(**row, arch=text)
        )


def make_table(space: spaces.Space, network: dict[str, Any]) -> None:
    files.check_writable(FLAGS.table)
    _describe(space, network)
    record = latency.measure_table(space, **network, check=FLAGS.check)
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
    flags.DEFINE_string(
        "table", None, "Where a table of every block's latency goes. A stopped run starts anew."
    )
    flags.DEFINE_integer(
        "check", 20, "Random networks to compare the --table with; 0 for none.", lower_bound=0
    )
    flags.DEFINE_string("space", "s2", "The search space, s1 or s2, where there is no --config.")
    flags.DEFINE_integer("image_size", None, "Pixels a side; 224, or the --config's.")
    flags.DEFINE_integer("num_classes", None, "Classifier outputs; 1000, or the --config's.")
    flags.DEFINE_integer(
        "batch_size",
        None,
        "Images a batch: for the throughput of an --arch (16), of all times in a --table (1).",
        lower_bound=1,
    )
    flags.DEFINE_integer(
        "repeats",
        20,
        "Timed calls, after one that compiles; of a --table, rounds of a few calls each.",
        lower_bound=1,
    )
    flags.DEFINE_enum("dtype", "float32", ["float32", "bfloat16"], "Of the computation.")
    common.run(main, USAGE, required=())
