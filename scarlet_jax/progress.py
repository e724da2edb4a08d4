"""What goes to the terminal: a bar or lines of a log for long work, and no libraries' chatter."""

import os
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from tqdm import tqdm

from scarlet_jax import processes


class Progress:
    """Shows how far a job is, its rate, and the time left, in the first process alone.

    Args:
      label: what is running.
      total: units in all.
      unit: what is counted, such as "step".
      start: units that an earlier run has done.
    """

    def __init__(self, label: str, total: int, unit: str, start: int = 0):
        self.label, self.total, self.unit = label, total, unit
        self.done, self.begin = start, time.monotonic()
        self.shown = processes.is_first()
        self.warm = False  # the first unit compiles, and would spoil the rate
        size = shutil.get_terminal_size()  # tqdm's own look-up finds 0 on some terminals
        self.bar = (
            tqdm(
                total=total,
                initial=start,
                desc=label,
                unit=unit,
                ncols=size.columns,
                nrows=size.lines,
            )
            if self.shown and sys.stderr.isatty()
            else None
        )

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_: object) -> None:
        if self.bar is not None:
            self.bar.close()

    def update(self, done: int, detail: str = "") -> None:
        """Shows that `done` units are done, and a line with the detail, if there is one."""
        if not self.warm:
            self.done, self.begin, self.warm = done, time.monotonic(), True
            if self.bar is not None:
                self.bar.initial = self.bar.n = done
                self.bar.unpause()
        if self.bar is not None:
            self.bar.update(done - self.bar.n)
        if not detail:
            return
        line = f"{self.label}: {self.unit} {done}/{self.total}, {detail}"
        if self.bar is None and done > self.done:
            each = max(time.monotonic() - self.begin, 1e-9) / (done - self.done)  # seconds
            unit = self.unit
            pace = f"{1 / each:.3g} {unit}s/s" if each <= 1 else f"{each:.3g} s/{unit}"
            line += f", {pace}, {tqdm.format_interval((self.total - done) * each)} left"
        say(line)


def say(message: str) -> None:
    """Prints a line that neither breaks a bar nor waits in a buffer; the first process does."""
    if not processes.is_first():
        return
    tqdm.write(message, file=sys.stdout)
    sys.stdout.flush()


@contextmanager
def quiet() -> Iterator[None]:
    """Keeps a library's chatter, its C++ code's too, off the terminal; errors still raise."""
    with ExitStack() as stack:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        stack.callback(os.close, nowhere)
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        for number in (1, 2):
            saved = os.dup(number)
            stack.callback(os.close, saved)
            stack.callback(os.dup2, saved, number)
            os.dup2(nowhere, number)
        # What Python has buffered by the end belongs to the block.
        stack.callback(sys.stderr.flush)
        stack.callback(sys.stdout.flush)
        yield
