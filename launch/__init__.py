"""The command line. `python -m launch.NAME` prepares itself before anything slow is imported."""

import sys

from launch import streams
from scarlet_jax import interrupts

if sys.argv[:1] == ["-m"]:  # Python has yet to find NAME: this is its run, not an import
    streams.guard()
    interrupts.install()

    from launch import heap

    heap.keep()
    streams.silence_xla()
