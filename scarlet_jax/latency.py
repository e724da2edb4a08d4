"""Latency tables: what every block costs on one device, so that a path's latency is a sum.

A table is a JSON object, made here by `measure_table` or by hand for any other device:

    {
      "format": "scarlet-jax latency table",
      "version": 1,
      "device": {"kind": "Pixel 6"},
      "image_size": 224, "num_classes": 1000, "channels": 3,
      "space": {"name": "s2", "widths": [32, 32, 40, ...], "strides": [2, 1, 2, ...],
                "choices": ["E3K3", ..., "identity"], "stem_width": 32, "stem_stride": 2,
                "separable_width": 16, "head_width": 1280},
      "stem": 1.31,
      "layers": [{"E3K3": {"16": 0.52}, ..., "identity": {"16": 0.0}},
                 {"E3K3": {"16": 0.33, "32": 0.61}, ...}, ...],
      "head": {"16": 0.21, ..., "320": 0.58}
    }

All of these must be there; `definition` gives a space's. Times are milliseconds, finite and not
negative: of each layer by choice and by the channels of its input; of the head by the channels of
its input; and as `stem` what a network takes beyond them: stem, separable block, the call itself.
As identities keep their channels, a layer's input is as wide as the output of any layer before it,
or of the separable block; behind a layer that may not be an identity, only as that layer's.
Other widths of the space may be there for a layer, and are passed over. Where layers have choices
of their own, a layer's times are of those alone, and the space has them as `layer_choices`, a list
of names for each layer. Where they are not SCARLET's, the space also has `activation`,
`stem_activation`, `se_ratio` and `skip`.

Also there, if `measure_table` made it, and not read:
  dtype, batch_size: of the computation; times are of the whole batch.
  repeats: rounds of measuring. Times are the medians of the rounds.
  spread: interquartile ranges in milliseconds, in the form of the times: over the rounds; the
    stem's over the networks that it was found by.
  device: also `count` and `platform`, as JAX says. Programs run on one.
  versions: of jax and python.
  check: the sums of random networks against their measured latencies; errors are relative.

How it is measured. A block alone costs more than in a network: the call itself, threads that wake
up, buffers that no cache holds. So a table has what a block adds to a program in which it has just
run: the time of a program with the block twice less that with the block once, each with weights of
its own. A number that is too small to change anything makes the second wait for the first, and
both programs have it. The same goes for the head. An identity costs 0: what reads or writes its
input skips the pixels itself (-0.07 to 0.01 ms by the difference above, in S2 on 2 CPU cores).
The stem is what random networks take less their blocks and heads, the median of a few: a program
as short as a stem is called and waited for otherwise, which makes a third of a small network's
time. The check has other networks. Networks run in the same rounds as blocks, so that they see the
same machine.

All programs stay in memory, about 5 MB each; a stopped measurement is lost, but for the compiled
programs that a launcher keeps.
"""

import json
import math
import os
import platform
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from numpy.typing import NDArray
from scipy import stats

from scarlet_jax import benchmark, differences
from scarlet_jax import space as spaces
from scarlet_jax.benchmark import Timing
from scarlet_jax.blocks import SCARLET, Choice, Shape
from scarlet_jax.blocks.ends import Head
from scarlet_jax.errors import InputError
from scarlet_jax.files import replace_text
from scarlet_jax.network_size import NetworkSize
from scarlet_jax.nn import functional
from scarlet_jax.path_table import PathTable, possible_sources
from scarlet_jax.progress import Progress
from scarlet_jax.space import Layer, Space

FORMAT = "scarlet-jax latency table"
VERSION = 1
UNUSUAL = ("layer_choices", "activation", "stem_activation", "se_ratio", "skip")
REFERENCES = 8  # networks that the stem is found by (ours)
CALLS = 3  # of each program in a round, after one that warms up (ours)
DETAILS = 10  # lines of progress in a log, of compiling and of measuring (ours)
TINY = 1e-30  # changes no sum with a pixel, which a compiler cannot know (ours)

Call = Callable[[], Any]
Key = tuple[Any, int]  # of a program: what it runs, and how often


@dataclass(frozen=True)
class Part:
    """A block or the head with the shape of its input: timed once, wherever it occurs."""

    side: int  # of its input, pixels
    width: int  # of its input, channels
    choice: Choice | None = None  # None in the head
    layer: Layer | None = None  # width and stride of a block's output

    @property
    def is_identity(self) -> bool:
        return self.choice is not None and self.choice.keeps_width

    def __str__(self) -> str:
        name = "head" if self.choice is None else self.choice.name
        return f"{name} on {self.side} x {self.side} x {self.width}"


def measure_table(space: Space, size: NetworkSize, timing: Timing, *, check: int) -> dict[str, Any]:
    """Times every block of a space on JAX's first device.

    Args:
      space: the search space.
      size: of its networks.
      timing: of each program; `repeats` are rounds, each of a few calls.
      check: random networks to compare the sums with; 0 for none.

    Returns:
      The table, as the module's docstring says.

    Raises:
      InputError: for a negative number of networks to check, before anything is compiled.
    """
    if check < 0:
        raise InputError(f"check is {check}; allowed: 0 or more")
    plan = _plan(space, size.image_size)
    parts = [part for part in dict.fromkeys(jax.tree.leaves(plan)) if not part.is_identity]
    architectures = spaces.sample(space, np.random.default_rng(0), REFERENCES + check)
    names = [spaces.to_text(architecture) for architecture in architectures]
    networks = dict(zip(names, architectures, strict=True))
    total = 2 * len(parts) + len(networks)
    programs = _programs(space, parts, networks, size, timing)
    times = _measure(_compile(programs, total), timing.repeats)

    medians, ranges = (_added(plan, times, summary) for summary in (np.median, stats.iqr))
    without_stem = _path_table(space, {"stem": 0.0} | medians, "the table")(architectures)
    measured = np.array([np.median(times[name, 1]) for name in names])
    rest = (measured - without_stem)[:REFERENCES]
    stem = max(0.0, float(np.median(rest)))
    device, count = jax.devices()[0], jax.device_count()
    record = {
        "format": FORMAT,
        "version": VERSION,
        "device": {"kind": device.device_kind, "count": count, "platform": device.platform},
        "versions": {"jax": jax.__version__, "python": platform.python_version()},
        "space": definition(space),
        **asdict(size),
        **asdict(timing),
        "stem": stem,
        **medians,
        "spread": {"stem": float(stats.iqr(rest)), **ranges},
    }
    if check:
        record["check"] = _agreement(
            architectures[REFERENCES:], without_stem[REFERENCES:] + stem, measured[REFERENCES:]
        )
    return record


def definition(space: Space) -> dict[str, Any]:
    """All that a space is, in JSON's types, as a table holds it."""
    names = np.array(spaces.choice_names(space))
    usual = asdict(SCARLET) | {"skip": "identity", "layer_choices": None}
    own = asdict(space.style) | {"skip": space.skip, "layer_choices": None}
    if not space.allowed.all():
        own["layer_choices"] = [names[layer].tolist() for layer in space.allowed]
    return {
        "name": space.name,
        "widths": [layer.width for layer in space.layers],
        "strides": [layer.stride for layer in space.layers],
        "choices": spaces.choice_names(space),
        "stem_width": space.stem_width,
        "stem_stride": space.stem_stride,
        "separable_width": space.separable_width,
        "head_width": space.head_width,
    } | {name: value for name, value in own.items() if value != usual[name]}


def write(path: str | os.PathLike[str], record: Mapping[str, Any]) -> None:
    """Writes a table, whole or not at all.

    Raises:
      OSError: if the file cannot be written.
    """
    replace_text(path, json.dumps(record, indent=1) + "\n")


def load(
    path: str | os.PathLike[str], space: Space, size: NetworkSize, *, device: str = ""
) -> PathTable:
    """Reads a table for a space.

    Args:
      path: the file.
      space, size: that it must be of.
      device: its `device.kind` must be this; "" takes any.

    Returns:
      Milliseconds of every path, float64.

    Raises:
      InputError: if it cannot be read, is no latency table of the known version, is of another
        space, size or device, lacks a time, or has a layer, choice or width that is none of the
        space.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
        record = json.loads(text, object_pairs_hook=_unique)
    except OSError as error:
        raise InputError(f"latency table {path} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"latency table {path} is not JSON: {error}") from error
    expected = differences.flatten(
        {"format": FORMAT, "version": VERSION, "space": definition(space)}
        | asdict(size)
        | ({"device": {"kind": device}} if device else {})
    )
    for name in UNUSUAL:
        expected.setdefault(f"space.{name}", None)
    for name, allowed in expected.items():
        if (value := _find(record, *name.split("."))) != allowed:
            raise InputError(
                f"latency table {path} has {_shown(value)} at {name}; allowed here: "
                f"{_shown(allowed)}"
            )
    return _path_table(space, record, f"latency table {path}")


def _input_widths(space: Space) -> list[dict[int, int]]:
    """Channels that a layer, and last the head, may read: by source, which it may have."""
    widths = space.widths
    return [
        {source: widths[source] for source in np.flatnonzero(possible).tolist()}
        for possible in possible_sources(space.allowed, space.keeps_width)
    ]


def _own_choices(space: Space, layer: int) -> dict[int, Choice]:
    """What a layer may take, by index."""
    return {i: space.choices[i] for i in np.flatnonzero(space.allowed[layer]).tolist()}


def _plan(space: Space, image_size: int) -> dict[str, Any]:
    """The part that each number of a table is measured by, in the table's form."""
    side = -(-image_size // space.stem_stride)
    *inputs, last = [dict.fromkeys(widths.values()) for widths in _input_widths(space)]
    layers = []
    for number, widths in enumerate(inputs):
        layer = replace(space.layers[number], choices=None)  # so that equal blocks are one part
        layers.append(
            {
                choice.name: {str(width): Part(side, width, choice, layer) for width in widths}
                for choice in _own_choices(space, number).values()
            }
        )
        side = -(-side // layer.stride)
    return {"layers": layers, "head": {str(width): Part(side, width) for width in last}}


def _programs(
    space: Space,
    parts: Sequence[Part],
    networks: Mapping[str, spaces.Array],
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

    def module() -> nnx.Module:
        if part.choice is None or part.layer is None:
            return Head(space, part.width, num_classes, rng=rng)
        shape = Shape(part.width, part.layer.width, part.layer.stride)
        return part.choice.build(shape, space.style, rng)

    (graphdef, *first), (_, *second) = (
        functional.on_device(functional.split(module())) for _ in range(2)
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
    plan: Mapping[str, Any],
    times: Mapping[Key, NDArray[np.float64]],
    summary: Callable[[NDArray[np.float64]], Any],
) -> dict[str, Any]:
    """What each part adds to a program, over the rounds, in the plan's form; never below 0."""

    def of_part(part: Part) -> float:
        if part.is_identity:
            return 0.0
        return max(0.0, float(summary(times[part, 2] - times[part, 1])))

    found: dict[str, Any] = jax.tree.map(of_part, plan)
    return found


def _agreement(
    architectures: spaces.Array, sums: NDArray[np.float64], measured: NDArray[np.float64]
) -> dict[str, Any]:
    """How the sums of networks `int32[P, L]` agree with what was measured, `float64[P]` both."""
    errors = abs(sums / measured - 1)
    tau = stats.kendalltau(sums, measured).statistic if len(sums) > 1 else math.nan
    return {
        "architectures": architectures.tolist(),
        "sums": sums.tolist(),
        "measured": measured.tolist(),
        "median_error": float(np.median(errors)),
        "worst_error": float(errors.max()),
        "kendall_tau": None if math.isnan(tau) else float(tau),  # nan also for equal sums
    }


def _path_table(space: Space, record: Any, where: str) -> PathTable:
    """The table's times by layer, choice and source.

    Raises:
      InputError: for a time that lacks, and for a width or layer that is none of the space, or a
        choice that is none of its layer.
    """

    def check_no_more(known: Iterable[Any], *keys: Any) -> None:
        allowed = list(dict.fromkeys(map(str, known)))
        for name in _find(record, *keys):
            if name not in allowed:
                raise InputError(
                    f"{where} has {name!r} at {'.'.join(map(str, keys))}; allowed there: "
                    f"{', '.join(allowed)}"
                )

    def time_of(*keys: Any) -> float:
        value = _find(record, *keys)
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not 0 <= value <= sys.float_info.max:
            raise InputError(
                f"{where} has {_shown(value)} at {'.'.join(map(str, keys))}; allowed: "
                "milliseconds, finite and not negative"
            )
        return float(value)

    layers = np.zeros((space.depth, space.num_choices, space.depth + 1))
    head = np.zeros(space.depth + 1)
    *inputs, last = _input_widths(space)
    space_widths = space.widths
    for layer, widths in enumerate(inputs):
        own = _own_choices(space, layer)
        for index, choice in own.items():
            for source, width in widths.items():
                layers[layer, index, source] = time_of("layers", layer, choice.name, str(width))
            check_no_more(space_widths, "layers", layer, choice.name)
        check_no_more([choice.name for choice in own.values()], "layers", layer)
    for source, width in last.items():
        head[source] = time_of("head", str(width))
    check_no_more(space_widths, "head")
    if len(record["layers"]) > space.depth:
        raise InputError(
            f"{where} has {len(record['layers'])} layers; allowed: {space.depth}, as many as space "
            f"{space.name!r} has"
        )
    return PathTable(time_of("stem"), layers, head, space.keeps_width, space.allowed)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON, where Python would take the last of two values of one name."""
    record: dict[str, Any] = {}
    for name, value in pairs:
        if name in record:
            raise ValueError(f"{name!r} is twice in one object")
        record[name] = value
    return record


def _find(record: Any, *keys: Any) -> Any:
    """What lies at the keys in nested JSON, or None."""
    for key in keys:
        try:
            record = record[key]
        except (KeyError, IndexError, TypeError):
            return None
    return record


def _shown(value: Any) -> str:
    return "nothing" if value is None else repr(value)
