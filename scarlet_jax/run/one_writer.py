"""Who may write into a work directory."""

from collections.abc import Callable
from contextlib import nullcontext
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar

from scarlet_jax import lock, processes
from scarlet_jax.run.setup import Setup

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def one_writer(
    job: Callable[Concatenate[Setup, Arguments], Result],
) -> Callable[Concatenate[Setup, Arguments], Result]:
    """Lets a job begin only where its work directory can be written to, and nobody else does."""

    @wraps(job)
    def alone(setup: Setup, *args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        with lock.hold(setup.workdir) if processes.is_first() else nullcontext():
            return job(setup, *args, **kwargs)

    return alone
