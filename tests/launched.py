"""A launcher in a process that has imported what is slow already, for the tests of bad input."""

import os
import runpy
import sys


def run(command, folder):
    """Runs `launch.NAME` with its arguments; what it prints goes to the files `out` and `err`."""
    for number, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(folder / name, os.O_WRONLY | os.O_CREAT), number)
    sys.argv = [f"launch/{command[0]}.py", *command[1:]]
    runpy.run_module(f"launch.{command[0]}", run_name="__main__", alter_sys=True)
