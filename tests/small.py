"""A small configuration and image folder, for tests that run whole jobs."""

from pathlib import Path

import numpy as np
from ml_collections import ConfigDict
from PIL import Image

from scarlet_jax.configs import base

CLASSES = ("dark", "light")
CHANGES = {
    "space": {
        "name": "small",
        "widths": (8, 8, 8, 8),  # 16 architectures: more than a search begins with
        "strides": (2, 1, 1, 1),
        "expansions": (2,),
        "kernels": (3,),
        "se": (False,),
        "stem_width": 8,
        "separable_width": 8,
        "head_width": 16,
    },
    "data": {
        "source": "folder",
        "image_size": 8,
        "channels": 1,
        "mean": (0.5,),
        "std": (0.25,),
        "crop": "pad",
        "crop_padding": 1,
        "center_crop": 1.0,
        "flip": True,
        "jitter": 0.0,
        "threads": 0,
        "validation": 0.25,
    },
    "search": {
        "population": 3,
        "generations": 1,
        "objectives": {"macs": {"max": 1e6}},
        "picks": 2,
        "calibration_batches": 2,
        "batch_size": 8,
        "chunk": 4,
    },
}
TRAINING = {
    "steps": 6,
    "batch_size": 8,
    "learning_rate": 0.05,
    "warmup_steps": 2,
    "log_every": 2,
    "eval_every": 0,
    "checkpoint_every": 2,
}


def config(folder: Path | str) -> ConfigDict:
    settings = base.get_config()
    for section, changes in CHANGES.items():
        settings[section].update(changes)
    settings.data.path = str(folder)
    settings.supernet.update(TRAINING)
    settings.supernet.eval_paths = 2
    settings.subnet.update(TRAINING)
    settings.subnet.ema_decay = 0.5
    return settings


def write_images(folder: Path) -> None:
    """16 training and 5 test images a class, told apart by their brightness, not always."""
    rng = np.random.default_rng(0)
    for split, count in (("train", 16), ("test", 5)):
        for level, name in ((80, "dark"), (170, "light")):
            (folder / split / name).mkdir(parents=True)
            for number in range(count):
                pixels = rng.normal(rng.normal(level, 30), 30, (8, 8)).clip(0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(folder / split / name / f"{number:02}.png")


def write_config(path: Path, folder: Path | str, **search: int) -> None:
    """A configuration file for a launcher: `config(folder)`, with other settings of the search."""
    path.write_text(
        f"import sys\nsys.path.insert(0, {str(Path(__file__).parent)!r})\nimport small\n"
        f"def get_config():\n"
        f"    config = small.config({str(folder)!r})\n"
        f"    config.search.update({search!r})\n"
        "    return config\n"
    )
