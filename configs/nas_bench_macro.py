r"""The space of NAS-Bench-Macro on CIFAR-10 (Su et al., CVPR 2021, arXiv 2103.11922).

scarlet pipeline --config=nas_bench_macro --workdir=runs/macro \
    --config.data.path=DIR

Data as in configs/cifar10.py. 6,561 encodings of 8 layers; their networks have exactly the
published parameters and MACs, 0.39 to 2.93 and 7.7 to 105.7 million.

At a quarter of the widths (benchmarks/nas_bench_macro/recipes.py) a supernet takes some 18 minutes
on a core of an AMD EPYC, its scores of all networks 25 more; how it orders them is in
docs/evidence.md. There, picks trained alone for 3,000 steps got 59 to 68% of the test images right,
by averages of the weights that had 5% of the initial ones left, as later code's have not. At full
width, in bfloat16, a step of 3 paths and 256 images takes 36 ms on an H100, which 12 reader
processes can feed (data.workers): 50 epochs are 5.3 minutes. A whole run: not measured.
"""

from ml_collections import ConfigDict

from scarlet_jax.configs import cifar10


def get_config() -> ConfigDict:
    config = cifar10.get_config()
    config.space.update(
        name="nas_bench_macro",
        widths=(64, 64, 128, 128, 128, 256, 256, 256),
        strides=(2, 1, 2, 1, 1, 2, 1, 1),  # 16, 8 and 4 pixels
        choices=("identity", "E3K3", "E6K5"),  # 0, 1 and 2 of an encoding
        skip="downsample",
        stem_width=32,
        stem_stride=1,
        separable_width=0,
        head_width=1280,
        activation="relu",
        stem_activation="relu",
    )
    # 8.5 epochs (ours): at a quarter of the widths, three times as many steps give networks better
    # scores and a worse order, tau by -0.034 ± 0.026 in 3 pairs (docs/evidence.md).
    config.supernet.steps = 3000
    config.supernet.warmup_steps = 300
    config.supernet.eval_every = 1000
    config.search.objectives.macs.max = 60_000_000.0  # (ours) of 7.7 to 105.7 million
    return config
