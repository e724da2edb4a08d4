"""The command line. `python -m launch.NAME` restarts itself before anything slow is imported."""

import sys

from launch import heap

if sys.argv[:1] == ["-m"]:  # Python has yet to find NAME: this is its run, not an import
    heap.keep()
