"""A network or block as the few operations that every runtime has, batch norm folded into them.

Its `export` says in which order; `blocks.base.Operations` carries them out: here on JAX arrays,
elsewhere as nodes of another format's graph.
"""

import jax
import jax.numpy as jnp
from jax import lax

from scarlet_jax.blocks.base import Exportable, Weights
from scarlet_jax.nn.convolution import depthwise, native, patches_times_kernel
from scarlet_jax.nn.layers import ACTIVATIONS, pointwise, subsample

EXPORTED = ACTIVATIONS | {"none": lambda x: x, "hard_sigmoid": jax.nn.hard_sigmoid}


def output_shape(module: Exportable, shape: tuple[int | None, ...]) -> tuple[int, ...]:
    """Of what comes out for inputs `[B, H, W, C]`, without the batch."""
    x = jax.ShapeDtypeStruct((1, *shape[1:]), jnp.float32)
    out: jax.ShapeDtypeStruct = jax.eval_shape(lambda x: module.export(Arrays(), x), x)
    return out.shape[1:]


class Arrays:
    """Carries the operations out on JAX arrays `float32[B, H, W, C]`.

    Each platform gets the convolutions that are fast on it.
    """

    def convolution(
        self, x: jax.Array, kernel: Weights, bias: Weights, stride: int, activation: str
    ) -> jax.Array:
        def on_cpu(x: jax.Array, kernel: jax.Array) -> jax.Array:
            if kernel.shape[0] == 1:
                return pointwise(subsample(x, stride), kernel[0, 0])
            return patches_times_kernel(x, kernel, stride)

        def elsewhere(x: jax.Array, kernel: jax.Array) -> jax.Array:
            return native(x, kernel, stride)

        x = lax.platform_dependent(x, jnp.asarray(kernel), cpu=on_cpu, default=elsewhere)
        return EXPORTED[activation](x + bias)

    def depthwise(
        self, x: jax.Array, kernel: Weights, bias: Weights, stride: int, activation: str
    ) -> jax.Array:
        return EXPORTED[activation](depthwise(x, jnp.asarray(kernel), stride) + bias)

    def subsample(self, x: jax.Array, stride: int) -> jax.Array:
        return subsample(x, stride)

    def mean(self, x: jax.Array) -> jax.Array:
        return x.mean((1, 2), keepdims=True)

    def multiply(self, x: jax.Array, gate: jax.Array) -> jax.Array:
        return x * gate

    def add(self, x: jax.Array, y: jax.Array) -> jax.Array:
        return x + y

    def classify(self, x: jax.Array, kernel: Weights, bias: Weights) -> jax.Array:
        return x[:, 0, 0] @ kernel + bias
