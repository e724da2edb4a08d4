"""Eight simulated devices, a tiny space, and what is compiled once for all tests."""

import os

os.environ["XLA_FLAGS"] = (
    os.environ.get("XLA_FLAGS", "")
    +
    # Compile time dominates; results do not depend on how well the code is optimised.
    " --xla_force_host_platform_device_count=8 --xla_backend_optimization_level=0"
)
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["JAX_COMPILATION_CACHE_DIR"] = ""  # the user's own stays as it is
os.environ["OPENBLAS_NUM_THREADS"] = "1"  # two test processes: threads wait for busy cores

from collections.abc import Callable, Iterator
from typing import Any

import hypothesis
import jax
import numpy as np
import pytest
from stacked import by_choice

from scarlet_jax import space as spaces
from scarlet_jax import supernet
from scarlet_jax.nn import functional
from scarlet_jax.nn.layers import BatchStatistics
from scarlet_jax.space import Space

hypothesis.settings.register_profile("shared-machine", deadline=None)
hypothesis.settings.load_profile("shared-machine")


@pytest.fixture(scope="session")
def tiny() -> Space:
    """A widening layer of stride 2, and two equal ones, which are scanned over."""
    return spaces.make_space(
        name="tiny",
        widths=(12, 12, 12),
        strides=(2, 1, 1),
        expansions=(2, 3),
        kernels=(3, 5),
        se=(False, True),
        stem_width=8,
        separable_width=8,
        head_width=16,
    )


def randomised(network: functional.Network, seed: int = 0) -> functional.Network:
    """The network with statistics, scales and biases that are not trivial."""
    rng = np.random.default_rng(seed)

    def noisy(keypath: Any, leaf: jax.Array) -> jax.Array:
        noise = rng.uniform(0.1, 0.4, leaf.shape).astype(np.float32)
        part, *names = (getattr(key, "key", None) for key in keypath)
        if part == "stages" and names[-1] == "kernel":  # room that is not used stays zero
            kernels, noises = (
                by_choice(network.graphdef, keypath[1].idx, {"kernel": array}, "kernel")
                for array in (leaf, noise)
            )
            for choice, own in noises.items():
                own[(kernels[choice] == 0) & (not choice.is_skip)] = 0
        return jax.numpy.asarray(leaf + noise)

    with_noise = jax.tree_util.tree_map_with_path
    return network._replace(
        params=with_noise(noisy, network.params), stats=with_noise(noisy, network.stats)
    )


def plausible(network: functional.Network, rng: np.random.Generator) -> functional.Network:
    """Weights and statistics that keep 19 layers in the range of floats, none of them trivial."""

    def draw(keypath: Any, leaf: jax.Array) -> np.ndarray:
        name = keypath[-1].key
        if name in ("scale", "var"):
            return rng.uniform(0.5, 1.5, leaf.shape).astype(np.float32)
        scale = 0.3 if leaf.ndim == 1 else (2 / np.prod(leaf.shape[:-1])) ** 0.5
        return (scale * rng.standard_normal(leaf.shape)).astype(np.float32)

    draw_all = jax.tree_util.tree_map_with_path
    return network._replace(
        params=draw_all(draw, network.params), stats=draw_all(draw, network.stats)
    )


@pytest.fixture(scope="session", params=supernet.STABILIZERS)
def tiny_supernet(request: pytest.FixtureRequest, tiny: Space) -> functional.Network:
    return randomised(supernet.create(tiny, num_classes=5, stabilizer=request.param))


@pytest.fixture(scope="session")
def forward(tiny_supernet: functional.Network) -> Callable[..., Any]:
    """`(params, stats, images, architecture) -> (logits, maps)`, running statistics."""
    return jax.jit(
        lambda params, stats, images, architecture: supernet.apply(
            tiny_supernet.graphdef, params, stats, images, architecture, None, True
        )[0]
    )


@pytest.fixture(scope="session")
def images() -> np.ndarray:
    """An odd size, so that strides and paddings show."""
    return np.random.default_rng(1).standard_normal((4, 11, 11, 3)).astype(np.float32)


@pytest.fixture(scope="session")
def path_gradient(tiny_supernet: functional.Network) -> Callable[..., Any]:
    """`(params, stats, images, architecture) -> ((loss, stats), gradients)`, batch statistics."""

    def loss(params: Any, stats: Any, images: Any, architecture: Any) -> Any:
        logits, stats = supernet.apply(
            tiny_supernet.graphdef,
            params,
            stats,
            images,
            architecture,
            BatchStatistics(rate=0.1),
        )
        return (logits * logits).mean(), stats

    return jax.jit(jax.value_and_grad(loss, has_aux=True))


@pytest.fixture
def compilations() -> Iterator[Callable[[], int]]:
    """How many programs have been compiled since."""
    names = []
    listener = lambda name, _, **__: names.append(name)  # noqa: E731
    jax.monitoring.register_event_duration_secs_listener(listener)
    yield lambda: names.count("/jax/core/compile/backend_compile_duration")
    jax.monitoring.unregister_event_duration_listener(listener)
