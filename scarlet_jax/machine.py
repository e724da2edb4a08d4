"""What this machine is, in words, without JAX."""

import platform
import re
from pathlib import Path


def processor() -> str:
    """The processor's model; of which architecture it is, where no more is known."""
    try:
        found = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    except OSError:
        found = None
    return found[1] if found else platform.machine()
