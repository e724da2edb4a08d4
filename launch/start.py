"""What comes before anything slow is imported, once in a process."""

from functools import cache

from scarlet_jax import interrupts
from scarlet_jax.launch import streams


@cache
def prepare() -> None:
    """Guards the streams, minds interrupts, and may replace the process: see `heap.keep`."""
    streams.guard()
    interrupts.install()

    from scarlet_jax.launch import heap  # slower

    heap.keep()
    streams.silence_xla()
