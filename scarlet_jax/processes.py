"""Several processes that run one job together, each on its own devices, through `jax.distributed`.

Every process does the same; the first one alone prints and writes files. They share a file
system or a bucket: all read the data, the work directory and its checkpoints.

When SIGTERM or Ctrl-C comes to any of them, JAX's preemption service tells all, and agrees with
them on where to stop.
"""

import _thread
import atexit
import ctypes
import itertools
import json
import os
import signal
import socket
import sys
import threading
import traceback
from contextlib import suppress
from typing import Any, NoReturn

import jax
import numpy as np
from jax._src import distributed
from jax.experimental import multihost_utils

from scarlet_jax import interrupts
from scarlet_jax.errors import InputError

AUTO = "auto"
FAREWELL_SECONDS = 10  # the others, if they end too, do so within less
SILENCE_SECONDS = 30  # without a sign of life a process counts as lost (ours; JAX has 100)
NOTICE = "RECEIVED_PREEMPTION_NOTICE"  # the key under which JAX's service tells of SIGTERM

_together = threading.Event()
_points = itertools.count(1)


def join(coordinator: str, num_processes: int | None, process_id: int | None, seconds: int) -> int:
    """Makes this process one of several; to be called before JAX looks for devices.

    If the others do not come, or one is lost later, this process ends with a line and code 2: XLA
    would abort it.

    Args:
      coordinator: `HOST:PORT` of the first process, where the port is free; or "auto" where JAX
        can find out: on a Cloud TPU pod, under Slurm or Open MPI.
      num_processes: how many there are; None for "auto".
      process_id: which one this is, from 0 on; None for "auto".
      seconds: how long to wait for the others.

    Returns:
      Which one this is.

    Raises:
      InputError: if the three do not fit together or with those of the others, or the port is
        taken.
    """
    host, _, port = coordinator.rpartition(":")
    if coordinator == AUTO:
        if num_processes is not None or process_id is not None:
            raise InputError("num_processes and process_id go with a coordinator HOST:PORT")
    elif not host or not port.isdecimal() or not 0 < int(port) < 1 << 16:
        raise InputError(f"coordinator is {coordinator!r}; allowed: HOST:PORT or {AUTO}")
    elif num_processes is None or process_id is None:
        raise InputError(f"with coordinator {coordinator}, num_processes and process_id are needed")
    elif not 0 <= process_id < num_processes:
        raise InputError(
            f"process_id is {process_id}; allowed with {num_processes} processes: "
            f"0 to {num_processes - 1}"
        )
    elif process_id == 0:
        _check_free(int(port))
    ctypes.CDLL(None).signal(signal.SIGABRT, _aborted)
    try:
        jax.distributed.initialize(
            None if coordinator == AUTO else coordinator,
            num_processes,
            process_id,
            initialization_timeout=seconds,
            heartbeat_timeout_seconds=SILENCE_SECONDS,
        )
        _check_same_number(num_processes)
    except (RuntimeError, ValueError) as error:
        raise InputError(
            f"the processes of coordinator {coordinator} did not come together: "
            f"{str(error).splitlines()[0]}"
        ) from error
    _together.set()
    _listen()
    return int(distributed.global_state.process_id)


def _check_free(port: int) -> None:
    """Raises `InputError` if the port is taken, where JAX would crash."""
    try:
        socket.create_server(("", port)).close()
    except OSError as error:
        raise InputError(
            f"port {port} of the coordinator cannot be used ({error.strerror}); allowed: a free one"
        ) from error


def _check_same_number(num_processes: int | None) -> None:
    client = _client()
    client.key_value_set(f"num_processes/{distributed.global_state.process_id}", str(num_processes))
    client.wait_at_barrier("num_processes", SILENCE_SECONDS * 1000)
    told = sorted({value for _, value in client.key_value_dir_get("num_processes/")})
    if len(told) > 1:
        raise InputError(f"num_processes is {' and '.join(told)}; allowed: the same everywhere")


def _client() -> Any:
    """Of the service through which JAX's processes find each other; it keeps values by key."""
    return distributed.global_state.client


@ctypes.CFUNCTYPE(None, ctypes.c_int)
def _aborted(_: int) -> None:
    """Called in the place of a crash of XLA: mostly it has not found the others, or lost one."""
    if interrupts.requested():
        interrupts.end()
    if _together.is_set():
        trouble = "another process of the job has ended or cannot be reached"
        advice = "the same commands go on from the last checkpoint"
    else:
        address = str(distributed.global_state.coordinator_address)
        trouble = f"the processes of coordinator {address} did not come together"
        trouble += _unreachable(*address.rpartition(":")[::2])
        advice = "each needs the same --coordinator and --num_processes, and its own --process_id"
    interrupts.say(f"error: {trouble}; {advice} (TF_CPP_MIN_LOG_LEVEL=0 shows XLA's own words)")
    os._exit(2)


def _unreachable(host: str, port: str) -> str:
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=2).close()
    except OSError as error:
        return f", as it cannot be reached ({error.strerror or error})"
    return ""


def _listen() -> None:
    """Tells `interrupts` of every process when JAX's own handler has received SIGTERM in one.

    They end where JAX has them agree to, as `must_stop` says, or at the end of the grace.
    """
    interrupts.defer()
    client, ending = _client(), threading.Event()

    def poll() -> None:
        while not ending.wait(1):
            if interrupts.requested():  # by Ctrl-C, which JAX does not know
                os.kill(os.getpid(), signal.SIGTERM)
            with suppress(jax.errors.JaxRuntimeError):  # there is none
                client.key_value_try_get(NOTICE)
                _thread.interrupt_main(signal.SIGTERM)
                return

    thread = threading.Thread(target=poll, daemon=True)
    thread.start()
    atexit.register(thread.join)
    atexit.register(ending.set)


def must_stop() -> bool:
    """Whether a signal ends the job here: asked after each piece of work by all processes alike."""
    if not jax.distributed.is_initialized():
        return interrupts.requested()
    return multihost_utils.reached_preemption_sync_point(next(_points))


def is_first() -> bool:
    """Whether this process is the one that prints and writes files."""
    return jax.process_index() == 0


def gather(value: Any) -> list[Any]:
    """The JSON values of all processes in their order; every process must call it."""
    if jax.process_count() == 1:
        return [value]
    text = np.frombuffer(json.dumps(value).encode(), np.uint8)
    length = multihost_utils.process_allgather(np.int32(len(text))).max()
    padded = np.pad(text, (0, length - len(text)), constant_values=ord(" "))
    return [json.loads(row.tobytes()) for row in multihost_utils.process_allgather(padded)]


def meet() -> None:
    """Waits until every process is here."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices("meet")


def leave(code: int) -> NoReturn:
    """Ends this process because of an error or a signal, and with it the job."""
    if not jax.distributed.is_initialized():
        sys.exit(code)
    _say_farewell(FAREWELL_SECONDS)
    _exit(code)


def fail() -> NoReturn:
    """Ends this process because of the exception that is being handled, with its traceback.

    If it comes of the loss of another process, XLA finds out meanwhile, and `_aborted` is called.
    """
    if not jax.distributed.is_initialized():
        raise
    report = traceback.format_exc()
    _say_farewell(SILENCE_SECONDS + FAREWELL_SECONDS)
    if interrupts.requested():
        interrupts.end()
    sys.stderr.write(report)
    _exit(1)


def _say_farewell(seconds: float) -> None:
    """Ends the membership.

    An orderly end waits for all processes, which may for their part wait for a result of this
    one: so it waits for them only as long as they need if they end for the same reason.
    """
    farewell = threading.Thread(target=jax.distributed.shutdown, daemon=True)
    farewell.start()
    farewell.join(seconds)


def _exit(code: int) -> NoReturn:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
