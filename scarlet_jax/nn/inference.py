"""A bank's blocks where no gradient is asked for: a few images at a time.

With running statistics, a few images go through the whole block while they are in cache. By
statistics of the batch, all of them must reach a norm before any goes on: then they take each
step together, still a few at a time. One program does both, as `BatchStatistics.used` says.
What a part expands to is computed again after its moments, rather than kept.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from scarlet_jax import stacks
from scarlet_jax.nn import bank as banks
from scarlet_jax.nn.bank import Bank, Chosen
from scarlet_jax.nn.layers import norm_and_statistics, pointwise, scale_and_shift, weighted_moments
from scarlet_jax.nn.switch import Way

Body = Callable[[Any, Any], Any]


def way(bank: Bank, images: int) -> Way:
    """`bank.way`, so many images at a time, a divisor of the batch; it refuses a gradient."""
    return Way(partial(_forward, bank, images), _refuse)


def _refuse(*_: Any) -> Any:
    raise ValueError(
        "a bank has a gradient with statistics of a batch alone, not with running ones"
    )


def _forward(bank: Bank, images: int, operands: Any, chosen: Chosen) -> Any:
    params, x = operands
    batch: Any = chosen.batch
    pieces = x.reshape(-1, images, *x.shape[1:])  # [N, B, H, W, D]
    count, size = len(pieces), banks.output_size(bank, x.shape[1:3])
    width, out = banks.projection(bank)
    ways = [partial(banks.convolve, bank.stride, kernel) for kernel in bank.kernels]
    used = False if batch is None else batch.used
    share: Any = None if batch is None else batch.share.reshape(count, images)
    # Pieces that take a step together: all of them or one.
    together: Any = 1 if batch is None or count == 1 else jnp.where(used, count, 1)

    def no_sums(channels: int) -> jax.Array | None:
        return None if batch is None else jnp.zeros((2, channels))

    def add_moments(sums: Any, j: Any, piece: jax.Array) -> Any:
        if share is None:
            return None
        return lax.cond(used, lambda: sums + weighted_moments(piece, read(share, j)), lambda: sums)

    def run(group: Any, carry: Any) -> Any:
        y, room, norms, rows = carry
        first_piece = group * together

        def each(body: Body, carry: Any) -> Any:
            return _loop(first_piece, together, body, carry)

        def widen(i: jax.Array, carry: Any) -> Any:
            room, norms, rows = carry
            part = stacks.unpack(bank.params, params, "part", i)
            running = stacks.unpack(bank.stats, chosen.stats, "part", i)
            taps, sums = part["depthwise"]["kernel"], no_sums(width)

            def expand(j: Any) -> jax.Array:
                return pointwise(read(pieces, j), part["expand"]["kernel"].astype(x.dtype))

            def look(j: Any, sums: jax.Array) -> jax.Array:
                return sums + weighted_moments(expand(j), read(share, j))

            def convolve(j: Any, carry: Any) -> Any:
                room, sums = carry
                convolved = lax.switch(chosen.kernel_index, ways, expand(j), first, taps)
                sums = add_moments(sums, j, convolved)
                return write(room, convolved, i, j - first_piece), sums

            if share is not None:
                sums = lax.fori_loop(0, jnp.where(used, count, 0), look, sums)
            first, bn1 = norm_and_statistics(part["bn1"], running["bn1"], sums, batch)
            room, sums = each(convolve, (room, no_sums(width)))
            second, bn2 = norm_and_statistics(part["bn2"], running["bn2"], sums, batch)
            if batch is not None:
                rows = stacks.repack(bank.stats, rows, "part", {"bn1": bn1, "bn2": bn2}, i)
            return room, write(norms, second, i), rows

        room, norms, rows = lax.fori_loop(0, chosen.parts, widen, (room, norms, rows))

        def narrow(j: Any, carry: Any) -> Any:
            y, sums = carry

            def activated(i: jax.Array) -> jax.Array:
                return banks.activate(read(room, i, j - first_piece), read(norms, i))

            shape = (images, *size)
            projected = _project(bank, params, chosen, activated, shape, x.dtype).astype(x.dtype)
            return write(y, projected, j), add_moments(sums, j, projected)

        y, sums = each(narrow, (y, no_sums(out)))
        bn3 = stacks.unpack(bank.params, params, "shared")["bn3"]
        running = stacks.unpack(bank.stats, chosen.stats, "shared")["bn3"]
        last, bn3 = norm_and_statistics(bn3, running, sums, batch)
        if batch is not None:
            rows = stacks.repack(bank.stats, rows, "shared", {"bn3": bn3})

        def finish(j: Any, y: jax.Array) -> jax.Array:
            own = scale_and_shift(read(y, j), last)
            return write(y, own + read(pieces, j) if bank.residual else own, j)

        return each(finish, y), room, norms, rows

    y = lax.empty((count, images, *size, out), x.dtype)
    room = lax.empty((bank.parts, count, images, *size, width), x.dtype)
    rows = None if batch is None else chosen.stats
    carry = (y, room, jnp.zeros((bank.parts, 2, width)), rows)
    y, _, _, rows = _loop(0, count // together, run, carry)
    return y.reshape(len(x), *size, out), rows, ()


def _project(
    bank: Bank,
    params: Any,
    chosen: Chosen,
    activated: Callable[[Any], jax.Array],
    shape: tuple[int, ...],
    dtype: Any,
) -> jax.Array:
    """The sum over parts, through SE's gates and the projection, `float32[B, H, W, D]`.

    Args:
      activated: what is convolved of a part, normalised and activated, `[B, H, W, C]`.
      shape, dtype: `(B, H, W)`, and of the maps.
    """
    images, *size = shape
    width, out = banks.projection(bank)
    has_se = banks.has_gates(bank)

    def pool(i: jax.Array, pooled: jax.Array) -> jax.Array:
        mean = banks.sum_of_pixels(activated(i)) / (size[0] * size[1])
        return lax.dynamic_update_index_in_dim(pooled, mean, i, 1)

    def gates() -> jax.Array:
        pooled = lax.fori_loop(0, chosen.parts, pool, jnp.zeros(no_gates.shape))
        return banks.se_gates(
            stacks.unpack(bank.params, params, "se", parts=chosen.parts)["se"], pooled, dtype
        )

    if has_se:
        no_gates = jnp.ones((images, bank.parts, width), dtype)
        gate = lax.cond(chosen.use_se, gates, lambda: no_gates)

    def add(i: jax.Array, total: jax.Array) -> jax.Array:
        part = stacks.unpack(bank.params, params, "part", i)
        own = activated(i) * gate[:, i, None, None] if has_se else activated(i)
        return total + banks.product(own, part["project"]["kernel"])

    return lax.fori_loop(0, chosen.parts, add, jnp.zeros((*shape, out)))


def _loop(start: Any, count: Any, body: Body, carry: Any) -> Any:
    """`lax.fori_loop` of so many rounds, without a loop for what is known to be one."""
    if isinstance(count, int) and count == 1:
        return body(start, carry)
    return lax.fori_loop(start, start + count, body, carry)


def read(stacked: jax.Array, *index: Any) -> jax.Array:
    """`stacked[index]`, in range, without the checks of plain indexing."""
    shape = stacked.shape[len(index) :]
    start, sizes = (*index, *(0 for _ in shape)), (*(1 for _ in index), *shape)
    piece = lax.dynamic_slice(stacked, start, sizes, allow_negative_indices=False)
    return piece.reshape(shape)


def write(stacked: jax.Array, value: jax.Array, *index: Any) -> jax.Array:
    """`stacked.at[index].set(value)`, in range."""
    lead = (1,) * len(index)
    start = (*index, *(0 for _ in value.shape))
    return lax.dynamic_update_slice(
        stacked, value.reshape(*lead, *value.shape), start, allow_negative_indices=False
    )
