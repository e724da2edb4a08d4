"""Compiles the training step and the evaluator for a TPU slice or a GPU, without one.

The compilers of the `tpu` and `gpu` extras run on any machine: they take the programs of a
configuration for the chips of a named topology, and say what memory they take there. On GPUs a loop
of unknown length, and a conditional outside a CUDA graph, waits for the host every time.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax.experimental import topologies
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.stages import Traced, Wrapped
from ml_collections import ConfigDict

from scarlet_jax import benchmark, chips, evaluation, gpus, hlo, supernet
from scarlet_jax.devices import DATA, SPREAD, WHOLE, abstract
from scarlet_jax.errors import InputError
from scarlet_jax.nn import functional
from scarlet_jax.space import Space
from scarlet_jax.train import step as steps


@dataclass(frozen=True)
class Target:
    """Chips to compile for.

    Attributes:
      mesh: of one axis over them.
      platform: theirs, as JAX lowers for it.
      memory_bytes: of a chip, or what each of its cores has, or None where we do not know it.
      options: of the compiler.
    """

    mesh: Mesh
    platform: str
    memory_bytes: int | None
    options: dict[str, Any]


@dataclass(frozen=True)
class Compiled:
    """What the compiler says of a program, for one chip.

    Attributes:
      name: of the program.
      control: its conditionals and loops.
      collectives: what it exchanges with the other chips.
      memory_bytes: arguments, results and temporaries together.
      seconds: that compiling took, tracing and lowering included.
      flops, bytes_accessed: of one call, by the compiler's cost model, in which a loop counts once;
        None for GPUs, whose compiler has no such model.
      model_seconds: the cost model's time of a call, or None where it is not positive.
    """

    name: str
    control: hlo.ControlFlow
    collectives: hlo.Collectives
    memory_bytes: int
    seconds: float
    flops: float | None
    bytes_accessed: float | None
    model_seconds: float | None


def describe(topology: str) -> Target:
    """The chips of a topology.

    Args:
      topology: one of `gpus.GPUS`, or "h100:8" for several on a host; or a TPU slice such as
        "v5e:4x4".

    Raises:
      InputError: for an unknown topology, or without the compiler for it.
    """
    name, _, count = topology.partition(":")
    gpu = gpus.GPUS.get(name)
    try:
        if gpu:
            description = topologies.get_topology_desc(
                name, "cuda", target_config=gpu.target_config(), topology=f"1x1x{count or 1}"
            )
        else:
            description = topologies.get_topology_desc(topology, "tpu")
    except Exception as error:
        reason = str(error).partition("\n")[0]
        raise InputError(
            f"topology {topology!r} cannot be described ({reason}); allowed "
            f"are {', '.join(gpus.GPUS)}, h100:8 and so on, with pip install 'scarlet-jax[gpu]', "
            "and names of TPU slices such as v5e:4x4 with pip install 'scarlet-jax[tpu]'"
        ) from error
    mesh = Mesh(np.array(description.devices), (DATA,), axis_types=(AxisType.Explicit,))
    if gpu:
        return Target(mesh, "cuda", gpu.memory_bytes, gpus.COMPILER_OPTIONS)
    devices = list(mesh.devices.flat)
    cores = len(devices) // len({tuple(device.coords) for device in devices})  # a chip: 2 in v4
    memory = chips.HBM_BYTES.get(devices[0].device_kind)
    return Target(mesh, "tpu", memory and memory // cores, {})


def loops_without_length(traced: Traced) -> int:
    """The `while` of a traced program; its other loops are `scan`, which has a length."""
    return str(traced.jaxpr).count(" while[")


def check(
    config: ConfigDict, space: Space, target: Target, images: int, num_classes: int
) -> Iterator[Compiled]:
    """Compiles a configuration's programs one after the other.

    Args:
      config: the configuration.
      space: its space.
      target: chips, from `describe`.
      images: a chip, in training.
      num_classes: of the classifier.
    """
    mesh = target.mesh
    network = supernet.create(
        space,
        num_classes=num_classes,
        channels=config.data.channels,
        **config.model.to_dict(),
        seed=config.seed,
    )
    whole, spread = (NamedSharding(mesh, spec) for spec in (WHOLE, SPREAD))
    task = steps.Task(network.graphdef, config.supernet, config.data, config.seed)
    state = abstract(
        jax.eval_shape(
            lambda params, stats: steps.init_state(
                functional.Network(network.graphdef, params, stats), task
            ),
            network.params,
            network.stats,
        ),
        whole,
    )
    compute, write = steps.make_programs(task, mesh)
    batch = abstract(_batch(config, images * mesh.size), spread)
    yield _compile(target, "train: compute", compute, state, batch)
    result = jax.eval_shape(compute, state, batch)[0]
    yield _compile(target, "train: write", write, state, abstract(result, whole))

    evaluator = evaluation.PopulationEvaluator(
        network.graphdef,
        config.data,
        mesh,
        statistics="running",
        chunk=config.search.chunk,
    )
    arrays = abstract((network.params, network.stats), whole)
    paths = abstract(jax.ShapeDtypeStruct((evaluator.chunk, space.depth), np.int32), spread)
    own = abstract(jax.eval_shape(evaluator.start, arrays[1], paths), spread)
    scored = abstract(_batch(config, config.search.batch_size), whole)
    count, rate = (
        abstract(jax.ShapeDtypeStruct((), dtype), whole) for dtype in (np.int32, np.float32)
    )
    given = arrays[0], own, scored
    program = evaluator.recalibrate
    yield _compile(target, "search: recalibrate", program, *given, rate, paths, count)
    yield _compile(target, "search: score", evaluator.score, *given, paths, count)


def _batch(config: ConfigDict, images: int) -> dict[str, jax.ShapeDtypeStruct]:
    size = config.data.image_size
    return {
        "image": jax.ShapeDtypeStruct((images, size, size, config.data.channels), np.uint8),
        "label": jax.ShapeDtypeStruct((images,), np.int32),
        "weight": jax.ShapeDtypeStruct((images,), np.float32),
    }


def _compile(target: Target, name: str, program: Wrapped, *arguments: Any) -> Compiled:
    begin = time.monotonic()
    traced = program.trace(*arguments)
    lowered = traced.lower(lowering_platforms=(target.platform,))
    compiled = lowered.compile(compiler_options=target.options)
    seconds = time.monotonic() - begin
    cost = compiled.cost_analysis() or {}
    model = cost.get("optimal_seconds", 0.0)
    text = compiled.as_text()
    control = hlo.control_flow(text)
    if target.platform == "tpu":
        control = control._replace(unknown_loops=loops_without_length(traced))
    return Compiled(
        name,
        control,
        hlo.collectives(text),
        benchmark.memory_bytes(compiled),
        seconds,
        cost.get("flops"),
        cost.get("bytes accessed"),
        model if model > 0 else None,
    )
