"""Our side: what is measured, ready to be called."""

from collections.abc import Callable
from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.measure import Prepared, Setup, Work
from scarlet_jax import benchmark, devices, evaluation, supernet
from scarlet_jax import space as spaces
from scarlet_jax.launch import cores
from scarlet_jax.nn import functional
from scarlet_jax.space import Array
from scarlet_jax.train import step as steps


def prepare(work: Work, setup: Setup) -> Prepared:
    """What `work.kind` names; its calls return when the result is there.

    Its peak bytes are what the compiler has planned for the program that does the work.
    """
    if work.cores and work.kind != "one_by_one":  # one path at a time is for one device
        cores.use(work.cores, (work.batch_size,))
    network = supernet.create(
        setup.space,
        num_classes=setup.num_classes,
        channels=setup.channels,
        dtype=setup.config.model.dtype,
        selection=work.how,
    )
    if work.kind == "score":
        return _scorer(work, setup, network)
    if work.kind in ("train", "strict_fair"):
        return _trainer(work, setup, network)
    evaluate = _evaluator(work, setup, network)
    if work.kind == "evaluator":
        return Prepared(partial(evaluate, setup.path[None]))
    if work.kind == "random":
        rng, count = np.random.default_rng(0), setup.config.search.chunk
        return Prepared(partial(evaluate, spaces.sample(setup.space, rng, count)))
    from benchmarks import offspring  # which needs more packages than a check of an accelerator

    architectures = offspring.search(setup)
    if work.kind == "population":
        return Prepared(partial(evaluate, architectures))
    return Prepared(lambda: [evaluate(architecture[None]) for architecture in architectures])


def _random_batch(work: Work, setup: Setup, seed: int) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    shape = (work.batch_size, work.image_size, work.image_size, setup.channels)
    return {
        "image": rng.integers(256, size=shape, dtype=np.uint8),
        "label": rng.integers(setup.num_classes, size=work.batch_size, dtype=np.int32),
        "weight": np.ones(work.batch_size, np.float32),
    }


def _scorer(work: Work, setup: Setup, network: functional.Network) -> Prepared:
    """Logits with running statistics; the architecture is an argument of the program."""
    data, mesh = setup.config.data, devices.make_mesh()

    def score(params: Any, stats: Any, images: jax.Array, path: jax.Array) -> jax.Array:
        pixels = devices.normalise(images, data.mean, data.std)
        logits: jax.Array = supernet.apply(network.graphdef, params, stats, pixels, path)[0]
        return logits

    options = evaluation.CPU_OPTIONS if jax.default_backend() == "cpu" else None
    whole, spread = devices.WHOLE, devices.SPREAD
    program = devices.program(mesh, score, (whole, whole, spread, whole), spread, options)
    params, stats, path = devices.replicate(mesh, (network.params, network.stats, setup.path))
    images = devices.shard(mesh, _random_batch(work, setup, 0)["image"])
    arguments = params, stats, images, path
    compiled = cache(lambda: program.lower(*arguments).compile())  # by the first call
    return Prepared(
        lambda: jax.block_until_ready(compiled()(*arguments)),
        lambda: benchmark.memory_bytes(compiled()),
    )


def _trainer(work: Work, setup: Setup, network: functional.Network) -> Prepared:
    """Steps of the real training; one along a path always takes SCARLET-A's."""
    training, mesh = setup.config.supernet, devices.make_mesh()
    fair = work.kind == "strict_fair"
    training.update(sampler="strict_fair" if fair else "uniform", batch_size=work.batch_size)

    class OnePath(steps.Task):
        def paths(self, key: jax.Array, step: jax.Array) -> jax.Array:
            # Drawn, as far as the compiler can tell: a constant one would be compiled alone.
            return jnp.where(jax.random.uniform(key) < 2, setup.path, 0)[None]

    kind = steps.Task if fair else OnePath
    task = kind(network.graphdef, training, setup.config.data, seed=0)
    compute, write = steps.make_programs(task, mesh)
    state = devices.replicate(mesh, steps.init_state(network, task))
    batch = devices.shard(mesh, _random_batch(work, setup, 0))
    compiled = cache(lambda: compute.lower(state, batch).compile())  # by the first call

    def call() -> None:
        nonlocal state
        result, metrics = compiled()(state, batch)
        state = write(state, result)
        jax.block_until_ready((state, metrics))

    return Prepared(call, lambda: benchmark.memory_bytes(compiled()))


def _evaluator(work: Work, setup: Setup, network: functional.Network) -> Callable[[Array], Any]:
    """The search's evaluator on one validation batch, with one batch to recalibrate on."""
    config, mesh = setup.config, devices.make_mesh()
    evaluator = evaluation.PopulationEvaluator(
        network.graphdef,
        config.data,
        mesh,
        statistics=config.search.statistics,
        chunk=config.search.chunk,
    )
    params, stats = devices.replicate(mesh, (network.params, network.stats))
    one, other = (_random_batch(work, setup, seed) for seed in (0, 1))
    return lambda paths: evaluator(params, stats, paths, [one], [other])
