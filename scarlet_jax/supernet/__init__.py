"""The weight-sharing supernet."""

from scarlet_jax.supernet.network import (
    DTYPES,
    STABILIZERS,
    Plan,
    apply,
    create,
    for_platform,
    run,
)
from scarlet_jax.supernet.paths import gather, scatter
from scarlet_jax.supernet.population import run_population

__all__ = [
    "DTYPES",
    "STABILIZERS",
    "Plan",
    "apply",
    "create",
    "for_platform",
    "gather",
    "run",
    "run_population",
    "scatter",
]
