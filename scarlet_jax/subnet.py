"""The stand-alone network of one architecture, and its weights out of a supernet."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from numpy.typing import NDArray

from scarlet_jax import cost, derived, tensors
from scarlet_jax import space as spaces
from scarlet_jax.blocks import Block
from scarlet_jax.blocks.base import Operations, X
from scarlet_jax.blocks.ends import Head, Stem
from scarlet_jax.blocks.skips import Stabilizer
from scarlet_jax.errors import InputError, check_one_of
from scarlet_jax.network_size import NetworkSize
from scarlet_jax.nn import functional
from scarlet_jax.nn.functional import KeyPath, Params
from scarlet_jax.nn.layers import BatchNorm, BatchStatistics
from scarlet_jax.space import Array, Space
from scarlet_jax.supernet import DTYPES, Plan
from scarlet_jax.supernet.stage import crop


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
        check_one_of("dtype", dtype, DTYPES)
        self.dtype = dtype
        self.skip = skip
        self.channels = channels
        self.num_classes = num_classes
        self.names = tuple(spaces.to_names(space, architecture))
        self.stem = Stem(space, channels, rng=rng)
        self.blocks: nnx.List[Block] = nnx.List()
        layers = derived.layers(space, architecture, skip)
        for layer in layers:
            self.blocks.append(layer.choice.build(layer.shape, space.style, rng))
        self.head = Head(space, layers[-1].shape.c_out, num_classes, dropout, rng=rng)

    def __call__(
        self,
        images: jax.Array,
        norm: BatchStatistics | None = None,
        dropout_keys: jax.Array | None = None,
        features: bool = False,
    ) -> Any:
        """Runs the network.

        Args:
          images: float `[B, H, W, C]`, normalised.
          norm: by which statistics batch norm normalises; None: running ones.
          dropout_keys: one key an image, `key[B]`, in training with dropout.
          features: whether to return the feature map after every layer as well.

        Returns:
          Logits `float32[B, classes]`; with `features` also a list of L arrays `[B, H, W, C]`.
        """
        x = self.stem(images.astype(self.dtype), norm)
        maps: list[jax.Array] = []
        for block in self.blocks:
            x = block(x, norm)
            maps.append(x)
        logits = self.head(x, norm, dropout_keys)
        return (logits, maps) if features else logits

    def export(self, ops: Operations[X], x: X) -> X:
        """The logits by running statistics, in the operations that every runtime has.

        Of a network with identities or folded skips.
        """
        x = self.stem.export(ops, x)
        for block in self.blocks:
            x = block.export(ops, x)
        return self.head.export(ops, x)


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
    params, stats = ({**tree} for tree in (supernet.params, supernet.stats))
    for tree in (params, stats):
        blocks = _blocks_on_path(plan, tree.pop("stages"), path)
        tree["blocks"] = {layer: block for layer, block in enumerate(blocks) if block}
    return functional.Network(functional.split(shell).graphdef, params, stats)


def freeze(network: functional.Network, modules: Sequence[str]) -> functional.Network:
    """The network with batch norm that keeps to its running statistics in some modules.

    Args:
      network: a stand-alone one.
      modules: such as `stem`, `blocks.3` or `head.bn`.
    """
    module: Subnet = nnx.merge(*network)
    for path, part in nnx.iter_modules(module):
        if isinstance(part, BatchNorm) and tensors.is_inside(".".join(map(str, path)), modules):
            part.frozen = True
    return network._replace(graphdef=functional.split(module).graphdef)


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
    skip, path = derived.FOLDED[module.skip], spaces.parse(space, ",".join(module.names))
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
    before, after = (derived.layers(space, path, kind) for kind in (module.skip, skip))
    runs = derived.folds(after)
    params = functional.flatten(network.params)
    for run in runs:
        for layer in run.skips:
            params.pop(("blocks", layer, "kernel"), None)
        matrix = _product([_matrix(module.blocks[i], before[i]) for i in run.skips])  # [C, D]
        into: KeyPath = ("head",) if run.into is None else ("blocks", run.into)
        first = "convolution" if run.into is None else after[run.into].choice.first
        kernel_at = (*into, first, "kernel")
        kernel = np.asarray(params[kernel_at], np.float64)  # [..., D, E]
        params[kernel_at] = jnp.asarray(matrix @ kernel, jnp.float32)  # [..., C, E]
        if run.on_shortcut and skip == "folded":
            params[*into, "shortcut", "kernel"] = jnp.asarray(matrix, jnp.float32)
    return Folded(
        functional.Network(
            functional.split(shell).graphdef, functional.unflatten(params), network.stats
        ),
        runs,
        cost.of_network(space, path, module.skip, size),
        cost.of_network(space, path, skip, size),
    )


def _matrix(block: Block, layer: derived.Layer) -> NDArray[np.float64]:
    """What a skip of a path multiplies the channels with, `[C, D]`."""
    if isinstance(block, Stabilizer):
        return np.asarray(block.kernel[...], np.float64)
    return np.eye(layer.shape.c_in, layer.shape.c_out)


def _product(matrices: list[NDArray[np.float64]]) -> NDArray[np.float64]:
    return matrices[0] if len(matrices) == 1 else np.linalg.multi_dot(matrices)


def _blocks_on_path(plan: Plan, stages: list[Params], path: Array) -> list[Params]:
    """The arrays of each layer's block, cropped to their own shapes."""
    blocks = []
    for stage, arrays in zip(plan.stages, stages, strict=True):
        for number, layer in enumerate(stage.layers):
            block: dict[KeyPath, jax.Array] = {}
            for bundle in stage.bundles:
                index = bundle.index[path[layer]]
                for leaf, array in bundle.arrays(arrays) if index >= 0 else ():
                    block[leaf.names] = crop(array[number, index], leaf.shapes[index])
            blocks.append(functional.unflatten(block))
    return blocks
