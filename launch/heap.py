"""The heap kept between steps: a launcher restarts itself once with other allocator settings.

On CPU, XLA takes the temporaries of a program from malloc at every execution and gives them
back at its end. With glibc's defaults those large blocks go back to the system each time, and
the page faults of getting them again cost as much as the arithmetic. The settings keep freed
memory in the process, and let the system back it with huge pages. The price is that a process stays
as large as it has ever been. Every thread keeps an arena of its own: in a common one, full of what
compiling has left, threads wait for each other while one looks for a fitting piece.

glibc reads them when a process starts, so that a launcher can only set them for its successor:
`keep` replaces the process, which keeps its id, by the same command with the settings in its
environment. `--keep_heap=false` leaves them out.
"""

import ctypes
import gc
import os
import sys

from absl import flags

from scarlet_jax import interrupts

ENVIRONMENT = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": str(1 << 62),
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
}
# Tells the successor, should a privileged Python have dropped the settings, not to try again.
RESTARTED = "SCARLET_JAX_RESTARTED"


# Of new objects before Python looks for unreachable ones (ours). Tracing makes millions, all of
# which stay: with Python's own 700 it spends a seventh of its time on looking.
COLLECT_AFTER = 200_000


def collect_rarely() -> None:
    """Lets Python's garbage collector run less often."""
    gc.set_threshold(COLLECT_AFTER, *gc.get_threshold()[1:])


COMPILED = "/jax/core/compile/backend_compile_duration"  # JAX's event, in seconds
LONG = 1.0  # seconds of compiling that leave enough to be worth it (ours)


def return_what_compiling_left() -> None:
    """Gives the system back what a long compilation has freed.

    It lies in the arenas of the compiler's threads, where no step would take it from.
    """
    if not _has_glibc():
        return
    import jax  # not before a restart, which would import it twice

    trim = ctypes.CDLL(None).malloc_trim

    def listen(event: str, duration_secs: float, **kwargs: str | int) -> None:
        if event == COMPILED and duration_secs > LONG:
            trim(0)

    jax.monitoring.register_event_duration_secs_listener(listen)


def define_flag(flag_values: flags.FlagValues = flags.FLAGS) -> None:
    flags.DEFINE_boolean(
        "keep_heap",
        True,
        "Keeps freed memory for the next step, which is faster on CPU (Linux with glibc).",
        flag_values=flag_values,
    )


def keep() -> None:
    """Restarts this process with `ENVIRONMENT`, unless it has it or is asked not to.

    Variables that are set already stay as they are. Returns where there is nothing to do:
    without glibc, where every variable is set, or after a restart.
    """
    added = {name: value for name, value in ENVIRONMENT.items() if name not in os.environ}
    if not added or RESTARTED in os.environ or not _has_glibc() or not _is_wanted():
        return
    environment = os.environ | added | {RESTARTED: "1"}
    interrupts.hold()
    os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environment)


def _has_glibc() -> bool:
    try:
        return bool(os.confstr("CS_GNU_LIBC_VERSION"))
    except (AttributeError, OSError, ValueError):
        return False


def _is_wanted() -> bool:
    """`--keep_heap`, read before the launcher has defined its flags."""
    values = flags.FlagValues()
    define_flag(values)
    try:
        values(sys.argv, known_only=True)
    except (flags.Error, OSError):
        return False  # the launcher will say what is wrong
    return bool(values.keep_heap)
