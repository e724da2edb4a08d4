"""Launchers in processes of their own."""

import os
import runpy
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def run(command, folder):
    """Runs `launch.NAME` with its arguments; what it prints goes to the files `out` and `err`.

    Called in a process that has imported what is slow already, for the tests of bad input.
    """
    for number, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(folder / name, os.O_WRONLY | os.O_CREAT), number)
    sys.argv = [f"launch/{command[0]}.py", *command[1:]]
    runpy.run_module(f"launch.{command[0]}", run_name="__main__", alter_sys=True)


def start(launcher, *arguments, **environment):
    return subprocess.Popen(
        [sys.executable, "-m", f"launch.{launcher}", *arguments],
        cwd=ROOT,
        env=os.environ | {"XLA_FLAGS": "--xla_backend_optimization_level=0"} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(*processes):
    """Return code, output and errors of each; they run side by side."""
    results = []
    for process in processes:
        out, err = process.communicate(timeout=300)
        results.append((process.returncode, out, err))
    return results
