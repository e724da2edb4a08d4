"""Launchers in processes of their own."""

import multiprocessing
import os
import runpy
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def ends(commands, folder):
    """Exit code, output and errors of each `launch.NAME` with its arguments, which ends early.

    By copies of a process that has imported what is slow.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["scarlet_jax.launch.common", "scarlet_jax.run.pipeline", "scarlet_jax.export"]
    )
    for number, command in enumerate(commands):
        own = folder / str(number)
        own.mkdir()
        process = context.Process(target=_run, args=(command, own))
        process.start()
        process.join(60)
        yield process.exitcode, (own / "out").read_text(), (own / "err").read_text()


def check_refused(bad, folder):
    """Every command of `bad` ends in one line that has its message, and code 2."""
    for message, (code, out, err) in zip(bad.values(), ends(bad, folder), strict=True):
        assert message in err
        assert err.startswith("error: ")
        assert "Traceback" not in err
        assert (code, out) == (2, "")


def _run(command, folder):
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
