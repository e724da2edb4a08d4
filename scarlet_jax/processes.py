"""Several processes that run one job together, each on its own devices, through `jax.distributed`.

Every process does the same; the first one alone prints and writes files. They share a file
system: all read the data, the work directory and its checkpoints.
"""

import json
import os
import sys
import threading
from typing import Any, NoReturn

import jax
import numpy as np
from jax.experimental import multihost_utils

from scarlet_jax.errors import InputError

AUTO = "auto"
FAREWELL_SECONDS = 10  # the others, if they end too, do so within less


def join(coordinator: str, num_processes: int | None, process_id: int | None) -> None:
    """Makes this process one of several; to be called before JAX looks for devices.

    Args:
      coordinator: `HOST:PORT` of the first process, where the port is free; or "auto" where JAX
        can find out: on a Cloud TPU pod, under Slurm or Open MPI.
      num_processes: how many there are; None for "auto".
      process_id: which one this is, from 0 on; None for "auto".

    Raises:
      InputError: if the three do not fit together, or the others are not found.
    """
    host, _, port = coordinator.rpartition(":")
    if coordinator == AUTO:
        if num_processes is not None or process_id is not None:
            raise InputError("num_processes and process_id go with a coordinator HOST:PORT")
    elif not host or not port.isdecimal():
        raise InputError(f"coordinator is {coordinator!r}; allowed: HOST:PORT or {AUTO}")
    elif num_processes is None or process_id is None:
        raise InputError(f"with coordinator {coordinator}, num_processes and process_id are needed")
    elif not 0 <= process_id < num_processes:
        raise InputError(
            f"process_id is {process_id}; allowed with {num_processes} processes: "
            f"0 to {num_processes - 1}"
        )
    # JAX would wait for a good moment to save after SIGTERM, and not end.
    jax.config.update("jax_enable_preemption_service", False)
    address = None if coordinator == AUTO else coordinator
    try:
        jax.distributed.initialize(address, num_processes, process_id)
    except (RuntimeError, ValueError) as error:
        raise InputError(
            f"the processes of coordinator {coordinator} did not come together: "
            f"{str(error).splitlines()[0]}"
        ) from error


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


def leave(code: int) -> NoReturn:
    """Ends this process because of an error, and with it the job.

    An orderly end waits for all processes, which may for their part wait for a result of this
    one: so it waits for them only as long as they need if they end for the same reason.
    """
    if not jax.distributed.is_initialized():
        sys.exit(code)
    farewell = threading.Thread(target=jax.distributed.shutdown, daemon=True)
    farewell.start()
    farewell.join(FAREWELL_SECONDS)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
