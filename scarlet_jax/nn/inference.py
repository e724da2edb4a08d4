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
from scarlet_jax.nn.layers import (
    mean_and_variance,
    pointwise,
    scale_and_shift,
    shares,
    slope_and_offset,
    weighted_moments,
)
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
    batch, has_se = chosen.batch, banks.has_gates(bank)
    pieces = x.reshape(-1, images, *x.shape[1:])  # [N, B, H, W, D]
    count, size = len(pieces), banks.output_size(bank, x.shape[1:3])
    width, out = banks.projection(bank)
    ways = [partial(banks.convolve, bank.stride, kernel) for kernel in bank.kernels]
    bn3 = stacks.unpack(bank.params, params, "shared")["bn3"]
    used: Any = None if batch is None else batch.used
    if batch is not None:
        share = shares(batch).reshape(count, images)
    # Pieces that take a step together: all of them or one.
    together: Any = 1 if batch is None or count == 1 else jnp.where(used, count, 1)

    def norm_of(bn: Any, running: jax.Array, piece: Callable[[Any], jax.Array]) -> Any:
        """What normalises maps that come in pieces, and their moments."""
        if batch is None:
            return running, None
        zeros, needed = jnp.zeros(running.shape), jnp.where(used, count, 0)
        means = lax.fori_loop(
            0, needed, lambda j, sums: sums + weighted_moments(piece(j), share[j]), zeros
        )
        found = slope_and_offset(bn["scale"], bn["bias"], *mean_and_variance(means))
        return jnp.where(used, found, running), means

    def run(group: Any, carry: Any) -> Any:
        y, room, norms, means, _ = carry
        first_piece = group * together

        def each(body: Body, carry: Any) -> Any:
            return _loop(first_piece, together, body, carry)

        def widen(i: jax.Array, carry: Any) -> Any:
            room, norms, means = carry
            part = stacks.unpack(bank.params, params, "part", i)

            def expand(j: Any) -> jax.Array:
                return pointwise(pieces[j], part["expand"]["kernel"].astype(x.dtype))

            first, first_means = norm_of(part["bn1"], norms[i, 0], expand)
            taps = part["depthwise"]["kernel"]

            def convolve(j: Any, room: jax.Array) -> jax.Array:
                convolved = lax.switch(chosen.kernel_index, ways, expand(j), first, taps)
                return _write(room, convolved, i, j - first_piece)

            room = each(convolve, room)
            second, second_means = norm_of(part["bn2"], norms[i, 1], lambda j: _read(room, i, j))
            if batch is not None:
                norms = _write(norms, jnp.stack([first, second]), i)
                means = _write(means, jnp.stack([first_means, second_means]), i)
            return room, norms, means

        room, norms, means = lax.fori_loop(0, chosen.parts, widen, (room, norms, means))

        def narrow(j: Any, y: jax.Array) -> jax.Array:
            def activated(i: jax.Array) -> jax.Array:
                return banks.activate(_read(room, i, j - first_piece), norms[i, 1])

            def pool(i: jax.Array, pooled: jax.Array) -> jax.Array:
                mean = banks.sum_of_pixels(activated(i)) / (size[0] * size[1])
                return lax.dynamic_update_index_in_dim(pooled, mean, i, 1)

            def gates() -> jax.Array:
                pooled = lax.fori_loop(0, chosen.parts, pool, jnp.zeros(no_gates.shape))
                se = stacks.unpack(bank.params, params, "se")["se"]
                return banks.se_gates(se, pooled, x.dtype)

            if has_se:
                no_gates = jnp.ones((images, bank.parts, width), x.dtype)
                gate = lax.cond(chosen.use_se, gates, lambda: no_gates)

            def add(i: jax.Array, total: jax.Array) -> jax.Array:
                part = stacks.unpack(bank.params, params, "part", i)
                own = activated(i) * gate[:, i, None, None] if has_se else activated(i)
                return total + banks.product(own, part["project"]["kernel"])

            total = lax.fori_loop(0, chosen.parts, add, jnp.zeros((images, *size, out)))
            return _write(y, total.astype(x.dtype), j)

        y = each(narrow, y)
        last, last_means = norm_of(bn3, running_last, lambda j: y[j])

        def finish(j: Any, y: jax.Array) -> jax.Array:
            own = scale_and_shift(y[j], last)
            return _write(y, own + pieces[j] if bank.residual else own, j)

        return each(finish, y), room, norms, means, last_means

    running_last = banks.running_norm(bn3, stacks.unpack(bank.stats, chosen.stats, "shared")["bn3"])
    y = lax.empty((count, images, *size, out), x.dtype)
    room = lax.empty((bank.parts, count, images, *size, width), x.dtype)
    means, last_means = (
        (None, None)
        if batch is None
        else (jnp.zeros((bank.parts, 2, 2, width)), jnp.zeros((2, out)))
    )
    carry = (y, room, banks.running_norms(bank, params, chosen.stats), means, last_means)
    y, _, _, means, last_means = _loop(0, count // together, run, carry)
    stats = None
    if batch is not None:
        stats = banks.moved(bank, means[:, 0], means[:, 1], last_means, chosen.stats, batch.rate)
    return y.reshape(len(x), *size, out), stats, ()


def _loop(start: Any, count: Any, body: Body, carry: Any) -> Any:
    """`lax.fori_loop` of so many rounds, without a loop for what is known to be one."""
    if isinstance(count, int) and count == 1:
        return body(start, carry)
    return lax.fori_loop(start, start + count, body, carry)


def _read(stacked: jax.Array, i: Any, j: Any) -> jax.Array:
    """`stacked[i, j]`, in range."""
    sizes = (1, 1, *stacked.shape[2:])
    start = (i, j, *(0 for _ in sizes[2:]))
    return lax.dynamic_slice(stacked, start, sizes, allow_negative_indices=False)[0, 0]


def _write(stacked: jax.Array, value: jax.Array, *index: Any) -> jax.Array:
    """`stacked.at[index].set(value)`, in range."""
    lead = (1,) * len(index)
    start = (*index, *(0 for _ in value.shape))
    return lax.dynamic_update_slice(
        stacked, value.reshape(*lead, *value.shape), start, allow_negative_indices=False
    )
