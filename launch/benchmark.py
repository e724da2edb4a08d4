"""Counts and times architectures on this machine's device.

python -m launch.benchmark --arch=scarlet-a --arch=all-identity
"""

from absl import flags

from launch import common
from scarlet_jax import benchmark, devices, workspace
from scarlet_jax import space as spaces
from scarlet_jax.progress import say

FLAGS = flags.FLAGS
USAGE = "python -m launch.benchmark --arch=scarlet-a --arch=all-identity"
HEADER = ("MACs", "parameters", "latency p50 ms", "p95 ms", "images/s", "architecture")


def main() -> None:
    config = FLAGS.config
    space = workspace.make_space(config) if config else spaces.get_space(FLAGS.space)
    architectures = [spaces.parse(space, text) for text in FLAGS.arch]
    size = FLAGS.image_size or (config.data.image_size if config else 224)
    num_classes = FLAGS.num_classes or (config.data.num_classes if config else 0) or 1000
    about = devices.describe()
    say(
        f"space {space.name}, {size} pixels, batch {FLAGS.batch_size}, {FLAGS.dtype}, "
        f"{about['devices']}, jax {about['jax']}"
    )
    say("{:>13} {:>11} {:>14} {:>9} {:>9}  {}".format(*HEADER))
    for text, architecture in zip(FLAGS.arch, architectures, strict=True):
        row = benchmark.measure(
            space,
            architecture,
            image_size=size,
            num_classes=num_classes,
            channels=config.data.channels if config else 3,
            dtype=FLAGS.dtype,
            batch_size=FLAGS.batch_size,
            repeats=FLAGS.repeats,
        )
        say(
            "{macs:>13} {params:>11} {latency_p50_ms:>14.2f} {latency_p95_ms:>9.2f} "
            "{images_per_second:>9.1f}  {arch}".format(**row, arch=text)
        )


if __name__ == "__main__":
    common.define_config()
    flags.DEFINE_multi_string("arch", None, common.ARCH_HELP + " Repeatable.")
    flags.DEFINE_string("space", "s2", "The search space, s1 or s2, where there is no --config.")
    flags.DEFINE_integer("image_size", None, "Pixels a side; 224, or the --config's.")
    flags.DEFINE_integer("num_classes", None, "Classifier outputs; 1000, or the --config's.")
    flags.DEFINE_integer("batch_size", 16, "Images a batch, for the throughput.")
    flags.DEFINE_integer("repeats", 20, "Timed calls, after one that compiles.")
    flags.DEFINE_enum("dtype", "float32", ["float32", "bfloat16"], "Of the computation.")
    common.run(main, USAGE, required=("arch",))
