"""Trained models as files of other runtimes: StableHLO, ONNX, and LiteRT for phones."""

from scarlet_jax.export.job import (
    FORMATS,
    NARROWER,
    PRECISIONS,
    TOLERANCE,
    Agreement,
    Exported,
    check,
    export,
    latency_ms,
    write,
)

__all__ = [
    "FORMATS",
    "NARROWER",
    "PRECISIONS",
    "TOLERANCE",
    "Agreement",
    "Exported",
    "check",
    "export",
    "latency_ms",
    "write",
]
