"""NVIDIA's GPUs as XLA's compiler wants them described, to compile for one that is not here.

A description is the text of a `GpuTargetConfigProto`, with the figures of XLA's own: a100_sxm_80,
h100_sxm, h200 and b200.txtpb in xla/backends/gpu/target_config/specs/ of openxla/xla. NVIDIA has
them, rounded, in the data sheets and white papers of these chips (multiprocessors, clock, memory,
L2) and in the CUDA C++ Programming Guide, "Technical Specifications per Compute Capability" (what a
multiprocessor and a block have).
"""

from dataclasses import dataclass, replace

KIB = 2**10

# Alike from compute capability 8.0 to 10.0; the guide's table.
ALIKE = {
    "threads_per_block_limit": 1024,
    "threads_per_warp": 32,
    "threads_per_core_limit": 2048,
    "block_dim_limit_x": 2**31 - 1,
    "block_dim_limit_y": 2**16 - 1,
    "block_dim_limit_z": 2**16 - 1,
    "shared_memory_per_block": 48 * KIB,
    "registers_per_core_limit": 64 * KIB,
    "registers_per_block_limit": 64 * KIB,
}
RESERVED_BYTES = KIB  # of shared memory, for the system, in every block
CUDNN = "major: 9 minor: 10"  # the release that XLA's newer specs name

# Kernels cannot be tried out on a device that is not there, and Triton's matrix products are
# chosen by trying.
COMPILER_OPTIONS = {"xla_gpu_autotune_level": 0, "xla_gpu_enable_triton_gemm": False}


@dataclass(frozen=True)
class Gpu:
    """One chip.

    Attributes:
      name: as the driver has it.
      capability: the compute capability, 9.0a for example, where accelerated features are those
        that this architecture alone has.
      multiprocessors: that are in use (SMs).
      lanes: float32 operations a clock and multiprocessor.
      clock_ghz: at most (boost).
      memory_bytes: as the driver reports it.
      bandwidth: of that memory, bytes a second.
      l2_bytes: of the second-level cache.
      shared_bytes: shared memory of a multiprocessor; a block may opt in to all but a KiB of it.
    """

    name: str
    capability: str
    multiprocessors: int
    lanes: int
    clock_ghz: float
    memory_bytes: int
    bandwidth: int
    l2_bytes: int
    shared_bytes: int

    def target_config(self) -> str:
        """The text of a `GpuTargetConfigProto`."""
        figures = ALIKE | {
            "core_count": self.multiprocessors,
            "fpus_per_core": self.lanes,
            "clock_rate_ghz": self.clock_ghz,
            "device_memory_size": self.memory_bytes,
            "memory_bandwidth": self.bandwidth,
            "l2_cache_size": self.l2_bytes,
            "shared_memory_per_core": self.shared_bytes,
            "shared_memory_per_block_optin": self.shared_bytes - RESERVED_BYTES,
        }
        fields = " ".join(f"{name}: {figure}" for name, figure in figures.items())
        return (
            f"gpu_device_info {{{fields} cuda_compute_capability {{{self.capability}}}}} "
            f'platform_name: "CUDA" dnn_version_info {{{CUDNN}}} '
            f'device_description_str: "{self.name}"'
        )


A100 = Gpu(
    name="NVIDIA A100-SXM4-80GB",
    capability="major: 8",
    multiprocessors=108,
    lanes=64,
    clock_ghz=1.41,
    memory_bytes=85_100_068_864,
    bandwidth=2_039_040_000_000,
    l2_bytes=40 * KIB**2,
    shared_bytes=164 * KIB,
)
H100 = Gpu(
    name="NVIDIA H100 80GB HBM3",
    capability="major: 9 feature_extension: ACCELERATED_FEATURES",
    multiprocessors=132,
    lanes=128,
    clock_ghz=1.98,
    memory_bytes=84_942_979_072,
    bandwidth=3_352_320_000_000,
    l2_bytes=50 * KIB**2,
    shared_bytes=228 * KIB,
)
H200 = replace(
    H100,
    name="NVIDIA H200 141GB HBM3e",
    memory_bytes=151_397_597_184,
    bandwidth=4_800_000_000_000,
)
B200 = Gpu(
    name="NVIDIA B200",
    capability="major: 10 feature_extension: ACCELERATED_FEATURES",
    multiprocessors=148,
    lanes=128,
    clock_ghz=1.965,
    memory_bytes=191_514_411_008,
    bandwidth=7_672_320_000_000,
    l2_bytes=132_644_864,
    shared_bytes=228 * KIB,
)
GPUS = {"a100": A100, "h100": H100, "h200": H200, "b200": B200}
