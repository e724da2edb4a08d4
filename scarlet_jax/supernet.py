"""The supernet: every choice of every layer in one network, keyed by an architecture array.

logits = f(parameters, statistics, images, architecture), one compiled program for every
architecture. Layers of equal shape that follow each other form a stage, which is compiled
once and scanned over.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import lax

from scarlet_jax.errors import InputError
from scarlet_jax.nn import functional
from scarlet_jax.nn.blocks import Head, InvertedBottleneck, Stabilizer, Stem, ZeroPad
from scarlet_jax.nn.layers import BatchStatistics
from scarlet_jax.nn.switch import switch
from scarlet_jax.space import Choice, Layer, Space

STABILIZERS = ("els", "none")
DTYPES = ("float32", "bfloat16")


class Stage(nnx.Module):
    """`repeats` layers of equal shape, each with all choices of the space.

    Choices of one expansion share a bank of stacked weights, so that switching needs one branch
    for each expansion, and in it one for each kernel size, instead of one for each choice.
    """

    def __init__(
        self,
        c_in: int,
        layer: Layer,
        choices: tuple[Choice, ...],
        repeats: int,
        stabilizer: str,
        *,
        rng: np.random.Generator,
    ):
        self.choices = choices
        self.repeats = repeats
        expansions = sorted({choice.expansion for choice in choices if not choice.is_skip})
        self.banks = nnx.List(
            InvertedBottleneck(
                c_in,
                layer.width,
                layer.stride,
                [choice for choice in choices if choice.expansion == expansion],
                repeats=repeats,
                rng=rng,
            )
            for expansion in expansions
        )
        skip: Stabilizer | ZeroPad | None = None
        if any(choice.is_skip for choice in choices):
            skip = (
                Stabilizer(c_in, layer.width, layer.stride, repeats=repeats)
                if stabilizer == "els"
                else ZeroPad(layer.width, layer.stride)
            )
        self.skip = skip

    def __call__(
        self,
        x: jax.Array,
        path: jax.Array,
        batch: BatchStatistics | None,
        features: bool = False,
    ) -> tuple[jax.Array, jax.Array | None]:
        """Args: x `[B, H, W, C]`; path `int32[repeats]`.

        Returns: the last layer's output and, if `features`, every layer's `[repeats, B, ...]`.
        """
        _, params, stats = functional.split(self)
        blocks = [functional.split(module).graphdef for module in self._modules()]

        def layer(x: jax.Array, weights: Any) -> tuple[jax.Array, Any]:
            params, stats, choice = weights
            x, stats = self._layer(blocks, params, stats, x, choice, batch)
            return x, (stats, x if features else None)

        weights = (params, stats, path)
        if self.repeats > 1:
            x, (stats, maps) = lax.scan(layer, x, weights)
        else:
            x, out = layer(x, jax.tree.map(lambda leaf: leaf[0], weights))
            stats, maps = jax.tree.map(lambda leaf: leaf[None], out)
        nnx.update(self, stats)
        return x, maps

    def _modules(self) -> list[nnx.Module]:
        """What a layer switches between: the banks, then the skip."""
        return [*self.banks, *([self.skip] if self.skip is not None else [])]

    def _layer(
        self, blocks: list[Any], params: Any, stats: Any, x: jax.Array, choice: Any, batch: Any
    ) -> tuple[jax.Array, Any]:
        """One layer: slices the chosen block out of each bank, and runs one of them."""
        block_params = [
            take(bank, self.choices, params["banks"][i], choice)
            for i, bank in enumerate(self.banks)
        ]
        block_stats = [
            take(bank, self.choices, stats["banks"][i], choice) for i, bank in enumerate(self.banks)
        ]
        block_params.append(params["skip"] if "skip" in params else nnx.State({}))
        block_stats.append(nnx.State({}))

        def branch(which: int, operands: Any, fixed: Any) -> tuple[jax.Array, Any]:
            block_params, x = operands
            block_stats, batch, kernel_index, use_se = fixed
            args = (batch, kernel_index, use_se) if which < len(self.banks) else ()
            y, new = functional.apply(
                blocks[which], block_params[which], block_stats[which], x, *args
            )
            return y, [new if i == which else s for i, s in enumerate(block_stats)]

        index, kernel_index, use_se = (look_up(table, choice) for table in self._indices())
        x, block_stats = switch(
            [partial(branch, which) for which in range(len(blocks))],
            index,
            (block_params, x),
            (block_stats, batch, kernel_index, use_se),
        )
        for i, bank in enumerate(self.banks):
            stats["banks"][i] = put(bank, self.choices, stats["banks"][i], block_stats[i], choice)
        return x, stats

    def _indices(self) -> tuple[list[int], list[int], list[int]]:
        """For each choice: which module runs it, the index of its kernel size, and SE or not."""
        which, kernel_index, use_se = [], [], []
        for choice in self.choices:
            owners = [i for i, bank in enumerate(self.banks) if choice in bank.choices]
            which.append(owners[0] if owners else len(self.banks))
            kernel_index.append(self.banks[owners[0]].kernels.index(choice.kernel) if owners else 0)
            use_se.append(int(choice.se))
        return which, kernel_index, use_se


def take(bank: InvertedBottleneck, choices: tuple[Choice, ...], state: Any, choice: Any) -> Any:
    """The arrays of one choice's block, sliced out of a bank's stacks.

    Args:
      bank: the bank, for its structure.
      choices: all choices of the space.
      state: the bank's parameters or statistics, stacked along their first axis.
      choice: `int32[]`; a choice that is not the bank's gives some block of it.
    """
    return jax.tree_util.tree_map_with_path(
        lambda path, leaf: lax.dynamic_index_in_dim(
            leaf, _slot(bank, choices, path, choice), keepdims=False, allow_negative_indices=False
        ),
        state,
    )


def put(
    bank: InvertedBottleneck, choices: tuple[Choice, ...], state: Any, block: Any, choice: Any
) -> Any:
    """Writes back what `take` gave: the inverse, for statistics."""
    return jax.tree_util.tree_map_with_path(
        lambda path, leaf, new: lax.dynamic_update_index_in_dim(
            leaf, new, _slot(bank, choices, path, choice), 0, allow_negative_indices=False
        ),
        state,
        block,
    )


def stack_members(bank: InvertedBottleneck, keys: Sequence[Any]) -> list[Choice]:
    """The choices whose arrays lie in the stack at `keys` of a bank, in order."""
    members = list(bank.choices)
    if keys[0] == "depthwise":
        kernel = bank.kernels[keys[1]]
        return [choice for choice in members if choice.kernel == kernel]
    if keys[0] == "se":
        return [choice for choice in members if choice.se]
    return members


def _slot(
    bank: InvertedBottleneck, choices: tuple[Choice, ...], keypath: Any, choice: jax.Array
) -> jax.Array:
    """`int32[]`: the place of a choice in the stack at `keypath`; 0 if it has none."""
    members = stack_members(bank, [key.key for key in keypath])
    return look_up([members.index(c) if c in members else 0 for c in choices], choice)


def look_up(table: Sequence[int], choice: jax.Array) -> jax.Array:
    """`table[choice]` for a choice in range, without the checks of plain indexing."""
    return lax.dynamic_index_in_dim(
        jnp.array(table, jnp.int32), choice, keepdims=False, allow_negative_indices=False
    )


class Supernet(nnx.Module):
    """SCARLET's weight-sharing network over a space (SCARLET-NAS section 3)."""

    def __init__(
        self,
        space: Space,
        *,
        num_classes: int,
        channels: int = 3,
        stabilizer: str = "els",
        dtype: str = "float32",
        rng: np.random.Generator,
    ):
        check_model(stabilizer, dtype)
        check_network(num_classes, channels)
        self.dtype = dtype
        self.stem = Stem(channels, space, rng=rng)
        self.stages: nnx.List[Stage] = nnx.List()
        for (c_in, layer), count in stage_shapes(space):
            self.stages.append(Stage(c_in, layer, space.choices, count, stabilizer, rng=rng))
        self.head = Head(space.layers[-1].width, space, num_classes, rng=rng)

    def __call__(
        self,
        images: jax.Array,
        architecture: jax.Array,
        batch: BatchStatistics | None = None,
        features: bool = False,
    ) -> Any:
        """Runs one path.

        Args:
          images: float `[B, H, W, C]`, normalised.
          architecture: `int32[L]`; a change of values never recompiles.
          batch: how batch norm sees the batch; None uses running statistics.
          features: whether to return every layer's feature map as well (figure 2).

        Returns:
          Logits `float32[B, classes]`; with `features` also a list of L arrays `[B, H, W, C]`.
        """
        x = self.stem(images.astype(self.dtype), batch)
        maps: list[jax.Array] = []
        start = 0
        for stage in self.stages:
            path = architecture[start : start + stage.repeats]
            x, stacked = stage(x, path, batch, features)
            if stacked is not None:
                maps.extend(stacked[i] for i in range(stage.repeats))
            start += stage.repeats
        logits = self.head(x, batch)
        return (logits, maps) if features else logits


def check_model(stabilizer: str, dtype: str) -> None:
    """Raises `InputError` for an unknown stabilizer or dtype."""
    for name, value, allowed in (("stabilizer", stabilizer, STABILIZERS), ("dtype", dtype, DTYPES)):
        if value not in allowed:
            raise InputError(f"{name} {value!r}; allowed: {', '.join(allowed)}")


def check_network(num_classes: int, channels: int) -> None:
    """Raises `InputError` for sizes that no network can be built from."""
    if num_classes < 1 or channels < 1:
        raise InputError(f"num_classes {num_classes}, channels {channels}; allowed: 1 or more")


def stage_shapes(space: Space) -> list[tuple[tuple[int, Layer], int]]:
    """The runs of layers that keep width and resolution, `((c_in, layer), count)` each.

    A layer that changes either stands alone.
    """
    inputs = [space.separable_width, *(layer.width for layer in space.layers[:-1])]
    stages: list[tuple[tuple[int, Layer], int]] = []
    for shape in zip(inputs, space.layers, strict=True):
        keeps = shape == (shape[1].width, Layer(shape[1].width, 1))
        if keeps and stages and stages[-1][0] == shape:
            stages[-1] = (shape, stages[-1][1] + 1)
        else:
            stages.append((shape, 1))
    return stages


def create(
    space: Space,
    *,
    num_classes: int,
    channels: int = 3,
    stabilizer: str = "els",
    dtype: str = "float32",
    seed: int = 0,
) -> functional.Network:
    """Initialises a supernet, ready for `functional.apply`.

    Args:
      space: the search space.
      num_classes: outputs of the classifier.
      channels: channels of the images.
      stabilizer: what a skip is: "els", or "none" (zero-padded identity, the ablation).
      dtype: of the computation, "float32" or "bfloat16"; weights are float32 always.
      seed: of the initial weights.

    Raises:
      InputError: for a stabilizer, dtype or size that is not allowed.
    """

    model = Supernet(
        space,
        num_classes=num_classes,
        channels=channels,
        stabilizer=stabilizer,
        dtype=dtype,
        rng=np.random.default_rng(seed),
    )
    return functional.on_device(functional.split(model))
