"""Compiles a configuration's programs for a TPU slice or a GPU, without one.

scarlet compile_check --topology=v5e:4x4 --config=imagenet_s2
scarlet compile_check --topology=h100 --config=imagenet_s2

Needs the `tpu` or the `gpu` extra.
"""

import os

import jax
from absl import flags

from scarlet_jax import compile_check
from scarlet_jax.launch import common
from scarlet_jax.progress import say
from scarlet_jax.run.setup import make_space

FLAGS = flags.FLAGS
# Without them the compiler asks the cloud's metadata server what machine this is, and complains.
NO_CHIP = {
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_ACCELERATOR_TYPE": "v5litepod-1",
    "TPU_WORKER_HOSTNAMES": "localhost",
}
HEADER = (
    "| program | conditionals | loops | of unknown length | collectives | their MB "
    "| GB of {limit} | compile s | GFLOP | GB moved | cost model ms |"
)


def expect_no_chip() -> None:
    """Lets JAX compile for chips that are not here; before it looks for any."""
    jax.config.update("jax_platforms", "cpu")  # no chip is looked for
    # A program for absent chips cannot be read back, and the times are to be those of compiling.
    jax.config.update("jax_enable_compilation_cache", False)
    for name, value in NO_CHIP.items():
        os.environ.setdefault(name, value)


def main() -> None:
    expect_no_chip()
    config = FLAGS.config
    space = make_space(config)
    target = compile_check.describe(FLAGS.topology)
    kind = target.mesh.devices.flat[0].device_kind
    say(
        f"{target.mesh.size} x {kind}, space {space.name}, {config.data.image_size} pixels, "
        f"{config.model.dtype}, {FLAGS.images} images a chip; figures are of one chip and call, "
        "in which collectives count as often as they run, and the cost model counts a loop once"
    )
    say(HEADER.format(limit=_scaled(target.memory_bytes, 1e9, 1)))
    say("|" + " --- |" * HEADER.count(" |"))
    num_classes = config.data.num_classes or FLAGS.num_classes
    for row in compile_check.check(config, space, target, FLAGS.images, num_classes):
        cells = (
            row.name,
            *(_scaled(count, 1, 0) for count in row.control),
            str(row.collectives.number),
            _scaled(row.collectives.bytes, 1e6, 2),
            _scaled(row.memory_bytes, 1e9, 2),
            _scaled(row.seconds, 1, 0),
            _scaled(row.flops, 1e9, 1),
            _scaled(row.bytes_accessed, 1e9, 2),
            _scaled(row.model_seconds, 1e-3, 1),
        )
        say(f"| {' | '.join(cells)} |")


def _scaled(figure: float | None, unit: float, digits: int) -> str:
    """A figure in a unit; "-" for one that there is not."""
    return "-" if figure is None else f"{figure / unit:.{digits}f}"


if __name__ == "__main__":
    common.define_config()
    flags.DEFINE_string(
        "topology",
        None,
        "A TPU slice, such as v5e:4x4, or one of a100, h100, h200, b200, or h100:8.",
    )
    flags.DEFINE_integer("images", 128, "Images a chip in training.", lower_bound=1)
    flags.DEFINE_integer("num_classes", 1000, "Where the configuration leaves them to its data.")
    common.run(main, __doc__, required=("config", "topology"))
