"""One measurement, in a process of its own: `python -m benchmarks.measure JSON`.

The process that asks imports neither JAX nor PyTorch. Linux only.
"""

import importlib
import importlib.metadata
import importlib.util
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from scarlet_jax import space as spaces
from scarlet_jax.launch import heap
from scarlet_jax.machine import processor

ROOT = Path(__file__).parents[1]
CORES = 2  # that a measured process may use
DEFAULT_CLASSES = 1000  # where a configuration leaves them to its data
WARM_CACHE = {
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
}

Measurement = dict[str, list[float]]


@dataclass(frozen=True, eq=False)
class Side:
    """One side of a comparison: its title, its module here, and its environment."""

    title: str
    module: str
    environment: Mapping[str, str]


OURS = Side("ours", "jax_supernet", {"JAX_PLATFORMS": "cpu", **heap.ENVIRONMENT})
TORCH = Side("PyTorch", "torch_supernet", {})
TORCH_SAME = Side("PyTorch, same allocator", "torch_supernet", heap.ENVIRONMENT)


@dataclass(frozen=True)
class Work:
    """What is measured.

    Attributes:
      kind: score (a path), train (a step along a path), strict_fair (a step) and, ours only,
        evaluator (a path, with statistics of its own), random (a chunk of random paths),
        population (the offspring of a generation) and one_by_one (the same, each in a call of its
        own).
      repeats: timed calls, after a first one.
      image_size: pixels a side.
      batch_size: images.
      config: a module of `configs/`, for space and settings.
      warm: whether an earlier process has filled a persistent compilation cache.
      cores: of the process; 0 for all.
      how: ours makes a choice, by which selection, see `scarlet_jax.supernet`; or PyTorch runs,
        eagerly or, if it is "compiled", by `torch.compile`.
    """

    kind: str
    repeats: int
    image_size: int = 224
    batch_size: int = 16
    config: str = "base"
    warm: bool = False
    cores: int = CORES
    how: str = "auto"


class Setup(NamedTuple):
    """What both sides take from the configuration. The path is SCARLET-A's, `int32[L]`."""

    config: Any
    space: spaces.Space
    path: spaces.Array
    num_classes: int
    channels: int
    momentum: float


class Prepared(NamedTuple):
    """A work, ready to be called.

    Attributes:
      call: returns when the result is there.
      peak_bytes: of an accelerator's memory, asked after the first call; 0 where nobody counts.
    """

    call: Callable[[], object]
    peak_bytes: Callable[[], int] = lambda: 0


def set_up(name: str) -> Setup:
    config = importlib.import_module(f"configs.{name}").get_config()
    space = spaces.make_space(**config.space.to_dict())
    return Setup(
        config,
        space,
        spaces.parse(space, "scarlet-a"),
        config.data.num_classes or DEFAULT_CLASSES,
        config.data.channels,
        config.supernet.optimizer.kwargs.get("momentum", 0.0),
    )


def measure(work: Work, side: Side) -> Measurement:
    """Measures in a fresh process, or in the second of two with a compilation cache.

    Args:
      work, side: what is measured, and whose.

    Returns:
      `seconds` of each call after the first, `first_seconds` of that one (it compiles),
      `start_seconds` from the start of the process to its end, and `peak_gb`, the process's
      peak resident memory in 10^9 bytes.

    Raises:
      subprocess.CalledProcessError: if the process fails; its own message is on stderr.
    """
    if not work.warm:
        return _in_process(work, side.module, side.environment)
    with tempfile.TemporaryDirectory() as cache:
        environment = {**side.environment, **WARM_CACHE, "JAX_COMPILATION_CACHE_DIR": cache}
        _in_process(work, side.module, environment)
        return _in_process(work, side.module, environment)


def _in_process(work: Work, module: str, environment: Mapping[str, str]) -> Measurement:
    ours_to_set = {*heap.ENVIRONMENT, *WARM_CACHE, "JAX_COMPILATION_CACHE_DIR"}
    inherited = {name: value for name, value in os.environ.items() if name not in ours_to_set}
    command = [sys.executable, "-m", "benchmarks.measure", module, json.dumps(asdict(work))]
    start = time.monotonic()
    child = subprocess.run(
        command,
        cwd=ROOT,
        env={**inherited, **environment},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    *_, last = child.stdout.splitlines()
    result = json.loads(last)
    first_end = result.pop("first_end")  # of the clock that all processes share
    return {**result, "start_seconds": [first_end - start]}


def has_torch() -> bool:
    return importlib.util.find_spec("torch") is not None


def machine() -> dict[str, str]:
    """What it was measured on."""
    available = len(os.sched_getaffinity(0))
    packages = ["jax", *(["torch"] if has_torch() else [])]
    return {
        "processor": processor(),
        "cores": f"{min(CORES, available)} of {available} cores",
        "python": f"Python {platform.python_version()}",
        **{name: f"{name} {importlib.metadata.version(name)}" for name in packages},
    }


def main() -> None:
    module, text = sys.argv[1:]
    work = Work(**json.loads(text))
    # Before the libraries count the cores for their threads.
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: work.cores or None])
    heap.collect_rarely()
    if module == OURS.module:
        heap.return_what_compiling_left()
    side = importlib.import_module(f"benchmarks.{module}")
    call = side.prepare(work, set_up(work.config)).call
    ends = [time.monotonic()]
    for _ in range(1 + work.repeats):
        call()
        ends.append(time.monotonic())
    first, *rest = np.diff(ends).tolist()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    result = {
        "seconds": rest,
        "first_seconds": [first],
        "peak_gb": [peak / 1e9],
        "first_end": ends[1],
    }
    print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
