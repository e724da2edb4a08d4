"""Random weights under the names of the authors' PyTorch release.

No PyTorch here: names and shapes follow from the backbone in golden/scarlet_models.json.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

GOLDEN = Path(__file__).parent / "golden"
BACKBONE = json.loads((GOLDEN / "scarlet_models.json").read_text())["backbone"]
LOGITS = GOLDEN / "scarlet_logits.json"

State = dict[str, NDArray[np.float32]]


def _conv_bn(conv: str, bn: str, *kernel: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    """A convolution `[out, in / groups, k, k]` without bias, and its batch norm."""
    yield f"{conv}.weight", kernel
    for leaf in ("weight", "bias", "running_mean", "running_var"):
        yield f"{bn}.{leaf}", kernel[:1]


def _block(
    name: str, block: str, inputs: int, outputs: int
) -> Iterator[tuple[str, tuple[int, ...]]]:
    hidden, kernel = int(block[1]) * inputs, int(block[3])
    yield from _conv_bn(f"{name}.conv1", f"{name}.bn1", hidden, inputs, 1, 1)
    yield from _conv_bn(f"{name}.conv2", f"{name}.bn2", hidden, 1, kernel, kernel)
    if block.endswith("_SE"):
        yield f"{name}.mid_se.squeeze_conv.weight", (hidden // 4, hidden, 1, 1)
        yield f"{name}.mid_se.squeeze_conv.bias", (hidden // 4,)
        yield f"{name}.mid_se.excite_conv.weight", (hidden, hidden // 4, 1, 1)
        yield f"{name}.mid_se.excite_conv.bias", (hidden,)
    yield from _conv_bn(f"{name}.conv3", f"{name}.bn3", outputs, hidden, 1, 1)


def state_shapes(blocks: Sequence[str], num_classes: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    """The names and shapes of the release's state dict for blocks such as `E3K5_SE`."""
    stem, width = BACKBONE["stem"]["channels"], BACKBONE["separable"]["channels"]
    head = BACKBONE["head"]["conv1x1"]
    yield from _conv_bn("stem.0", "stem.1", stem, 3, 3, 3)
    yield from _conv_bn("separable_conv.0", "separable_conv.1", stem, 1, 3, 3)
    yield from _conv_bn("separable_conv.3", "separable_conv.4", width, stem, 1, 1)
    widths = BACKBONE["searchable"]["channels"]
    for i, (block, outputs) in enumerate(zip(blocks, widths, strict=True)):
        if block != "identity":
            yield from _block(f"mb_module.{i}", block, width, outputs)
            width = outputs
    yield from _conv_bn("conv_before_pooling.0", "conv_before_pooling.1", head, width, 1, 1)
    yield "classifier.weight", (num_classes, head)
    yield "classifier.bias", (num_classes,)


def random_state(blocks: Sequence[str], num_classes: int, seed: int) -> State:
    """Draws every array in the order of the sorted names; no scale or statistic is trivial."""
    rng = np.random.default_rng(seed)
    state = {}
    for name, shape in sorted(state_shapes(blocks, num_classes)):
        if len(shape) > 1:
            values = rng.standard_normal(shape) * np.sqrt(1 / np.prod(shape[1:]))
        elif name.endswith(("running_var", "weight")):
            values = rng.uniform(0.2, 1.8, shape)
        else:
            values = 0.5 * rng.standard_normal(shape)
        state[name] = values.astype(np.float32)
    return state


def random_images(seed: int, count: int, size: int) -> NDArray[np.float32]:
    """`float32[count, size, size, 3]`"""
    return np.random.default_rng(seed).standard_normal((count, size, size, 3)).astype(np.float32)


def assert_same(arrays: State, expected: State) -> None:
    assert arrays.keys() == expected.keys()
    for name, array in expected.items():
        assert arrays[name].dtype == array.dtype
        np.testing.assert_array_equal(arrays[name], array)
