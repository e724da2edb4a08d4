"""Compiles the training step and the evaluator for a TPU slice, without one.

The compiler of the `tpu` extra runs on any machine: it takes the programs of a configuration
for the chips of a named topology, and says what memory they take there.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax.experimental import topologies
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from ml_collections import ConfigDict

from scarlet_jax import evaluation, supernet
from scarlet_jax.devices import DATA, abstract
from scarlet_jax.errors import InputError
from scarlet_jax.nn import functional
from scarlet_jax.space import Space
from scarlet_jax.train import step as steps

# Of a chip, by `device_kind`; from Google's documentation of Cloud TPU.
HBM_BYTES = {
    "TPU v4": 32 * 2**30,
    "TPU v5": 95 * 2**30,
    "TPU v5 lite": 16 * 2**30,
    "TPU v6 lite": 32 * 2**30,
}


@dataclass(frozen=True)
class Compiled:
    """What the compiler says of a program, for one chip.

    Attributes:
      name: of the program.
      seconds: that compiling took, tracing and lowering included.
      flops, bytes_accessed: of one call, by the compiler's cost model; a loop counts once.
      hbm_bytes: arguments, results and temporaries together.
      model_seconds: the cost model's time of a call, or None where it is not positive.
    """

    name: str
    seconds: float
    flops: float
    bytes_accessed: float
    hbm_bytes: int
    model_seconds: float | None


def topology_mesh(topology: str) -> Mesh:
    """A mesh of one axis over the chips of a topology, such as "v5e:4x4".

    Raises:
      InputError: for an unknown topology, or without the compiler for TPUs.
    """
    try:
        description = topologies.get_topology_desc(platform="tpu", topology_name=topology)
    except Exception as error:
        raise InputError(
            f"topology {topology!r} cannot be described ({str(error).splitlines()[0]}); allowed "
            "are names such as v5e:4x4, with pip install '.[tpu]'"
        ) from error
    return Mesh(np.array(description.devices), (DATA,), axis_types=(AxisType.Explicit,))


def check(
    config: ConfigDict, space: Space, mesh: Mesh, images: int, num_classes: int
) -> Iterator[Compiled]:
    """Compiles a configuration's programs one after the other.

    Args:
      config: the configuration.
      space: its space.
      mesh: chips, from `topology_mesh`.
      images: a chip, in training.
      num_classes: of the classifier.
    """
    network = supernet.create(
        space,
        num_classes=num_classes,
        channels=config.data.channels,
        **config.model.to_dict(),
        seed=config.seed,
    )
    whole, spread = (NamedSharding(mesh, spec) for spec in (PartitionSpec(), PartitionSpec(DATA)))
    training = config.supernet
    state = abstract(
        jax.eval_shape(
            lambda params, stats: steps.init_state(
                functional.Network(network.graphdef, params, stats), training
            ),
            network.params,
            network.stats,
        ),
        whole,
    )
    task = steps.supernet_task(network.graphdef, training)
    compute, write = steps.make_programs(task, training, config.data, mesh, config.seed)
    batch = abstract(_batch(config, images * mesh.size), spread)
    yield _compile("train: compute", compute, state, batch)
    result = jax.eval_shape(compute, state, batch)[0]
    yield _compile("train: write", write, state, abstract(result, whole))

    evaluator = evaluation.PopulationEvaluator(
        network.graphdef,
        config.data,
        mesh,
        statistics="running",
        calibration=[],
        chunk=config.search.chunk,
        cache_bytes=config.search.cache_bytes,
    )
    arrays = abstract((network.params, network.stats), whole)
    paths = abstract(jax.ShapeDtypeStruct((evaluator.chunk, space.depth), np.int32), spread)
    own = abstract(jax.eval_shape(evaluator.start, arrays[1], paths), spread)
    scored = abstract(_batch(config, config.search.batch_size), whole)
    count = abstract(jax.ShapeDtypeStruct((), np.int32), whole)
    rate, by_batch = (
        abstract(jax.ShapeDtypeStruct((), dtype), whole) for dtype in (np.float32, np.bool_)
    )
    yield _compile(
        "search: score", evaluator.score, arrays[0], own, scored, rate, by_batch, paths, count
    )


def _batch(config: ConfigDict, images: int) -> dict[str, jax.ShapeDtypeStruct]:
    size = config.data.image_size
    return {
        "image": jax.ShapeDtypeStruct((images, size, size, config.data.channels), np.uint8),
        "label": jax.ShapeDtypeStruct((images,), np.int32),
        "weight": jax.ShapeDtypeStruct((images,), np.float32),
    }


def _compile(name: str, program: Callable[..., Any], *arguments: Any) -> Compiled:
    begin = time.monotonic()
    compiled = program.trace(*arguments).lower(lowering_platforms=("tpu",)).compile()  # type: ignore[attr-defined]
    seconds = time.monotonic() - begin
    memory, cost = compiled.memory_analysis(), compiled.cost_analysis()
    used = (
        memory.argument_size_in_bytes
        + memory.output_size_in_bytes
        + memory.temp_size_in_bytes
        - memory.alias_size_in_bytes
    )
    model = cost.get("optimal_seconds", 0.0)
    return Compiled(
        name,
        seconds,
        cost.get("flops", 0.0),
        cost.get("bytes accessed", 0.0),
        used,
        model if model > 0 else None,
    )
