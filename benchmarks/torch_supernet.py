"""SCARLET's supernet in PyTorch, run eagerly: only the blocks on the path are computed.

Blocks, and the names of their parts, are laid out as in the authors' release.
"""

import random
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.measure import Prepared, Setup, Work
from scarlet_jax.space import Choice, Space

LEARNING_RATE = 0.01
BOTTLENECK = "inverted_bottleneck"  # of `Choice.group`


def conv(inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)


class SqueezeExcitation(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.squeeze_conv = nn.Conv2d(channels, channels // 4, 1)
        self.excite_conv = nn.Conv2d(channels // 4, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        squeezed = F.relu(self.squeeze_conv(F.adaptive_avg_pool2d(x, 1)))
        return x * F.hardsigmoid(self.excite_conv(squeezed))


class InvertedBottleneck(nn.Module):
    """Expand, depthwise, squeeze-and-excitation, project."""

    def __init__(self, block: str, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        hidden = int(block[1]) * inputs
        self.residual = stride == 1 and inputs == outputs
        self.conv1, self.bn1 = conv(inputs, hidden), nn.BatchNorm2d(hidden)
        self.conv2 = conv(hidden, hidden, int(block[3]), stride, groups=hidden)
        self.bn2 = nn.BatchNorm2d(hidden)
        self.mid_se = SqueezeExcitation(hidden) if block.endswith("_SE") else nn.Identity()
        self.conv3, self.bn3 = conv(hidden, outputs), nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        y = F.hardswish(self.bn1(self.conv1(x)))
        y = self.mid_se(F.hardswish(self.bn2(self.conv2(y))))
        y = self.bn3(self.conv3(y))
        return x + y if self.residual else y


class ChoiceBlock(nn.ModuleList):
    """All choices of a layer; its skip is ELS, a linear 1x1 convolution."""

    def __init__(self, choices: Sequence[Choice], inputs: int, outputs: int, stride: int) -> None:
        if unknown := [c.name for c in choices if not (c.is_skip or c.group == BOTTLENECK)]:
            raise ValueError(f"choices {unknown}; allowed: inverted bottlenecks and skips")
        super().__init__(
            conv(inputs, outputs, stride=stride)
            if choice.is_skip
            else InvertedBottleneck(choice.name, inputs, outputs, stride)
            for choice in choices
        )

    def forward(self, x: Tensor, choice: int) -> Tensor:
        return self[choice](x)


class Supernet(nn.Module):
    """All inverted bottlenecks and skips of a space with expansions and kernels of one digit."""

    def __init__(self, space: Space, num_classes: int, channels: int = 3) -> None:
        super().__init__()
        stem, width = space.stem_width, space.separable_width
        self.stem = nn.Sequential(
            conv(channels, stem, 3, space.stem_stride), nn.BatchNorm2d(stem), nn.ReLU6()
        )
        self.separable_conv = nn.Sequential(
            conv(stem, stem, 3, groups=stem),
            nn.BatchNorm2d(stem),
            nn.ReLU6(),
            conv(stem, width),
            nn.BatchNorm2d(width),
        )
        self.mb_module = nn.ModuleList()
        for layer in space.layers:
            self.mb_module.append(ChoiceBlock(space.choices, width, layer.width, layer.stride))
            width = layer.width
        self.conv_before_pooling = nn.Sequential(
            conv(width, space.head_width), nn.BatchNorm2d(space.head_width), nn.ReLU6()
        )
        self.classifier = nn.Linear(space.head_width, num_classes)

    def forward(self, x: Tensor, path: Sequence[int]) -> Tensor:
        """Logits `[B, classes]` of images `[B, C, H, W]`; one choice for each layer."""
        x = self.separable_conv(self.stem(x))
        for layer, choice in zip(self.mb_module, path, strict=True):
            x = layer(x, choice)
        return self.classifier(self.conv_before_pooling(x).mean((2, 3)))


def fair_paths(num_choices: int, depth: int) -> list[tuple[int, ...]]:
    """Random paths in which every layer takes each choice exactly once."""
    choices = [random.sample(range(num_choices), num_choices) for _ in range(depth)]
    return list(zip(*choices, strict=True))


def prepare(work: Work, setup: Setup) -> Prepared:
    """What `work.kind` names: score, train or strict_fair.

    On a GPU, unless `work.cores` says how many of the CPU's are used.
    """
    if work.cores:
        torch.set_num_threads(work.cores)
    device = torch.device("cpu" if work.cores else "cuda")
    # Shapes repeat; but to try the algorithms for those of all choices takes many minutes.
    torch.backends.cudnn.benchmark = work.kind != "strict_fair"
    network: Any = Supernet(setup.space, setup.num_classes, setup.channels)
    network.to(device, memory_format=torch.channels_last)
    if work.how == "compiled":
        network.compile()
    shape = (work.batch_size, setup.channels, work.image_size, work.image_size)
    images = torch.randn(shape, device=device).contiguous(memory_format=torch.channels_last)
    labels = torch.randint(setup.num_classes, shape[:1], device=device)
    half = setup.config.model.dtype == "bfloat16"
    path = setup.path.tolist()
    optimizer = torch.optim.SGD(network.parameters(), LEARNING_RATE, momentum=setup.momentum)

    def logits_of(path: Sequence[int]) -> Tensor:
        with torch.autocast(device.type, torch.bfloat16, enabled=half):
            return network(images, path)

    def score() -> None:
        with torch.no_grad():
            logits_of(path)

    def update(paths: Sequence[Sequence[int]]) -> None:
        optimizer.zero_grad()
        for path in paths:
            F.cross_entropy(logits_of(path).float(), labels).backward()
        optimizer.step()

    network.train(work.kind != "score")
    run = {
        "score": score,
        "train": lambda: update([path]),
        "strict_fair": lambda: update(fair_paths(setup.space.num_choices, setup.space.depth)),
    }[work.kind]

    if work.cores:
        return Prepared(run)
    torch.cuda.reset_peak_memory_stats()

    def call() -> None:
        run()
        torch.cuda.synchronize()

    return Prepared(call, torch.cuda.max_memory_allocated)
