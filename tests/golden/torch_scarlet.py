"""SCARLET in PyTorch, in the layout of the authors' release: an independent reference.

Regenerate scarlet_logits.json, from the root of the repository:
    PYTHONPATH=tests python -m golden.torch_scarlet
"""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch_weights import BACKBONE, LOGITS, State, random_images, random_state

from benchmarks.torch_supernet import InvertedBottleneck, conv

torch.set_num_threads(1)  # maps are so small that threads only wait for one another


class Subsampling(nn.Module):
    """The identity of a layer: the input's channels, at the layer's stride."""

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        return x[:, :, :: self.stride, :: self.stride]


class Scarlet(nn.Module):
    def __init__(self, blocks: Sequence[str], num_classes: int) -> None:
        super().__init__()
        stem, width = BACKBONE["stem"]["channels"], BACKBONE["separable"]["channels"]
        head, searchable = BACKBONE["head"]["conv1x1"], BACKBONE["searchable"]
        self.stem = nn.Sequential(conv(3, stem, 3, 2), nn.BatchNorm2d(stem), nn.ReLU6())
        self.separable_conv = nn.Sequential(
            conv(stem, stem, 3, groups=stem),
            nn.BatchNorm2d(stem),
            nn.ReLU6(),
            conv(stem, width),
            nn.BatchNorm2d(width),
        )
        layers = zip(blocks, searchable["channels"], searchable["strides"], strict=True)
        self.mb_module = nn.Sequential()
        for block, outputs, stride in layers:
            if block == "identity":
                self.mb_module.append(Subsampling(stride))
            else:
                self.mb_module.append(InvertedBottleneck(block, width, outputs, stride))
                width = outputs
        self.conv_before_pooling = nn.Sequential(
            conv(width, head), nn.BatchNorm2d(head), nn.ReLU6()
        )
        self.classifier = nn.Linear(head, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.mb_module(self.separable_conv(self.stem(x)))
        return self.classifier(self.conv_before_pooling(x).mean((2, 3)))


def create(blocks: Sequence[str], state: State) -> Scarlet:
    """The network with the weights of `state`."""
    network = Scarlet(blocks, num_classes=len(state["classifier.bias"]))
    tensors = {name: torch.from_numpy(values) for name, values in state.items()}
    counters = {n: t for n, t in network.state_dict().items() if n.endswith("num_batches_tracked")}
    network.load_state_dict(tensors | counters)
    return network


def to_torch(images: np.ndarray) -> Tensor:
    """`[B, H, W, C]` to `float32[B, C, H, W]`."""
    return torch.from_numpy(images.transpose(0, 3, 1, 2)).float()


@torch.no_grad()
def logits(case: dict[str, Any]) -> np.ndarray:
    """`float64[B, classes]` of a case of scarlet_logits.json, with running statistics.

    In double precision, where PyTorch's depthwise convolution takes its time.
    """
    state = random_state(case["blocks"], case["num_classes"], case["weight_seed"])
    images = random_images(case["image_seed"], case["batch"], case["size"])
    network = create(case["blocks"], state).double().eval()
    return network(to_torch(images).double()).numpy()


def main() -> None:
    """Computes the logits of the file's cases anew."""
    cases = json.loads(LOGITS.read_text())
    for case in cases.values():
        case["logits"] = [[float(f"{x:.9g}") for x in row] for row in logits(case)]
    LOGITS.write_text(json.dumps(cases, indent=1) + "\n")


if __name__ == "__main__":
    main()
