"""Two small files of PyTorch, one in each of its formats, for tests without it.

Regenerate old.pth and zip.pth, from the root of the repository:
    PYTHONPATH=tests python -m golden.torch_files
"""

import argparse
from collections import OrderedDict
from pathlib import Path

import numpy as np
import torch

GOLDEN = Path(__file__).parent
FORMATS = {"old.pth": False, "zip.pth": True}  # and whether it is a zip archive


def state() -> OrderedDict[str, torch.Tensor]:
    base = torch.arange(24.0).reshape(4, 6)
    return OrderedDict(
        whole=base,
        view=base[1:3, 2:5],
        transposed=base.t(),
        parameter=torch.nn.Parameter(base[:, 0]),
        double=base[0].double(),
        half=base[:2, :2].half(),
        bfloat16=base[0].bfloat16(),
        count=torch.tensor(7),
        bytes=base[0].byte(),
        flags=base[0] > 2,
        empty=torch.zeros(0, 3),
    )


def write(folder: Path) -> None:
    """The state as a training in parallel saves it, beside what is not of the model."""
    weight = torch.nn.Parameter(torch.ones(3))
    optimizer = torch.optim.Adam([weight])
    weight.sum().backward()
    optimizer.step()
    saved = {
        "epoch": 3,
        "accuracy": np.float32(0.5),
        "settings": argparse.Namespace(rate=0.1, device=torch.device("cpu")),
        "seen": {1, 2},
        "optimizer": optimizer.state_dict(),
        "model_state": OrderedDict((f"module.{name}", array) for name, array in state().items()),
    }
    for name, is_zip in FORMATS.items():
        torch.save(saved, folder / name, _use_new_zipfile_serialization=is_zip)


if __name__ == "__main__":
    write(GOLDEN)
