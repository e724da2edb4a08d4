"""What every block costs on one device, so that a path's latency or energy is a sum."""

from scarlet_jax.latency.files import TABLE, commands, export_blocks, read_blocks
from scarlet_jax.latency.measure import measure_table
from scarlet_jax.latency.networks import useless
from scarlet_jax.latency.table import definition, load

__all__ = [
    "TABLE",
    "commands",
    "definition",
    "export_blocks",
    "load",
    "measure_table",
    "read_blocks",
    "useless",
]
