"""One side of the check, in a process of its own, which prints a line of JSON for every work.

python -m benchmarks.accelerator.side MODULE WAVES PROFILE
"""

import importlib
import json
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from types import ModuleType
from typing import Any

import numpy as np

from benchmarks.measure import OURS, Prepared, Work, set_up

SECONDS = 2.0  # of timed calls
CALLS = range(3, 51)  # how many those may be
PROFILED = 2  # calls


def run(side: ModuleType, works: Sequence[Work], profile: str = "") -> Iterator[dict[str, Any]]:
    """Starts works side by side, as one compilation does not use all cores, and times each alone.

    Args:
      side: a module with `prepare`.
      works: that fit into the accelerator's memory together.
      profile: gets a trace of the first one's calls, unless empty.

    Yields:
      Of each work its fields, and `at_once`, how many were started together; then
      `first_seconds`, from nothing to the end of the first call, `seconds` of later calls and
      `peak_gb`, or else `error`, one line.
    """
    with ThreadPoolExecutor(len(works)) as pool:
        started = [pool.submit(_start, side, work) for work in works]
    for work, future in zip(works, started, strict=True):
        about = {**asdict(work), "at_once": len(works)}
        try:
            prepared, first = future.result()
            yield {**about, "first_seconds": first, **_time(prepared)}
            if profile and work is works[0]:
                _trace(prepared, profile)
        except Exception as error:  # such as one without memory; the others go on
            yield {**about, "error": f"{type(error).__name__}: {error}".partition("\n")[0][:300]}


def _start(side: ModuleType, work: Work) -> tuple[Prepared, float]:
    begin = time.monotonic()
    prepared: Prepared = side.prepare(work, set_up(work.config))
    prepared.call()
    first = time.monotonic() - begin
    prepared.call()  # libraries prepare something for the second one, too
    return prepared, first


def _time(prepared: Prepared) -> dict[str, Any]:
    ends = [time.monotonic()]
    while len(ends) <= CALLS.start or (len(ends) < CALLS.stop and ends[-1] < ends[0] + SECONDS):
        prepared.call()
        ends.append(time.monotonic())
    return {"seconds": np.diff(ends).tolist(), "peak_gb": prepared.peak_bytes() / 1e9}


def _trace(prepared: Prepared, directory: str) -> None:
    import jax

    with jax.profiler.trace(directory):
        for _ in range(PROFILED):
            prepared.call()


def about() -> dict[str, str]:
    """The accelerators that JAX finds here."""
    import jax

    first = jax.devices()[0]
    memory = (first.memory_stats() or {}).get("bytes_limit", 0) / 1e9
    kind = f"{jax.device_count()} x {first.device_kind}"
    return {
        "accelerator": f"{kind}, {memory:.0f} GB for JAX" if memory else kind,
        "platform_version": " ".join(first.client.platform_version.split()),
    }


def main() -> None:
    module, text, profile = sys.argv[1:]
    if module == OURS.module:
        print(json.dumps(about()), flush=True)
    side = importlib.import_module(f"benchmarks.{module}")
    for wave in json.loads(text):
        for found in run(side, [Work(**work) for work in wave], profile):
            print(json.dumps(found), flush=True)
        profile = ""


if __name__ == "__main__":
    main()
