"""Processes that train on a core each, side by side."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from queue import SimpleQueue

from scarlet_jax.errors import InputError
from scarlet_jax.launch import heap


def side_by_side(commands: Mapping[Path, Sequence[str]]) -> None:
    """Runs every command, as many at a time as there are cores, in their order.

    What is finished ends at once, what was stopped goes on, if the commands are such. What each
    says is in `log.txt` in its folder.

    Raises:
      InputError: where one ends with an error; no other is begun then.
    """
    cores: SimpleQueue[int] = SimpleQueue()
    for core in sorted(os.sched_getaffinity(0)):
        cores.put(core)

    def run(directory: Path, command: Sequence[str]) -> None:
        core = cores.get()
        try:
            directory.mkdir(parents=True, exist_ok=True)
            with open(directory / "log.txt", "a") as log:
                done = subprocess.run(
                    ["taskset", "--cpu-list", str(core), *command],
                    env={**os.environ, **heap.ENVIRONMENT},
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    check=False,
                )
            if done.returncode:
                raise InputError(f"ended with code {done.returncode}; {log.name} says why")
        finally:
            cores.put(core)

    with ThreadPoolExecutor(cores.qsize()) as pool:
        runs = [pool.submit(run, *unit) for unit in commands.items()]
        try:
            for done in as_completed(runs):
                done.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)  # what would fail likewise
            raise
