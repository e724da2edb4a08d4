"""Eight simulated devices, a tiny space, and what is compiled once for all tests."""

import os
import shutil
import signal
import tempfile

# Tests stop processes of theirs by Ctrl-C, which these ignore if tests run in the background.
signal.signal(signal.SIGINT, signal.default_int_handler)
os.environ["XLA_FLAGS"] = (
    os.environ.get("XLA_FLAGS", "")
    +
    # Compile time dominates; results do not depend on how well the code is optimised.
    " --xla_force_host_platform_device_count=8 --xla_backend_optimization_level=0"
)
os.environ["JAX_PLATFORMS"] = "cpu"
CACHE = tempfile.mkdtemp()
os.environ["XDG_CACHE_HOME"] = CACHE  # the user's own stays as it is
# Many jobs of these tests, in processes of their own too, run the same programs.
os.environ["JAX_COMPILATION_CACHE_DIR"] = os.path.join(CACHE, "programs")
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"
os.environ["OPENBLAS_NUM_THREADS"] = "1"  # two test processes: threads wait for busy cores

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import jax
import numpy as np
import pytest
import small

from scarlet_jax import space as spaces
from scarlet_jax import supernet
from scarlet_jax.nn import functional
from scarlet_jax.nn.layers import BatchStatistics
from scarlet_jax.space import Space
from scarlet_jax.supernet.stage import largest, start

hypothesis.settings.register_profile("shared-machine", deadline=None)
hypothesis.settings.load_profile("shared-machine")


def pytest_unconfigure() -> None:
    shutil.rmtree(CACHE, ignore_errors=True)


# Every kind of block, of several sizes, and the skip.
TINY_CHOICES = (
    *("E2K3", "E2K5", "E3K3", "E3K5", "E2K3_SE", "E2K5_SE", "E3K3_SE", "E3K5_SE"),
    *("F2K3", "identity"),
)


@pytest.fixture(scope="session")
def tiny() -> Space:
    """A widening layer of stride 2, and two equal ones, which are scanned over."""
    return spaces.make_space(
        name="tiny",
        widths=(12, 12, 12),
        strides=(2, 1, 1),
        choices=TINY_CHOICES,
        stem_width=8,
        separable_width=8,
        head_width=16,
    )


def randomised(network: functional.Network, seed: int = 0) -> functional.Network:
    """The network with statistics, scales and biases that are not trivial."""
    rng = np.random.default_rng(seed)

    def noisy(keypath: Any, leaf: jax.Array) -> jax.Array:
        noise = rng.uniform(0.1, 0.4, leaf.shape).astype(np.float32)
        if keypath[0].key == "stages" and isinstance(network.graphdef, supernet.Plan):
            _, number, name, *path = keypath
            noise *= inside(network.graphdef, number.idx, name.key, [key.key for key in path])
        return jax.numpy.asarray(leaf + noise)

    with_noise = jax.tree_util.tree_map_with_path
    return network._replace(
        params=with_noise(noisy, network.params), stats=with_noise(noisy, network.stats)
    )


def inside(plan: supernet.Plan, number: int, name: str, path: list[str]) -> np.ndarray:
    """1 where an array of a stage has weights of its choices, 0 in what pads them."""
    (bundle,) = (b for b in plan.stages[number].bundles if b.name == name)
    (leaf,) = (leaf for leaf in bundle.leaves if list(leaf.names) == path)
    mask = np.zeros((1, len(leaf.shapes), *largest(leaf.shapes)), np.float32)
    for index, shape in enumerate(leaf.shapes):
        first = start(shape, mask.shape[2:])
        mask[0, index][tuple(slice(s, s + n) for s, n in zip(first, shape, strict=True))] = 1
    return mask


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


@pytest.fixture(scope="session", params=["branch", "masked"])
def tiny_plan(request: pytest.FixtureRequest, tiny_supernet: functional.Network) -> supernet.Plan:
    return dataclasses.replace(tiny_supernet.graphdef, selection=request.param)


@pytest.fixture(scope="session")
def forward(tiny_plan: supernet.Plan) -> Callable[..., Any]:
    """`(params, stats, images, architecture) -> logits`, running statistics."""
    return jax.jit(
        lambda params, stats, images, architecture: supernet.apply(
            tiny_plan, params, stats, images, architecture
        )[0]
    )


@pytest.fixture(scope="session")
def image_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The images of `small`, which no test changes."""
    folder = tmp_path_factory.mktemp("images")
    small.write_images(folder)
    return folder


@pytest.fixture(scope="session")
def images() -> np.ndarray:
    """An odd size, so that strides and paddings show."""
    return np.random.default_rng(1).standard_normal((4, 11, 11, 3)).astype(np.float32)


@pytest.fixture(scope="session")
def path_gradient(tiny_plan: supernet.Plan) -> Callable[..., Any]:
    """`(params, stats, images, architecture) -> ((loss, stats), gradients)`, batch statistics."""

    def loss(params: Any, stats: Any, images: Any, architecture: Any) -> Any:
        logits, stats = supernet.apply(
            tiny_plan,
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
