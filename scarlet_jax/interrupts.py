"""Ctrl-C and SIGTERM end a job: in order if it can be, and after a time of grace in any case.

They raise `Stopped`: at once, or where there is something to save (`deferred`) when it is saved. A
thread ends the process, with the same code, if that takes longer than the grace, and at a second
Ctrl-C: the main thread may be compiling, wait for another process, or have lost the exception in a
library.
"""

import atexit
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stopped(BaseException):
    """A signal ends the job; the message says where, if anything was saved for it."""


class _State:
    running = False  # a job, which exceptions end; else a signal ends the process
    grace = 0.0  # seconds
    line = "stopped"
    deferring = 0
    signal: int | None = None  # the first
    raised = False


_state = _State()
_ending = threading.RLock()


def install() -> None:
    """Takes over both signals, unless they are ignored, as under nohup."""
    read, write = os.pipe()
    os.set_blocking(write, False)
    signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _handle)
    sys.unraisablehook = _end_if_lost
    atexit.register(signal.signal, signal.SIGTERM, signal.SIG_IGN)  # all is done, also by code 0
    threading.Thread(target=_watch, args=(read,), daemon=True).start()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


def hold() -> None:
    """Keeps signals for the program that is about to take the place of this one, and installs."""
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)


def begin(grace: float, line: str) -> None:
    """From now on signals raise `Stopped`, and `grace` seconds later end the process.

    `line` is what is said when it ends.
    """
    _state.grace, _state.line, _state.running = grace, line, True


def finish() -> None:
    """From now on signals end the process at once, unless one is doing so already."""
    if not requested():
        _state.grace, _state.running = 0, False


@contextmanager
def deferred() -> Iterator[None]:
    """Holds `Stopped` back in its block, which looks at `requested` after each piece of work."""
    defer()
    try:
        yield
    finally:
        _state.deferring -= 1
    if requested():
        _raise()


def defer() -> None:
    """Holds `Stopped` back from now on."""
    _state.deferring += 1


def requested() -> bool:
    """Whether a signal has come."""
    return _state.signal is not None


def stop(line: str) -> NoReturn:
    """Raises `Stopped`: what it was held back for is saved."""
    _state.raised = True
    raise Stopped(line)


def exit_code() -> int:
    return 128 + (_state.signal or signal.SIGTERM)


def say(line: str = "") -> None:
    """Prints a line, or that of `begin`, past streams that a signal may have interrupted."""
    start = "\n" if os.isatty(2) else ""  # behind a bar, or the terminal's ^C
    with suppress(OSError):
        os.write(2, f"{start}{line or _state.line}\n".encode())


def end() -> NoReturn:
    """Ends the process, whatever it is doing."""
    with _ending:  # one thread does
        say()
        os._exit(exit_code())


def _handle(number: int, _: FrameType | None) -> None:
    _state.signal = _state.signal or number
    if not _state.running:
        end()
    _raise()


def _raise() -> None:
    """Once: the end of the job must not be interrupted."""
    if not _state.raised and not _state.deferring:
        _state.raised = True
        raise Stopped


def _end_if_lost(unraisable: "UnraisableHookArgs") -> None:
    """Called for exceptions in finalizers, which Python would print and go on."""
    if unraisable.exc_type is Stopped:
        end()
    sys.__unraisablehook__(unraisable)


def _watch(pipe: int) -> None:
    received: list[int] = []
    deadline = None
    while True:
        left = None if deadline is None else max(deadline - time.monotonic(), 0)
        if not select.select([pipe], [], [], left)[0]:
            end()
        received += [number for number in os.read(pipe, 64) if number in SIGNALS]
        if not received:
            continue
        _state.signal = _state.signal or received[0]
        if signal.SIGINT in received[1:]:
            end()
        if deadline is None:
            deadline = time.monotonic() + _state.grace
