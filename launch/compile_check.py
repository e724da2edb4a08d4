"""Compiles a configuration's programs for a TPU slice, without one; needs the `tpu` extra.

python -m launch.compile_check --topology=v5e:4x4 --config=configs/imagenet_s2.py
"""

import os

import jax
from absl import flags

from launch import common
from scarlet_jax import compile_check
from scarlet_jax.progress import say
from scarlet_jax.run.setup import make_space

FLAGS = flags.FLAGS
USAGE = "python -m launch.compile_check --topology=v5e:4x4 --config=configs/imagenet_s2.py"
# Without them the compiler asks the cloud's metadata server what machine this is, and complains.
NO_CHIP = {
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_ACCELERATOR_TYPE": "v5litepod-1",
    "TPU_WORKER_HOSTNAMES": "localhost",
}
HEADER = "| program | compile s | GFLOP | GB moved | HBM GB of {limit} | cost model ms |"


def main() -> None:
    jax.config.update("jax_platforms", "cpu")  # no chip is looked for
    # A program for absent chips cannot be read back, and the times are to be those of compiling.
    jax.config.update("jax_enable_compilation_cache", False)
    for name, value in NO_CHIP.items():
        os.environ.setdefault(name, value)
    config = FLAGS.config
    space = make_space(config)
    mesh = compile_check.topology_mesh(FLAGS.topology)
    kind = mesh.devices.flat[0].device_kind
    limit = compile_check.HBM_BYTES.get(kind)
    say(
        f"{mesh.size} x {kind}, space {space.name}, {config.data.image_size} pixels, "
        f"{config.model.dtype}, {FLAGS.images} images a chip; figures are of one chip and call, "
        "in which the cost model counts a loop once"
    )
    say(HEADER.format(limit=f"{limit / 1e9:.1f}" if limit else "?"))
    say("| --- | --- | --- | --- | --- | --- |")
    num_classes = config.data.num_classes or FLAGS.num_classes
    for row in compile_check.check(config, space, mesh, FLAGS.images, num_classes):
        model = f"{row.model_seconds * 1e3:.1f}" if row.model_seconds else "not sane"
        say(
            f"| {row.name} | {row.seconds:.0f} | {row.flops / 1e9:.1f} | "
            f"{row.bytes_accessed / 1e9:.2f} | {row.hbm_bytes / 1e9:.2f} | {model} |"
        )


if __name__ == "__main__":
    common.define_config()
    flags.DEFINE_string("topology", None, "A slice, such as v5e:4x4.")
    flags.DEFINE_integer("images", 128, "Images a chip in training.", lower_bound=1)
    flags.DEFINE_integer("num_classes", 1000, "Where the configuration leaves them to its data.")
    common.run(main, USAGE, required=("config", "topology"))
