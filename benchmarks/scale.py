"""What the ImageNet run would take on slices and GPUs: compiles for them, and predicts.

python -m benchmarks.scale --topology=v5e:4x4     # adds a line to what is recorded
python -m benchmarks.scale --topology=v5e:4x4 --local
python -m benchmarks.scale                        # writes docs/scale.md

Needs the `tpu` or the `gpu` extra for the chips in question.
"""

import math
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from absl import app, flags

from benchmarks import record
from benchmarks.measure import CORES
from scarlet_jax import compile_check, settings
from scarlet_jax import space as spaces
from scarlet_jax.configs import imagenet_s2
from scarlet_jax.launch.common import COMPILE_EFFORT
from scarlet_jax.launch.compile_check import expect_no_chip
from scarlet_jax.train.sampler import paths_per_step

FLAGS = flags.FLAGS
CONFIG = imagenet_s2.get_config()
PATHS = paths_per_step(CONFIG.supernet.sampler, spaces.S2)
PAGE = Path(__file__).parents[1] / "docs" / "scale.md"


class Chip(NamedTuple):
    """What the makers publish of a chip, and what one hour of it is assumed to cost.

    Attributes:
      memory: bandwidth of its memory, bytes a second.
      link: bandwidth to the other chips, of all its links, bytes a second.
      dollars: an hour, from and to; ours, to be replaced by what you pay.
    """

    memory: float
    link: float
    dollars: tuple[float, float]


CHIPS = {
    "TPU v4": Chip(1.228e12 / 2, 300e9 / 2, (0.7, 1.6)),  # of a chip's two cores, one
    "TPU v5": Chip(2.765e12, 600e9, (1.9, 4.2)),
    "TPU v5 lite": Chip(0.819e12, 200e9, (0.5, 1.2)),
    "TPU v6 lite": Chip(1.640e12, 448e9, (1.2, 2.7)),
    "NVIDIA A100-SXM4-80GB": Chip(2.039e12, 600e9, (1.3, 5.0)),
    "NVIDIA H100 80GB HBM3": Chip(3.352e12, 900e9, (2.0, 11.0)),
    "NVIDIA H200 141GB HBM3e": Chip(4.8e12, 900e9, (2.5, 11.0)),
    "NVIDIA B200": Chip(7.672e12, 1800e9, (4.0, 15.0)),
}
REFERENCE = "NVIDIA H200 141GB HBM3e"  # on which a step was measured
# Ours: how far the time of an image may be from the measured one, scaled by memory bandwidth, and
# seconds that a collective takes however small it is.
FACTOR, LATENCY = (0.5, 2.0), (10e-6, 50e-6)


def measured(kind: str) -> float:
    """Seconds of the reference for an image: of a "strict_fair" step, or to "train" one network."""
    works = record.read("h200")["works"]
    (found,) = (work for work in works if (work["kind"], work["how"]) == (kind, "masked"))
    return float(np.median(found["seconds"])) / found["batch_size"]


def predict(line: Mapping[str, Any], image_seconds: float, bound: int) -> float:
    """Hours of the supernet's training: at least (bound 0), or at most (1).

    A step takes, one after the other: each chip's images along all paths, by `image_seconds` on
    the reference and the ratio of memory bandwidths; a latency for each collective; and their
    bytes, which a ring sends twice.
    """
    chip, reference = CHIPS[line["kind"]], CHIPS[REFERENCE]
    images = line["images"] * PATHS * image_seconds * reference.memory / chip.memory
    ring = 2 * (line["chips"] - 1) / line["chips"] * line["bytes"] / chip.link
    seconds = FACTOR[bound] * images + LATENCY[bound] * line["collectives"] + ring
    return seconds * CONFIG.supernet.steps / 3600


def compile_step(topology: str, local: bool) -> dict[str, Any]:
    """What the compiler says of the strict-fair step on a topology, at the configured batch."""
    expect_no_chip()
    jax.config.update("jax_exec_time_optimization_effort", COMPILE_EFFORT)
    target, config = compile_check.describe(topology), imagenet_s2.get_config()
    config.supernet.local_batch_norm = local
    images = config.supernet.batch_size // target.mesh.size
    programs = compile_check.check(
        settings.check(config), spaces.S2, target, images, config.data.num_classes
    )
    found = next(programs)
    return {
        "topology": topology,
        "kind": target.mesh.devices.flat[0].device_kind,
        "chips": target.mesh.size,
        "images": images,
        "local": local,
        "memory_bytes": found.memory_bytes,
        "collectives": found.collectives.number,
        "bytes": found.collectives.bytes,
    }


def page(lines: list[Mapping[str, Any]], image_seconds: float) -> str:
    """docs/scale.md."""
    header = ("chips", "batch norm", "images a chip", "GB", "collectives", "MB", "hours", "dollars")
    rows = [header, ["---"] * len(header), *(_cells(line, image_seconds) for line in lines)]
    table = "\n".join(f"| {' | '.join(cells)} |" for cells in rows)
    training, pixels = CONFIG.supernet, CONFIG.data.image_size
    fewest, most = (1e6 * seconds for seconds in LATENCY)
    return f"""# What ImageNet would take
Written by `python -m benchmarks.scale`. **Nobody has run any of this**: memory and collectives are
what the compilers say of the program, hours and dollars a prediction. It is of the supernet of
`configs/imagenet_s2.py`: S2, {pixels} pixels, {CONFIG.model.dtype}, {training.steps:,} steps of
{training.batch_size:,} images, each along {PATHS} paths. The recipe is ours; the paper does not
say its own.

{table}

A step exchanges batch norm's statistics and the gradients; `local` is
`--config.supernet.local_batch_norm`, which normalises by the images of one chip.

**Hours** = steps x (images + collectives + bytes):
- images: images a chip x {PATHS} paths x {image_seconds * 1e3:.3f} ms, measured on one H200 with 64
  images (`benchmarks/README.md`), x the ratio of the memories' bandwidths, x {FACTOR[0]:g} to
  {FACTOR[1]:g}. Most of the step moves memory: it uses half a percent of that chip's arithmetic.
- collectives: each takes {fewest:.0f} to {most:.0f} us, assumed, and none is hidden;
- bytes: sent twice around a ring, at the published bandwidth of all of a chip's links.

**Dollars** = chips x hours x an assumed price of a chip's hour, from long commitments to on demand;
prices change and differ by region, so put in your own:
{_prices()}.

{_feeding()}

Assumed beside that: images come in time, few images a chip take as long each as 64 do, and nothing
fails. The compiler for TPU v4 counts a chip's two cores, and so does the table.
"""


def _feeding() -> str:
    """How many cores a chip needs to read its images."""
    core, seconds = _core(), [measured(work) for work in ("strict_fair", "train")]
    lines = [
        "**Cores that feed a chip**, which resize 500 x 375 JPEG files with jitter, "
        f"{core:.0f} images a second and core (`python -m benchmarks.input`, AMD EPYC), with image "
        "times scaled as above:",
        "",
        f"| chip | images a second, {PATHS} paths each | cores | one path each | cores |",
        f"|{' --- |' * 5}",
    ]
    for kind, chip in CHIPS.items():
        scale = chip.memory / CHIPS[REFERENCE].memory
        rates = [scale / own for own in seconds]
        cells = [text for rate in rates for text in (f"{rate:,.0f}", f"{math.ceil(rate / core)}")]
        lines.append(f"| {kind} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _core() -> float:
    """Images a second of one core, from the slowest source, with jitter."""
    found = record.read("input")
    return float(min(row["ours"] for row in found["rows"] if row["jitter"])) / CORES


def _prices() -> str:
    return ";\n".join(f"{kind} {low:g} to {high:g}" for kind, (_, _, (low, high)) in CHIPS.items())


def _cells(line: Mapping[str, Any], image_seconds: float) -> Iterator[str]:
    hours = [predict(line, image_seconds, bound) for bound in (0, 1)]
    prices = CHIPS[line["kind"]].dollars
    dollars = [line["chips"] * h * price for h, price in zip(hours, prices, strict=True)]
    yield f"{line['topology']} ({line['chips']} x {line['kind']})"
    yield "local" if line["local"] else "global"
    yield str(line["images"])
    yield f"{line['memory_bytes'] / 1e9:.2f}"
    yield f"{line['collectives']:,}"
    yield f"{line['bytes'] / 1e6:.0f}"
    yield " to ".join(f"{h:.0f}" if h >= 10 else f"{h:.1f}" for h in hours)
    yield " to ".join(f"{d:,.0f}" for d in dollars)


def main(argv: list[str]) -> None:
    if argv[1:]:
        raise app.UsageError(f"unexpected argument {argv[1]!r}; flags start with --")
    lines = record.read("scale").get("lines", [])
    if FLAGS.topology:
        found = compile_step(FLAGS.topology, FLAGS.local)
        key = found["topology"], found["local"]
        lines = [line for line in lines if (line["topology"], line["local"]) != key]
        command = "python -m benchmarks.scale --topology=... [--local]"
        record.write("scale", command, {"lines": [*lines, found]})
        print(found)
    elif not lines:
        sys.exit("nothing is recorded; compile for --topology=v5e:4x4 and others first")
    else:
        PAGE.write_text(page(lines, measured("strict_fair") / PATHS))
        print(PAGE)


if __name__ == "__main__":
    flags.DEFINE_string("topology", None, "Compile for it, see scarlet compile_check.")
    flags.DEFINE_bool("local", False, "With batch norm by the images of each chip alone.")
    app.run(main)
