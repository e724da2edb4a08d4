"""Processes that train side by side, each on cores of its own."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from queue import SimpleQueue

from scarlet_jax.errors import InputError
from scarlet_jax.launch import heap


def side_by_side(commands: Mapping[Path, Sequence[str]], jobs: int) -> None:
    """Runs every command, so many at a time, in their order.

    What is finished ends at once, what was stopped goes on, if the commands are such. What each
    says is in `log.txt` in its folder.

    Args:
      commands: by their folders.
      jobs: how many run at once and share the cores evenly, not more than there are cores.

    Raises:
      InputError: where one ends with an error; no other is begun then.
    """
    shares: SimpleQueue[str] = SimpleQueue()
    cores = sorted(os.sched_getaffinity(0))
    for first in range(jobs):
        shares.put(",".join(map(str, cores[first::jobs])))

    def run(directory: Path, command: Sequence[str]) -> None:
        share = shares.get()
        try:
            directory.mkdir(parents=True, exist_ok=True)
            with open(directory / "log.txt", "a") as log:
                done = subprocess.run(
                    ["taskset", "--cpu-list", share, *command],
                    env={**os.environ, **heap.ENVIRONMENT},
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    check=False,
                )
            if done.returncode:
                raise InputError(f"ended with code {done.returncode}; {log.name} says why")
        finally:
            shares.put(share)

    with ThreadPoolExecutor(jobs) as pool:
        runs = [pool.submit(run, *unit) for unit in commands.items()]
        try:
            for done in as_completed(runs):
                done.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)  # what would fail likewise
            raise
