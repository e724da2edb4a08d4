"""Tables of latency measured here, by JAX on its first device.

A block alone costs more than in a network: the call itself, threads that wake
up, buffers that no cache holds. So a table has what a block adds to a program in which it has just
run: the time of a program with the block twice less that with the block once, each with weights of
its own. A number that is too small to change anything makes the second wait for the first, and
both programs have it. The same goes for the head. An identity costs 0: what reads or writes its
input skips the pixels itself (-0.07 to 0.01 ms by the difference above, in S2 on 2 CPU cores).
Networks, for the stem and the check, run in the same rounds as blocks, so that they see the same
machine.

A table made so also has:
  dtype, batch_size: of the computation; times are of the whole batch.
  repeats: rounds of measuring. Times are the medians of the rounds.
  spread: interquartile ranges in milliseconds, in the form of the times: over the rounds; the
    stem's over the networks that it was found by.
  device: also `count` and `platform`, as JAX says. Programs run on one.
  versions: of jax and python.

All programs stay in memory, about 5 MB each; a stopped measurement is lost, but for the compiled
programs that a launcher keeps.
"""

import platform
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray
from scipy import stats

from scarlet_jax import benchmark
from scarlet_jax.benchmark import Timing
from scarlet_jax.latency import networks
from scarlet_jax.latency.parts import Part, plan
from scarlet_jax.latency.table import UNIT, heading
from scarlet_jax.network_size import NetworkSize
from scarlet_jax.nn import functional
from scarlet_jax.progress import Progress
from scarlet_jax.space import Array, Space

CALLS = 3  # of each program in a round, after one that warms up (ours)
DETAILS = 10  # lines of progress in a log, of compiling and of measuring (ours)
TINY = 1e-30  # changes no sum with a pixel, which a compiler cannot know (ours)

Call = Callable[[], Any]
Key = tuple[Any, int]  # of a program: what it runs, and how often


def measure_table(space: Space, size: NetworkSize, timing: Timing, *, check: int) -> dict[str, Any]:
    """Times every block of a space on JAX's first device.

    Args:
      space: the search space.
      size: of its networks.
      timing: of each program; `repeats` are rounds, each of a few calls.
      check: random networks to compare the sums with; 0 for none.

    Returns:
      The table, as `table` and this module say.

    Raises:
      InputError: for a negative number of networks to check, before anything is compiled.
    """
    paths = networks.sample(space, check)
    planned = plan(space, size.image_size)
    parts = [part for part in dict.fromkeys(jax.tree.leaves(planned)) if not part.is_identity]
    total = 2 * len(parts) + len(paths)
    times = _measure(_compile(_programs(space, parts, paths, size, timing), total), timing.repeats)
    medians, ranges = (_added(planned, times, summary) for summary in (np.median, stats.iqr))
    measured = np.array([np.median(times[name, 1]) for name in paths])
    numbers, rest = networks.fitted(space, medians, np.stack(list(paths.values())), measured)
    device, count = jax.devices()[0], jax.device_count()
    return {
        **heading(space, size),
        "unit": UNIT,
        "device": {"kind": device.device_kind, "count": count, "platform": device.platform},
        "versions": {"jax": jax.__version__, "python": platform.python_version()},
        **asdict(timing),
        **numbers,
        "spread": {"stem": float(stats.iqr(rest)), **ranges},
    }


def _programs(
    space: Space,
    parts: Sequence[Part],
    networks: Mapping[str, Array],
    size: NetworkSize,
    timing: Timing,
) -> Iterator[tuple[Key, Call]]:
    """The programs to time: parts once and twice, and whole networks by their names."""
    rng = np.random.default_rng(0)
    for part in parts:
        once, twice = _part_programs(part, space, size.num_classes, timing, rng)
        yield (part, 1), once
        yield (part, 2), twice
    for name, architecture in networks.items():
        call = benchmark.forward(
            space, architecture, size, dtype=timing.dtype, batch_size=timing.batch_size
        )
        yield (name, 1), call


def _part_programs(
    part: Part, space: Space, num_classes: int, timing: Timing, rng: np.random.Generator
) -> tuple[Call, Call]:
    """Programs that run a part once, and twice one after the other."""

    (graphdef, *first), (_, *second) = (
        functional.on_device(functional.split(part.build(space, num_classes, rng)))
        for _ in range(2)
    )

    def once(first: Any, x: jax.Array, next_x: jax.Array) -> tuple[jax.Array, jax.Array]:
        y = _run(graphdef, first, x)
        return y, next_x + (TINY * y.ravel()[0]).astype(x.dtype)

    def twice(first: Any, x: jax.Array, next_x: jax.Array, second: Any) -> Any:
        y, next_x = once(first, x, next_x)
        return y, _run(graphdef, second, next_x)

    shape = (timing.batch_size, part.side, part.side, part.width)
    x, next_x = (jnp.zeros(shape, timing.dtype) for _ in range(2))
    return (
        partial(jax.jit(once), first, x, next_x),
        partial(jax.jit(twice), first, x, next_x, second),
    )


def _run(graphdef: Any, weights: Any, x: jax.Array) -> jax.Array:
    output: jax.Array = functional.apply(graphdef, *weights, x, None)[0]
    return output


def _compile(programs: Iterable[tuple[Key, Call]], total: int) -> dict[Key, Call]:
    compiled = {}
    every = -(-total // DETAILS)
    with Progress("compile", total, "program") as progress:
        for done, (key, call) in enumerate(programs, start=1):
            jax.block_until_ready(call())
            compiled[key] = call
            progress.update(done, "" if done % every else str(key[0]))
    return compiled


def _measure(programs: Mapping[Key, Call], repeats: int) -> dict[Key, NDArray[np.float64]]:
    """Milliseconds of each program in each round, `float64[repeats]`.

    Rounds go forwards and backwards in turn, so that a machine that drifts favours nobody.
    """
    times = {key: np.zeros(repeats) for key in programs}
    every = -(-repeats // DETAILS)
    with Progress("measure", repeats, "round") as progress:
        for number in range(repeats):
            for key in list(programs)[:: -1 if number % 2 else 1]:
                times[key][number] = 1e3 * np.median(benchmark.seconds(programs[key], CALLS))
            taken = sum(own[number] for own in times.values())
            progress.update(number + 1, "" if (number + 1) % every else f"calls of {taken:.3g} ms")
    return times


def _added(
    planned: Mapping[str, Any],
    times: Mapping[Key, NDArray[np.float64]],
    summary: Callable[[NDArray[np.float64]], Any],
) -> dict[str, Any]:
    """What each part adds to a program, over the rounds, in the plan's form; never below 0."""

    def of_part(part: Part) -> float:
        if part.is_identity:
            return 0.0
        return max(0.0, float(summary(times[part, 2] - times[part, 1])))

    found: dict[str, Any] = jax.tree.map(of_part, planned)
    return found
