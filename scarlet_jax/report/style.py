"""The one name of palette.py that diagram.py still takes from here."""

from scarlet_jax.report.palette import KERNEL_SHADES as KERNEL_SHADES
