"""SCARLET-NAS (arXiv 1908.06022) in JAX: a supernet, its search, and what comes of it."""

__version__ = "0.1.0"
