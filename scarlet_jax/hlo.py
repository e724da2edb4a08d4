"""What the text of a compiled module says, as `jax.stages.Compiled.as_text` gives it."""

import math
import re
from collections.abc import Iterator
from typing import NamedTuple

# An instruction: its shape has no name before a parenthesis, its operands do.
INSTRUCTION = re.compile(r"^ *(?:ROOT )?%?[\w.-]+ = (.*?) ([a-z][a-z0-9-]*)\(.*", re.MULTILINE)
COMPUTATION = re.compile(r"^(ENTRY )?%?([\w.-]+) \(.*?^\}", re.MULTILINE | re.DOTALL)
ARRAY = re.compile(r"\b[a-z]+(\d+)\w*\[([\d,]*)\]")
CALLED = re.compile(r"\b(?:calls|to_apply|body)=%?([\w.-]+)")
BRANCHES = re.compile(r"\bbranch_computations=\{([^}]*)\}|\b(?:true|false)_computation=%?([\w.-]+)")
KNOWN = re.compile(r'known_trip_count":\{"n":"(\d+)"')
CONDITION = re.compile(r"\bcondition=%?([\w.-]+)")
BOUND = re.compile(r"s32\[\]\S* constant\((\d+)\)")
# Where it is asynchronous, its end is another instruction, which does not count.
COLLECTIVE = re.compile(
    r"(all-reduce|all-gather|reduce-scatter|all-to-all|collective-permute)(-start)?"
)


class ControlFlow(NamedTuple):
    """Instructions of a compiled program, in all its computations.

    Attributes:
      conditionals: `conditional`, which a `lax.switch` becomes.
      loops: `while`.
      unknown_loops: those of them whose number of rounds the compiler does not know; for TPUs,
        whose compiler does not write it down, those that JAX gives it no number of.
    """

    conditionals: int
    loops: int
    unknown_loops: int


class Collectives(NamedTuple):
    """What the devices of a mesh exchange in one call of a program.

    Attributes:
      number: of collectives, each as often as it runs.
      bytes: of their results on one device.
    """

    number: int
    bytes: int


def control_flow(module: str) -> ControlFlow:
    """Counts in the text of a compiled module; a TPU's does not tell its loops' lengths."""
    lines = [(match[2], match[0]) for match in INSTRUCTION.finditer(module)]
    loops = [line for name, line in lines if name == "while"]
    return ControlFlow(
        conditionals=sum(name == "conditional" for name, _ in lines),
        loops=len(loops),
        unknown_loops=sum("known_trip_count" not in line for line in loops),
    )


def collectives(module: str) -> Collectives:
    """Counts collectives with the rounds of the loops that they are in.

    A loop's rounds are those that the compiler wrote down, or else what its condition compares
    with; where that is no constant, one. Of a conditional's branches the one with most bytes
    counts.
    """
    computations = {match[2]: match[0] for match in COMPUTATION.finditer(module)}
    entry = next(match[2] for match in COMPUTATION.finditer(module) if match[1])
    known: dict[str, Collectives] = {}

    def of(name: str) -> Collectives:
        if name not in known:
            parts = list(parts_of(computations.get(name, "")))
            known[name] = Collectives(sum(p.number for p in parts), sum(p.bytes for p in parts))
        return known[name]

    def parts_of(text: str) -> Iterator[Collectives]:
        for match in INSTRUCTION.finditer(text):
            line, shape, operation = match[0], match[1], match[2]
            if COLLECTIVE.fullmatch(operation):
                yield Collectives(1, _bytes(shape))
            elif operation == "while":
                rounds = _rounds(line, computations)
                yield Collectives(*(rounds * count for count in of(CALLED.findall(line)[0])))
            elif branches := [name for pair in BRANCHES.findall(line) for name in pair if name]:
                names = re.findall(r"[\w.-]+", " ".join(branches))
                yield max(map(of, names), key=lambda found: found.bytes)
            else:
                yield from map(of, CALLED.findall(line))

    return of(entry)


def _rounds(line: str, computations: dict[str, str]) -> int:
    """Of a `while`, as far as its text says."""
    if found := KNOWN.search(line):
        return int(found[1])
    condition = CONDITION.search(line)
    bounds = BOUND.findall(computations.get(condition[1], "")) if condition else []
    return int(bounds[0]) if len(bounds) == 1 else 1


def _bytes(shape: str) -> int:
    """Of an array or a tuple of them, `(f32[2,24]{1,0}, bf16[8])`."""
    return sum(
        math.prod(map(int, filter(None, sizes.split(",")))) * int(bits) // 8
        for bits, sizes in ARRAY.findall(shape)
    )
