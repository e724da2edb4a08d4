"""The command line: `scarlet NAME`, or `python -m launch.NAME` from a clone of the repository."""

import sys

if sys.argv[:1] == ["-m"]:  # Python has yet to find NAME: this is its run, not an import
    from scarlet_jax.launch import start

    start.prepare()
