"""What accelerators can do at most, by the name that JAX has for them (`device_kind`)."""

# Of a chip, in bytes; from Google's documentation of Cloud TPU.
HBM_BYTES = {
    "TPU v4": 32 * 2**30,
    "TPU v5": 95 * 2**30,
    "TPU v5 lite": 16 * 2**30,
    "TPU v6 lite": 32 * 2**30,
}
# Of a chip, dense bfloat16 operations a second; from the same, and from NVIDIA's data sheets, whose
# figures "with sparsity" are halved here. A T4 and a V100 have float16 instead.
PEAK_FLOPS = {
    "TPU v4": 275e12,
    "TPU v5": 459e12,
    "TPU v5 lite": 197e12,
    "TPU v6 lite": 918e12,
    "Tesla T4": 65e12,
    "Tesla V100-SXM2-16GB": 125e12,
    "NVIDIA L4": 121e12,
    "NVIDIA A100-SXM4-40GB": 312e12,
    "NVIDIA A100-SXM4-80GB": 312e12,
    "NVIDIA H100 80GB HBM3": 989e12,
    "NVIDIA H200": 989e12,
    "NVIDIA B200": 2250e12,
}
FLOPS_PER_MAC = 2
TRAINING = 3  # times the operations of a forward pass: the backward pass has twice as many


def utilisation(macs_per_second: float, device_kind: str) -> float | None:
    """The share of a chip's peak that training takes, None for a chip that is not known.

    Model FLOP utilisation counts what the networks need, not what is computed to get there (PaLM,
    arXiv 2204.02311, appendix B).

    Args:
      macs_per_second: of forward passes, a chip.
      device_kind: its name.
    """
    peak = PEAK_FLOPS.get(device_kind)
    return peak and macs_per_second * FLOPS_PER_MAC * TRAINING / peak
