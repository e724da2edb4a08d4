"""The stand-alone network of one architecture, and its weights out of a supernet."""

from functools import partial
from typing import Any

import jax
import numpy as np
from flax import nnx

from scarlet_jax import space as spaces
from scarlet_jax.errors import InputError
from scarlet_jax.nn import functional
from scarlet_jax.nn.blocks import Head, Identity, InvertedBottleneck, Stabilizer, Stem, ZeroPad
from scarlet_jax.nn.layers import BatchStatistics
from scarlet_jax.space import Space
from scarlet_jax.supernet import DTYPES, Supernet, check_network, stack_members

SKIPS = ("identity", "els", "pad")


class Subnet(nnx.Module):
    """A static network: only the blocks of its architecture exist.

    Skips are one of
      identity: the paper's derived network. It keeps its channels, so the next block is
        narrower than in the supernet; trained from scratch.
      els: the supernet's own function, with its stabilizers.
      pad: the function of a supernet with `stabilizer="none"`.
    """

    def __init__(
        self,
        space: Space,
        architecture: Any,
        *,
        num_classes: int,
        channels: int = 3,
        skip: str = "identity",
        dropout: float = 0.0,
        dtype: str = "float32",
        rng: np.random.Generator,
    ):
        if skip not in SKIPS:
            raise InputError(f"skip {skip!r}; allowed: {', '.join(SKIPS)}")
        if dtype not in DTYPES:
            raise InputError(f"dtype {dtype!r}; allowed: {', '.join(DTYPES)}")
        check_network(num_classes, channels)
        self.dtype = dtype
        self.stem = Stem(channels, space, rng=rng)
        self.blocks: nnx.List[Any] = nnx.List()
        width = space.separable_width
        for layer, index in zip(space.layers, spaces.validate(space, architecture), strict=True):
            choice = space.choices[index]
            if not choice.is_skip:
                block: Any = InvertedBottleneck(width, layer.width, layer.stride, [choice], rng=rng)
            elif skip == "els":
                block = Stabilizer(width, layer.width, layer.stride)
            elif skip == "pad":
                block = ZeroPad(layer.width, layer.stride)
            else:
                block = Identity(layer.stride)
            self.blocks.append(block)
            width = width if isinstance(block, Identity) else layer.width
        self.head = Head(width, space, num_classes, dropout=dropout, rng=rng)

    def __call__(
        self,
        images: jax.Array,
        batch: BatchStatistics | None = None,
        dropout_keys: jax.Array | None = None,
        features: bool = False,
    ) -> Any:
        """Runs the network.

        Args:
          images: float `[B, H, W, C]`, normalised.
          batch: how batch norm sees the batch; None uses running statistics.
          dropout_keys: one key an image, `key[B]`, in training with dropout.
          features: whether to return the feature map after every layer as well.

        Returns:
          Logits `float32[B, classes]`; with `features` also a list of L arrays `[B, H, W, C]`.
        """
        x = self.stem(images.astype(self.dtype), batch)
        maps: list[jax.Array] = []
        for block in self.blocks:
            x = block(x, batch) if isinstance(block, InvertedBottleneck) else block(x)
            maps.append(x)
        logits = self.head(x, batch, dropout_keys)
        return (logits, maps) if features else logits


def create(
    space: Space,
    architecture: Any,
    *,
    num_classes: int,
    channels: int = 3,
    skip: str = "identity",
    dropout: float = 0.0,
    dtype: str = "float32",
    seed: int = 0,
) -> functional.Network:
    """Initialises the stand-alone network of `architecture` (`int32[L]`).

    Args:
      space: the search space.
      architecture: one choice a layer.
      num_classes: outputs of the classifier.
      channels: channels of the images.
      skip: what a skip is: "identity", "els" or "pad"; see `Subnet`.
      dropout: share of the classifier's inputs dropped in training.
      dtype: of the computation, "float32" or "bfloat16"; weights are float32 always.
      seed: of the initial weights.

    Raises:
      InputError: for an architecture or setting that is not allowed.
    """
    model = Subnet(
        space,
        architecture,
        num_classes=num_classes,
        channels=channels,
        skip=skip,
        dropout=dropout,
        dtype=dtype,
        rng=np.random.default_rng(seed),
    )
    return functional.on_device(functional.split(model))


def extract(space: Space, supernet: functional.Network, architecture: Any) -> functional.Network:
    """The stand-alone network of a path with the supernet's weights and statistics.

    It keeps the stabilizers (or the padding of the ablation), so it is the same function as the
    supernet on that path.

    Args:
      space: the supernet's space.
      supernet: its graph, parameters and statistics.
      architecture: `int32[L]`.

    Raises:
      InputError: for an architecture that is not of the space.
    """
    path = spaces.validate(space, architecture)
    model: Supernet = nnx.merge(*supernet)
    pads = any(isinstance(stage.skip, ZeroPad) for stage in model.stages)
    shell = Subnet(
        space,
        path,
        num_classes=supernet.params["head"]["classifier"]["bias"].shape[0],
        channels=supernet.params["stem"]["convolution"]["kernel"].shape[2],
        skip="pad" if pads else "els",
        dtype=model.dtype,
        rng=np.random.default_rng(0),
    )
    graphdef, params, stats = functional.split(shell)
    positions = [(i, r) for i, stage in enumerate(model.stages) for r in range(stage.repeats)]

    def find(state: Any, keypath: Any, _: jax.Array) -> jax.Array:
        part, *rest = [key.key for key in keypath]
        if part != "blocks":
            return _at(state, [part, *rest])
        layer, *rest = rest
        number, repeat = positions[layer]
        stage, choice = model.stages[number], space.choices[path[layer]]
        if choice.is_skip:
            return _at(state, ["stages", number, "skip", *rest])[repeat]
        owner = next(i for i, bank in enumerate(stage.banks) if choice in bank.choices)
        bank = stage.banks[owner]
        if rest[0] == "depthwise":
            rest[1] = bank.kernels.index(choice.kernel)
        stack = _at(state, ["stages", number, "banks", owner, *rest])
        return stack[repeat, stack_members(bank, rest).index(choice)]

    return functional.Network(
        graphdef,
        jax.tree_util.tree_map_with_path(partial(find, supernet.params), params),
        jax.tree_util.tree_map_with_path(partial(find, supernet.stats), stats),
    )


def _at(state: Any, keys: list[Any]) -> Any:
    for key in keys:
        state = state[key]
    return state
