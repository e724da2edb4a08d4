"""The stand-alone network of one architecture, and its weights out of a supernet."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from numpy.typing import NDArray

from scarlet_jax import cost, derived, stacks
from scarlet_jax import space as spaces
from scarlet_jax.errors import InputError
from scarlet_jax.network_size import NetworkSize
from scarlet_jax.nn import bank, functional
from scarlet_jax.nn.blocks import Head, Identity, InvertedBottleneck, Stabilizer, Stem, ZeroPad
from scarlet_jax.nn.layers import BatchStatistics, Pointwise
from scarlet_jax.space import Array, Space, part_expansion
from scarlet_jax.supernet import DTYPES, Plan, check_network


class Subnet(nnx.Module):
    """A static network: only the blocks of its architecture exist.

    Its skips are one of `derived.SKIPS`: "identity" in the paper's derived networks.
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
        if dtype not in DTYPES:
            raise InputError(f"dtype {dtype!r}; allowed: {', '.join(DTYPES)}")
        check_network(num_classes, channels)
        self.dtype = dtype
        self.skip = skip
        self.channels = channels
        self.num_classes = num_classes
        self.stem = Stem(channels, space, rng=rng)
        self.blocks: nnx.List[Any] = nnx.List()
        width = space.separable_width
        for layer in derived.layers(space, architecture, skip):
            if not layer.choice.is_skip:
                block: Any = InvertedBottleneck(
                    layer.c_in,
                    layer.c_out,
                    layer.stride,
                    [layer.choice],
                    folded_width=layer.folded_width,
                    shortcut=_folded_shortcut(layer, skip, rng),
                    rng=rng,
                )
            elif skip == "els":
                block = Stabilizer(layer.c_in, layer.c_out, layer.stride)
            elif skip == "pad":
                block = ZeroPad(layer.c_out, layer.stride)
            else:
                block = Identity(layer.stride)
            self.blocks.append(block)
            width = layer.c_out
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


def _folded_shortcut(
    layer: derived.Layer, skip: str, rng: np.random.Generator
) -> nnx.Module | None:
    if not layer.keeps_shortcut:
        return None
    if skip == "sliced":
        return ZeroPad(layer.c_out, stride=1)
    return Pointwise(layer.c_in, layer.c_out, rng=rng)


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
      skip: what a skip is: one of `derived.SKIPS`.
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
    plan: Plan = supernet.graphdef
    shell = Subnet(
        space,
        path,
        num_classes=supernet.params["head"]["classifier"]["bias"].shape[0],
        channels=supernet.params["stem"]["convolution"]["kernel"].shape[2],
        skip="pad" if plan.stabilizer == "none" else "els",
        dtype=plan.dtype,
        rng=np.random.default_rng(0),
    )
    graphdef, params, stats = functional.split(shell)

    def find(shared: Any, blocks: list[Any], keypath: Any, own: jax.Array) -> jax.Array:
        part, *rest = [key.key for key in keypath]
        if part != "blocks":
            return _at(shared, [part, *rest])
        layer, *rest = rest
        array = _at(blocks[layer], rest)
        return array if len(rest) == 1 else bank.from_parts(tuple(rest), array, own.shape)

    def fill(kind: str, own: Any, arrays: Any) -> Any:
        blocks = _blocks_on_path(plan, kind, arrays, path)
        return jax.tree_util.tree_map_with_path(partial(find, arrays, blocks), own)

    return functional.Network(
        graphdef,
        fill("params", params, supernet.params),
        fill("stats", stats, supernet.stats),
    )


class Folded(NamedTuple):
    """A network without stabilizers, and what that has changed.

    Attributes:
      network: the same function as before.
      folds: every run of skips, and where it went.
      before, after: MACs and parameters.
    """

    network: functional.Network
    folds: list[derived.Fold]
    before: cost.Cost
    after: cost.Cost


def fold(space: Space, network: functional.Network, image_size: int = 224) -> Folded:
    """Folds the skips of a supernet's path into the 1x1 convolutions after them (equation 4).

    Exact: a stabilizer is linear, and so is what follows. A run of them becomes one matrix; its
    strides stay, as subsampling. Where the block after a run has a shortcut, its input goes there
    as well, so the matrix stays on it as a 1x1 convolution. Padding is folded likewise, which
    slices the next weights; on a shortcut it remains as padding.

    Args:
      space: the search space.
      network: a path as `extract` gives it, whether its skips are stabilizers or padding.
      image_size: that MACs are counted at.

    Raises:
      InputError: for a network that is not of the space, or whose skips are identities.
    """
    module: Subnet = nnx.merge(*network)
    if module.skip not in derived.FOLDED:
        allowed = ", ".join(derived.FOLDED)
        raise InputError(f"the network's skips are {module.skip!r}; foldable: {allowed}")
    skip, path = derived.FOLDED[module.skip], architecture(space, module)
    size = NetworkSize(image_size, module.num_classes, module.channels)
    shell = Subnet(
        space,
        path,
        num_classes=module.num_classes,
        channels=module.channels,
        skip=skip,
        dropout=module.head.dropout,
        dtype=module.dtype,
        rng=np.random.default_rng(0),
    )
    before = derived.layers(space, path, module.skip)
    runs = derived.folds(derived.layers(space, path, skip))
    composed: dict[tuple[Any, ...], jax.Array] = {}
    for run in runs:
        matrix = _product([_matrix(module.blocks[i], before[i]) for i in run.skips])  # [C, D]
        block = ("head", "convolution") if run.into is None else ("blocks", run.into, "expand")
        after = np.asarray(_at(network.params, [*block, "kernel"]), np.float64)
        composed[*block, "kernel"] = jnp.asarray(matrix @ after, jnp.float32)
        if run.on_shortcut and skip == "folded":
            composed["blocks", run.into, "shortcut", "kernel"] = jnp.asarray(matrix, jnp.float32)

    def find(keypath: Any, _: Any) -> jax.Array:
        keys = tuple(key.key for key in keypath)
        return composed[keys] if keys in composed else _at(network.params, list(keys))

    graphdef, params, _ = functional.split(shell)
    params = jax.tree_util.tree_map_with_path(find, params)
    return Folded(
        functional.Network(graphdef, params, network.stats),
        runs,
        cost.of_network(space, path, module.skip, size),
        cost.of_network(space, path, skip, size),
    )


def architecture(space: Space, module: Subnet) -> Array:
    """The array `int32[L]` of a stand-alone network.

    Raises:
      InputError: if the space has no such path.
    """
    choices = [
        block.choices[0] if isinstance(block, InvertedBottleneck) else spaces.SKIP
        for block in module.blocks
    ]
    names = [choice.name for choice in choices]
    return spaces.parse(space, ",".join(names))


def _matrix(block: Any, layer: derived.Layer) -> NDArray[np.float64]:
    """What a skip of a path multiplies the channels with, `[C, D]`."""
    if isinstance(block, ZeroPad):
        return np.eye(layer.c_in, layer.c_out)
    return np.asarray(block.kernel[...], np.float64)


def _product(matrices: list[NDArray[np.float64]]) -> NDArray[np.float64]:
    return matrices[0] if len(matrices) == 1 else np.linalg.multi_dot(matrices)


def _blocks_on_path(plan: Plan, kind: str, arrays: Any, path: Array) -> list[Any]:
    """The arrays of each layer's block by name; `kind` is "params" or "stats"."""
    stages = stacks.take(plan.index, arrays, jnp.asarray(path))["stages"]
    blocks = []
    for i, stage in enumerate(plan.stages):
        for row, layer in enumerate(stage.layers):
            choice = plan.space.choices[path[layer]]
            own = {k: rows[row] for k, rows in stages[i].items()}
            layout = getattr(stage.skip if choice.is_skip else stage.bank, kind)
            parts = choice.expansion // part_expansion(plan.space.choices)
            block: dict[str, Any] = {}
            for group in stacks.GROUPS:
                block |= stacks.unpack(layout, own, group, parts=parts)
            blocks.append(block)
    return blocks


def _at(state: Any, keys: list[Any]) -> Any:
    for key in keys:
        state = state[key]
    return state
