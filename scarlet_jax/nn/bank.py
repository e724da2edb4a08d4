"""All blocks of a layer as one: what a supernet runs in place of `blocks.InvertedBottleneck`.

A block of expansion 6 is two of expansion 3 side by side: its expanded channels come in parts
of equal width, and only SE and the sum after the projection see more than one of them. So a
layer compiles a part once, and loops over as many parts as the choice has: half the program of
a switch between expansions, and nothing as wide as the widest block. The kernel size is a switch
inside the loop.

The gradient is written out: SE's gate must have the gradient of all parts before any part can
go on, and what a part expands to is computed again, which costs less than to keep it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from scarlet_jax import stacks
from scarlet_jax.nn.convolution import depthwise
from scarlet_jax.nn.layers import (
    EPSILON,
    BatchStatistics,
    crop,
    mean_and_variance,
    moments,
    move,
    pointwise,
    scale_and_shift,
    slope_and_offset,
    squeezed,
    with_border,
)
from scarlet_jax.nn.switch import Way
from scarlet_jax.stacks import Layout, Rows


@dataclass(frozen=True)
class Bank:
    """The blocks of a layer, without their arrays.

    Attributes:
      stride: of the depthwise convolution.
      residual: whether a block adds its input.
      kernels: sizes, ascending; `Chosen.kernel_index` counts in them.
      parts: of the widest expansion, M below; a part has C channels.
      params, stats: where arrays lie in a path's rows.
    """

    stride: int
    residual: bool
    kernels: tuple[int, ...]
    parts: int
    params: Layout
    stats: Layout


class Chosen(NamedTuple):
    """What a bank's block is run with.

    Attributes:
      stats: rows of its running statistics.
      batch: how batch norm sees the batch; None for running statistics.
      parts: `int32[]`, of its expansion.
      kernel_index: `int32[]`.
      use_se: `int32[]`, 0 or 1.
    """

    stats: Rows
    batch: BatchStatistics | None
    parts: jax.Array
    kernel_index: jax.Array
    use_se: jax.Array


class Kept(NamedTuple):
    """What the backward pass needs: outputs of convolutions, and what normalises them.

    Attributes:
      convolved: `[M, B, H, W, C]`, outputs of the depthwise convolution by part.
      pooled: `float32[B, M, C]`, SE's inputs, or None in a space without.
      projected: `[B, H, W, D]`.
      norms: `float32[M, 4, 2, C]`, see `layers.slope_and_offset`: of what is expanded, of what is
        convolved, and moments of both.
      last: `float32[2, 2, D]`, the same of what is projected.
    """

    convolved: jax.Array
    pooled: jax.Array | None
    projected: jax.Array
    norms: jax.Array
    last: jax.Array


def way(bank: Bank) -> Way:
    """Its blocks, for `nn.switch`: operands are rows of parameters, and x; fixed is `Chosen`.

    They have a gradient, and need the statistics of a batch; `nn.inference` has neither.
    """
    return Way(partial(_forward, bank), partial(_backward, bank))


def output_size(bank: Bank, size: Sequence[int]) -> tuple[int, ...]:
    """Height and width after the stride, padded as `nn.convolution` does."""
    return tuple(-(-n // bank.stride) for n in size)


def _forward(bank: Bank, operands: tuple[Rows, jax.Array], chosen: Chosen) -> Any:
    params, x = operands
    batch: Any = chosen.batch
    has_se = has_gates(bank)
    images, size, (width, out) = len(x), output_size(bank, x.shape[1:3]), projection(bank)
    ways = [partial(convolve, bank.stride, kernel) for kernel in bank.kernels]

    def widen(i: jax.Array, carry: Any) -> Any:
        room, norms, pooled = carry
        part = stacks.unpack(bank.params, params, "part", i)
        expanded = pointwise(x, part["expand"]["kernel"].astype(x.dtype))
        first, first_means = _norm(part["bn1"], expanded, batch)
        taps = part["depthwise"]["kernel"]
        convolved = lax.switch(chosen.kernel_index, ways, expanded, first, taps)
        second, second_means = _norm(part["bn2"], convolved, batch)
        if has_se:

            def pool() -> jax.Array:
                mean = sum_of_pixels(activate(convolved, second)) / (size[0] * size[1])
                return _put(pooled, i, mean, 1)

            pooled = lax.cond(chosen.use_se, pool, lambda: pooled)
        norms = _put(norms, i, jnp.stack([first, second, first_means, second_means]))
        return _put(room, i, convolved), norms, pooled

    room = lax.empty((bank.parts, images, *size, width), x.dtype)
    pooled = jnp.zeros((images, bank.parts, width)) if has_se else None
    carry = (room, jnp.zeros((bank.parts, 4, 2, width)), pooled)
    convolved, norms, pooled = lax.fori_loop(0, chosen.parts, widen, carry)
    if has_se:
        gates = lax.cond(
            chosen.use_se,
            lambda: se_gates(
                stacks.unpack(bank.params, params, "se", parts=chosen.parts)["se"], pooled, x.dtype
            ),
            lambda: jnp.ones(pooled.shape, x.dtype),
        )

    def narrow(i: jax.Array, total: jax.Array) -> jax.Array:
        part = stacks.unpack(bank.params, params, "part", i)
        activated = activate(convolved[i], norms[i, 1])
        if has_se:
            activated = activated * gates[:, i, None, None]
        return total + product(activated, part["project"]["kernel"])

    total = jnp.zeros((images, *size, out))
    projected = lax.fori_loop(0, chosen.parts, narrow, total).astype(x.dtype)
    bn3 = stacks.unpack(bank.params, params, "shared")["bn3"]
    last = jnp.stack(_norm(bn3, projected, batch))
    y = scale_and_shift(projected, last[0])
    kept = Kept(convolved, pooled, projected, norms, last)
    stats = _moved(bank, kept, chosen.stats, batch.rate)
    return y + x if bank.residual else y, stats, kept


def _backward(
    bank: Bank, operands: tuple[Rows, jax.Array], chosen: Chosen, kept: Kept, cotangent: jax.Array
) -> tuple[Rows, jax.Array]:
    params, x = operands
    batch: Any = chosen.batch
    has_se = has_gates(bank)
    rows = jax.tree.map(jnp.zeros_like, params)
    bn3 = stacks.unpack(bank.params, params, "shared")["bn3"]
    pulled, bn3 = _pull_norm(bn3, kept.last, kept.projected, batch, cotangent)
    rows = stacks.repack(bank.params, rows, "shared", {"bn3": bn3})
    if has_se:

        def pull_gates(se: Any, pooled: jax.Array) -> Any:
            gates, pull = jax.vjp(partial(se_gates, dtype=x.dtype), se, pooled)

            def of_gate(i: jax.Array, cotangents: jax.Array) -> jax.Array:
                project = stacks.unpack(bank.params, params, "part", i)["project"]["kernel"]
                pull = product(pulled, project, transposed=True)
                pull = pull * activate(kept.convolved[i], kept.norms[i, 1])
                return _put(cotangents, i, sum_of_pixels(pull).astype(gates.dtype), 1)

            zeros = jnp.zeros_like(gates)
            return gates, *pull(lax.fori_loop(0, chosen.parts, of_gate, zeros))

        def no_gates(se: Any, pooled: jax.Array) -> Any:
            return jnp.ones(pooled.shape, x.dtype), *jax.tree.map(jnp.zeros_like, (se, pooled))

        se = stacks.unpack(bank.params, params, "se", parts=chosen.parts)["se"]
        gates, se, pooled = lax.cond(chosen.use_se, pull_gates, no_gates, se, kept.pooled)
        rows = stacks.repack(bank.params, rows, "se", {"se": se}, parts=chosen.parts)
    ways = [partial(_pull_convolve, bank.stride, kernel) for kernel in bank.kernels]

    def widen_back(i: jax.Array, carry: Any) -> Any:
        total, rows = carry
        part = stacks.unpack(bank.params, params, "part", i)
        convolved, (first, second, first_means, second_means) = kept.convolved[i], kept.norms[i]
        pull = product(pulled, part["project"]["kernel"], transposed=True)
        activated = activate(convolved, second)
        if has_se:
            gate, pixels = gates[:, i, None, None], convolved[0, ..., 0].size
            pull, activated = pull * gate + pooled[:, i, None, None] / pixels, activated * gate
        normalised = scale_and_shift(convolved, second)
        (pull,) = jax.vjp(jax.nn.hard_swish, normalised)[1](pull.astype(x.dtype))
        pull, bn2 = _pull_norm(part["bn2"], (second, second_means), convolved, batch, pull)

        expanded = pointwise(x, part["expand"]["kernel"].astype(x.dtype))
        taps = part["depthwise"]["kernel"]
        pull, taps = lax.switch(chosen.kernel_index, ways, expanded, first, taps, pull)
        pull, bn1 = _pull_norm(part["bn1"], (first, first_means), expanded, batch, pull)
        gradients = {
            "expand": {"kernel": _product_of_pixels(x, pull)},
            "bn1": bn1,
            "depthwise": {"kernel": taps},
            "bn2": bn2,
            "project": {"kernel": _product_of_pixels(activated, pulled)},
        }
        total = total + product(pull, part["expand"]["kernel"], transposed=True)
        return total, stacks.repack(bank.params, rows, "part", gradients, i)

    start = cotangent.astype(jnp.float32) if bank.residual else jnp.zeros(x.shape)
    total, rows = lax.fori_loop(0, chosen.parts, widen_back, (start, rows))
    return rows, total.astype(x.dtype)


def projection(bank: Bank) -> tuple[int, ...]:
    """Channels of a part, and of the output."""
    (shape,) = [p.shape for p in bank.params.places if p.path == ("part", "project", "kernel")]
    return shape


def has_gates(bank: Bank) -> bool:
    return any(section.group == "se" for section in bank.params.sections)


def _put(stacked: jax.Array, i: jax.Array, value: jax.Array, axis: int = 0) -> jax.Array:
    return lax.dynamic_update_index_in_dim(stacked, value, i, axis, allow_negative_indices=False)


def activate(x: jax.Array, norm: jax.Array) -> jax.Array:
    return jax.nn.hard_swish(scale_and_shift(x, norm))


def se_gates(se: Any, pooled: jax.Array, dtype: Any) -> jax.Array:
    """What SE multiplies each channel by, `[B, M, C]`; see `layers.SqueezeExcite`.

    Squeezed channels beyond a block's have zeros for weights, which ReLU keeps at zero.
    """
    squeeze, excite = (
        jax.tree.map(lambda a: a.astype(dtype), se[k]) for k in ("squeeze", "excite")
    )
    images, parts, width = pooled.shape
    flat = pooled.astype(dtype).reshape(images, parts * width)
    squeezed = flat @ squeeze["kernel"].reshape(parts * width, -1)
    squeezed = jax.nn.relu(squeezed + squeeze["bias"].reshape(-1))
    excited = jnp.einsum("bu,muc->bmc", squeezed, excite["kernel"])
    return jax.nn.hard_sigmoid(excited + excite["bias"])


def sum_of_pixels(x: jax.Array) -> jax.Array:
    """`float32[B, C]` of `[B, H, W, C]`; XLA's CPU backend is 4 times faster as a product."""

    def product_with_ones(x: jax.Array) -> jax.Array:
        flat = x.reshape(len(x), -1, x.shape[-1])
        ones = jnp.ones((len(x), 1, flat.shape[1]), x.dtype)
        sums = (((2,), (1,)), ((0,), (0,)))
        return lax.dot_general(ones, flat, sums, preferred_element_type=jnp.float32)[:, 0]

    return lax.platform_dependent(
        x, cpu=product_with_ones, default=lambda x: x.astype(jnp.float32).sum((1, 2))
    )


def _norm(params: Any, x: jax.Array, batch: BatchStatistics) -> list[jax.Array]:
    """What normalises x by its batch, `float32[2, C]`, and its moments."""
    means = moments(x, batch)
    return [slope_and_offset(params["scale"], params["bias"], *mean_and_variance(means)), means]


def _pull_norm(
    params: Any, norm_and_means: Any, x: jax.Array, batch: BatchStatistics, cotangent: jax.Array
) -> tuple[jax.Array, Any]:
    """Gradients of x and of the parameters, through `_norm` and what it normalises.

    Written out: of tiny arrays, whose every operation would be a kernel of its own.
    """
    norm, means = norm_and_means
    pulled, (slope, offset) = jax.vjp(scale_and_shift, x, norm)[1](cotangent)
    mean, var = mean_and_variance(means)
    slope = slope - mean * offset
    inverse = lax.rsqrt(var + EPSILON)
    of_var = -0.5 * slope * norm[0] * inverse * inverse
    of_means = jnp.stack([-norm[0] * offset - 2 * mean * of_var, of_var])
    pulled = pulled + jax.vjp(lambda x: moments(x, batch), x)[1](of_means)[0]
    return pulled, {"scale": slope * inverse, "bias": offset}


def _activate_and_convolve(
    stride: int, kernel: int, normalised: jax.Array, taps: jax.Array
) -> jax.Array:
    own = crop(taps, kernel).astype(normalised.dtype)
    return depthwise(jax.nn.hard_swish(normalised), own, stride)


def convolve(
    stride: int, kernel: int, expanded: jax.Array, norm: jax.Array, taps: jax.Array
) -> jax.Array:
    """Normalises and activates here, in one pass with the padding."""
    return _activate_and_convolve(stride, kernel, scale_and_shift(expanded, norm), taps)


def _pull_convolve(
    stride: int,
    kernel: int,
    expanded: jax.Array,
    norm: jax.Array,
    taps: jax.Array,
    cotangent: jax.Array,
) -> Any:
    """Gradients of the normalised and of the taps."""
    run = partial(_activate_and_convolve, stride, kernel)
    return jax.vjp(run, scale_and_shift(expanded, norm), taps)[1](cotangent)


def product(x: jax.Array, kernel: jax.Array, transposed: bool = False) -> jax.Array:
    """`float32[B, H, W, D]`, so that parts add up as exactly as in one product."""
    flat = lax.dot_general(
        x.reshape(-1, x.shape[-1]),
        kernel.astype(x.dtype),
        (((1,), (int(transposed),)), ((), ())),
        preferred_element_type=jnp.float32,
    )
    return flat.reshape(*x.shape[:3], -1)


def _product_of_pixels(x: jax.Array, y: jax.Array) -> jax.Array:
    """`float32[C, D]`, summed over all pixels of all images."""
    left, right = (a.reshape(-1, a.shape[-1]) for a in (x, y))
    pixels = (((0,), (0,)), ((), ()))
    return lax.dot_general(left, right, pixels, preferred_element_type=jnp.float32)


def _moved(bank: Bank, kept: Kept, stats: Rows, rate: Any) -> Rows:
    """Rows of the running statistics after the batch."""

    def named(means: jax.Array) -> dict[str, jax.Array]:
        return dict(zip(("mean", "var"), mean_and_variance(means), strict=True))

    first, second = (jax.vmap(named)(kept.norms[:, i]) for i in (2, 3))
    rows = stacks.repack(bank.stats, stats, "part", {"bn1": first, "bn2": second})
    rows = stacks.repack(bank.stats, rows, "shared", {"bn3": named(kept.last[1])})
    return jax.tree.map(lambda *pair: move(*pair, rate), stats, rows)


def to_parts(tree: Any, parts: int, most: int, kernel: int) -> dict[str, Any]:
    """Arrays of blocks, as a bank keeps them: by group, expanded channels in parts.

    Args:
      tree: of an `InvertedBottleneck` of many, `[repeats, choices, ...]`.
      parts: of its expansion.
      most: parts of the widest expansion; SE's arrays have room for its squeezed channels.
      kernel: the largest, for which taps have room.

    Returns:
      `{"shared": ..., "part": ..., "se": ...}`, the last two of arrays
      `[repeats, choices, parts, ...]`.
    """

    def split(keypath: Any, array: np.ndarray) -> np.ndarray:
        path = tuple(key.key for key in keypath)
        if path[0] == "bn3":
            return array
        if path[0] == "se":
            units = squeezed(tree["se"]["excite"]["bias"].shape[-1] // parts)
            array = _with_room(path, array, parts * units, most * units)
        if path[0] == "depthwise":
            array = with_border(array, kernel)
        axis = array.ndim + _hidden_axis(path)
        shape = (*array.shape[:axis], parts, -1, *array.shape[axis + 1 :])
        return np.moveaxis(array.reshape(shape), axis, 2)

    arrays = jax.tree_util.tree_map_with_path(split, tree)
    own = {"shared": {"bn3": arrays.pop("bn3")}}
    if "se" in arrays:
        own["se"] = {"se": arrays.pop("se")}
    return own | {"part": arrays}


def from_parts(path: tuple[str, ...], array: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """An array of a bank's block, `[M, ...]` if it has parts, as the block alone has it."""
    if path[0] == "bn3":
        return array
    axis = _hidden_axis(path)
    whole = list(array.shape[1:])
    whole[axis] *= len(array)
    joined = jnp.moveaxis(array, 0, axis - 1).reshape(whole)
    if path[0] == "depthwise":
        joined = crop(joined, shape[0])
    return joined[tuple(map(slice, shape))]


def _hidden_axis(path: tuple[str, ...]) -> int:
    """Where the expanded channels are in a block's array (the squeezed ones in a bias of SE)."""
    return -2 if path[-2:] in (("project", "kernel"), ("squeeze", "kernel")) else -1


def _with_room(path: tuple[str, ...], array: np.ndarray, own: int, most: int) -> np.ndarray:
    """Zeros for squeezed channels that a block has not: of its own parts, of the most parts."""
    borders = [(0, 0)] * array.ndim
    if path[-2:] == ("squeeze", "bias"):
        borders[-1] = (0, own - array.shape[-1])
    elif path[-2:] == ("squeeze", "kernel"):
        borders[-1] = (0, most - array.shape[-1])
    elif path[-2:] == ("excite", "kernel"):
        borders[-2] = (0, most - array.shape[-2])
    return np.pad(array, borders)
