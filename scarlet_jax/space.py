"""Search spaces as data, and the architecture arrays that live in them.

An architecture is `int32[L]`, one choice a layer; a population is `int32[P, L]`.
S1 and S2 are those of SCARLET-NAS (arXiv 1908.06022, supplementary section 3.1).
"""

import json
import reprlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scarlet_jax import blocks
from scarlet_jax.blocks import SCARLET, SKIPS, Choice, InvertedBottleneckChoice, Style
from scarlet_jax.errors import InputError

Array = NDArray[np.int32]
MOST_DIGITS = 9  # of an index
NO_SKIP = "none"  # of the setting `skip`
WIDTH_DIVISOR = 8  # MobileNetV2's


SKIP = SKIPS["identity"]


@dataclass(frozen=True)
class Layer:
    """A searchable layer: its output channels, its stride, and what it may take."""

    width: int
    stride: int
    choices: tuple[int, ...] | None = None  # of the space's, by ascending index; None: all


@dataclass(frozen=True)
class Space:
    """A layer-wise search space: every layer takes one of the choices, or of some of them.

    The defaults of stem, separable block and head are SCARLET's.
    """

    name: str
    layers: tuple[Layer, ...]
    choices: tuple[Choice, ...]
    stem_width: int = 32
    stem_stride: int = 2
    separable_width: int = 16  # 0 for no separable block
    head_width: int = 1280
    style: Style = SCARLET

    def __post_init__(self) -> None:
        if not self.layers or not self.choices:
            raise InputError(f"space {self.name!r} needs at least one layer and one choice")
        sizes = (self.stem_width, self.head_width, *(layer.width for layer in self.layers))
        if min(sizes) < 1 or self.separable_width < 0:
            raise InputError(
                f"space {self.name!r} has a width below 1: {sizes}, {self.separable_width}"
            )
        for stride in (self.stem_stride, *(layer.stride for layer in self.layers)):
            if stride not in (1, 2):
                raise InputError(f"space {self.name!r} has stride {stride!r}; allowed: 1, 2")
        for choice in self.choices:
            try:
                choice.check(min(self.widths), self.style)
            except InputError as error:
                raise InputError(f"space {self.name!r} has {error}") from error
        if len(set(self.choices)) != len(self.choices):
            raise InputError(f"space {self.name!r} has a choice twice: {choice_names(self)}")
        for number, layer in enumerate(self.layers):
            own, every = layer.choices, range(self.num_choices)
            if own is not None and (not own or [i for i in every if i in own] != list(own)):
                raise InputError(
                    f"space {self.name!r} has choices {own} at layer {number}; allowed: None for "
                    f"all, or at least one of 0 to {every[-1]}, ascending"
                )

    @property
    def depth(self) -> int:
        return len(self.layers)

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels before the first layer and after each in the supernet, `[L + 1]`."""
        first = self.separable_width or self.stem_width
        return (first, *(layer.width for layer in self.layers))

    @property
    def skip(self) -> str:
        """What the choice "identity" is, one of `blocks.SKIPS`; the first where there is none."""
        return next((name for name, skip in SKIPS.items() if skip in self.choices), "identity")

    @property
    def num_choices(self) -> int:
        return len(self.choices)

    @property
    def is_skip(self) -> NDArray[np.bool_]:
        """Which choices are skips, `bool[N]`."""
        return np.array([choice.is_skip for choice in self.choices])

    @property
    def keeps_width(self) -> NDArray[np.bool_]:
        """Which choices keep their input's channels, `bool[N]`: skips but those that downsample."""
        return np.array([choice.keeps_width for choice in self.choices])

    @cached_property
    def allowed(self) -> NDArray[np.bool_]:
        """Which choices each layer may take, `bool[L, N]`."""
        every = range(self.num_choices)
        found = np.array([np.isin(every, layer.choices or every) for layer in self.layers])
        found.setflags(write=False)
        return found

    @property
    def num_architectures(self) -> int:
        return prod(self.allowed.sum(axis=1).tolist())

    @property
    def stride(self) -> int:
        """Input pixels per pixel of the last feature map, along one side."""
        return self.stem_stride * int(np.prod([layer.stride for layer in self.layers]))


def product_choices(
    expansions: Sequence[int], kernels: Sequence[int], se: Sequence[bool]
) -> tuple[Choice, ...]:
    """All combinations in the order of S1 and S2: kernel fastest, then expansion, then SE."""
    return tuple(
        InvertedBottleneckChoice(e, k, bool(s)) for s in se for e in expansions for k in kernels
    )


def scaled_width(width: int, multiplier: float) -> int:
    """`width * multiplier` in multiples of `WIDTH_DIVISOR`, never under 90% of it.

    The rounding of MobileNetV2 (arXiv 1801.04381), which leaves multiplier 1 alone.
    """
    if multiplier == 1.0:
        return width
    scaled = width * multiplier
    rounded = max(1, int(scaled / WIDTH_DIVISOR + 0.5)) * WIDTH_DIVISOR
    return rounded + WIDTH_DIVISOR if rounded < 0.9 * scaled else rounded


def make_space(
    *,
    name: str = "own",
    widths: Sequence[int],
    strides: Sequence[int],
    expansions: Sequence[int] = (3, 6),
    kernels: Sequence[int] = (3, 5, 7),
    se: Sequence[bool] = (False,),
    skip: str = "identity",
    choices: Sequence[str] = (),
    layer_choices: Sequence[Sequence[str]] = (),
    stem_width: int = 32,
    stem_stride: int = 2,
    separable_width: int = 16,
    head_width: int = 1280,
    activation: str = "hard_swish",
    stem_activation: str = "relu6",
    se_ratio: int = 4,
    width_multiplier: float = 1.0,
) -> Space:
    """Builds a space from plain settings, as `config.space` holds them.

    Its choices are those named, or else the product of expansions, kernels and SE, and a skip.

    The multiplier scales every width but the head's, which only grows (MobileNetV2's rule).
    `layer_choices` names what each layer may take; empty, for one layer or for all: every choice.

    Raises:
      InputError: if widths, strides and `layer_choices` differ in number, or a value is out of
        range.
    """
    if len(widths) != len(strides):
        raise InputError(f"space {name!r} has {len(widths)} widths but {len(strides)} strides")
    if width_multiplier <= 0:
        raise InputError(f"width_multiplier is {width_multiplier}; allowed: above 0")

    if layer_choices and len(layer_choices) != len(widths):
        raise InputError(
            f"space {name!r} has {len(widths)} widths but layer_choices of {len(layer_choices)} "
            "layers"
        )
    every = _choices(name, choices, skip) or product_choices(expansions, kernels, se)
    if not choices and skip != NO_SKIP:
        every += (SKIPS[skip],)
    own = [
        _indices_of(name, every, layer, names)
        for layer, names in enumerate(layer_choices or [()] * len(widths))
    ]

    def scale(width: int) -> int:
        return scaled_width(width, width_multiplier)

    return Space(
        name=name,
        layers=tuple(Layer(scale(w), s, c) for w, s, c in zip(widths, strides, own, strict=True)),
        choices=every,
        stem_width=scale(stem_width),
        stem_stride=stem_stride,
        separable_width=scale(separable_width) if separable_width else 0,
        head_width=max(head_width, scale(head_width)),
        style=Style(activation, stem_activation, se_ratio),
    )


def _choices(space: str, names: Sequence[str], skip: str) -> tuple[Choice, ...]:
    try:
        return tuple(blocks.read(name, skip) for name in names)
    except InputError as error:
        raise InputError(f"space {space!r} has {error}") from error


def _indices_of(
    space: str, choices: Sequence[Choice], layer: int, names: Sequence[str]
) -> tuple[int, ...] | None:
    """What a layer may take, as `Layer.choices`."""
    known = [choice.name for choice in choices]
    if len(set(names)) < len(names):
        raise InputError(
            f"space {space!r} has layer_choices {', '.join(names)} at layer {layer}; allowed: each "
            "once"
        )
    if unknown := [name for name in names if name not in known]:
        raise InputError(
            f"space {space!r} has layer_choices {', '.join(map(repr, unknown))} at layer {layer}; "
            f"allowed there: {', '.join(known)}"
        )
    indices = tuple(i for i, name in enumerate(known) if name in names)
    return None if len(indices) in (0, len(known)) else indices


SCARLET_WIDTHS = (32,) * 2 + (40,) * 4 + (80,) * 4 + (96,) * 4 + (192,) * 4 + (320,)
SCARLET_STRIDES = (2, 1, 2, 1, 1, 1, 2, 1, 1, 1, 1, 1, 1, 1, 2, 1, 1, 1, 1)

S1 = make_space(name="s1", widths=SCARLET_WIDTHS, strides=SCARLET_STRIDES)
S2 = make_space(name="s2", widths=SCARLET_WIDTHS, strides=SCARLET_STRIDES, se=(False, True))
SPACES = {"s1": S1, "s2": S2}

# The published architectures (SCARLET-NAS figure 4) by block name, first layer first.
PRESETS = {
    "scarlet-a": (
        "E3K7,E6K5,E3K5,E3K7_SE,E6K3_SE,E3K5_SE,E6K3_SE,E3K3,E3K7_SE,E3K7,"
        "E3K5,E3K7_SE,E3K3,E3K7_SE,E6K3_SE,E6K5_SE,E3K3_SE,E6K3_SE,E6K7_SE"
    ),
    "scarlet-b": (
        "E3K3_SE,E3K5_SE,E3K3_SE,E6K7_SE,E3K3,E3K5,E6K7_SE,E3K3_SE,identity,E3K5,"
        "E3K3_SE,E3K3_SE,E6K7_SE,E3K3_SE,E6K5_SE,E6K5_SE,identity,E6K7_SE,E6K5_SE"
    ),
    "scarlet-c": (
        "E3K5_SE,E3K3_SE,E3K5_SE,identity,identity,E3K3,E6K7_SE,E3K3_SE,E3K3_SE,E3K5,"
        "E3K7_SE,E3K7,E3K3_SE,E3K7_SE,E3K3_SE,identity,E6K3_SE,E6K7_SE,E6K5_SE"
    ),
}
# Presets that fill every layer with one choice, at any depth (supplementary table 2).
UNIFORM_PRESETS = {"all-identity": "identity", "all-k7e6": "E6K7"}


def choice_names(space: Space) -> list[str]:
    """The readable names of a space's choices, in index order."""
    return [choice.name for choice in space.choices]


def get_space(name: str) -> Space:
    """The space called `name`: `s1` or `s2`. Raises `InputError` for any other."""
    if name.lower() not in SPACES:
        raise InputError(f"no space is called {name!r}; allowed: {', '.join(SPACES)}")
    return SPACES[name.lower()]


def validate(space: Space, architectures: Any) -> Array:
    """Checks one architecture `[L]` or a population `[P, L]` and returns it as int32.

    Raises:
      InputError: naming the shape, dtype or the first index that is not allowed.
    """
    array = np.asarray(architectures)
    if array.ndim not in (1, 2) or array.shape[-1] != space.depth:
        raise InputError(
            f"architecture of shape {list(array.shape)}; space {space.name!r} takes "
            f"[{space.depth}] or [P, {space.depth}], one choice for each layer"
        )
    if not np.issubdtype(array.dtype, np.integer):
        raise InputError(f"architecture of dtype {array.dtype}; allowed: integers")
    wrong = np.argwhere((array < 0) | (array >= space.num_choices))
    if len(wrong):
        index = tuple(wrong[0])
        raise InputError(
            f"choice {array[index]} at layer {index[-1]}; "
            f"space {space.name!r} allows 0 to {space.num_choices - 1}"
        )
    wrong = np.argwhere(~space.allowed[np.arange(space.depth), array])
    if len(wrong):
        index = tuple(wrong[0])
        raise InputError(
            f"choice {array[index]} ({choice_names(space)[array[index]]}) at layer {index[-1]}, "
            f"where space {space.name!r} allows {_allowed_at(space, index[-1])}"
        )
    return array.astype(np.int32)


def sample(space: Space, rng: np.random.Generator, count: int) -> Array:
    """Draws `int32[count, L]` uniformly, every layer on its own."""
    return draw(space.allowed, rng, count)


def draw(allowed: NDArray[np.bool_], rng: np.random.Generator, count: int) -> Array:
    """Draws `int32[count, L]`, each layer's choice uniformly among those of `bool[L, N]`."""
    own, counts = own_choices(allowed)
    return own[np.arange(len(own)), rng.integers(counts, size=(count, len(own)), dtype=np.int32)]


def own_choices(allowed: NDArray[np.bool_]) -> tuple[Array, Array]:
    """Each layer's choices, ascending, and how many they are.

    Args:
      allowed: `bool[L, N]`.

    Returns:
      `int32[L, N]`, with those that a layer may not take after its own, and `int32[L]`.
    """
    order = np.argsort(~allowed, axis=1, kind="stable")
    return order.astype(np.int32), allowed.sum(axis=1, dtype=np.int32)


def to_names(space: Space, architecture: Any) -> list[str]:
    """The choice names of an architecture `int32[L]`, such as `E3K5_SE` or `identity`."""
    names = choice_names(space)
    return [names[i] for i in validate(space, architecture)]


def to_text(architecture: Iterable[int]) -> str:
    """The short form for a command line: comma-separated choice indices."""
    return ",".join(str(int(i)) for i in architecture)


def parse(space: Space, text: str) -> Array:
    """Reads an architecture `int32[L]` from text: a preset's name, a comma-separated list of
    choice indices or choice names (`0,3,12,...`, `E3K3,E6K5_SE,identity,...`), or the JSON that
    `from_json` reads.

    Raises:
      InputError: naming the preset, choice or length that does not fit the space.
    """
    text = text.strip()
    preset = text.lower()
    if _is_json(text):
        return from_json(space, text)
    if preset in UNIFORM_PRESETS:
        return _from_words(space, [UNIFORM_PRESETS[preset]] * space.depth)
    if preset in PRESETS:
        return _from_words(space, PRESETS[preset].split(","))
    if "," not in text and space.depth > 1:
        allowed = ", ".join([*PRESETS, *UNIFORM_PRESETS])
        raise InputError(
            f"no architecture is called {reprlib.repr(text)}; allowed: {allowed}, "
            f"or {space.depth} comma-separated choices"
        )
    return _from_words(space, [word.strip() for word in text.split(",")])


def label(text: str, architecture: Iterable[int]) -> str:
    """What to call an architecture read from text: that, or the short form of what has no name."""
    return text if text.isprintable() and not _is_json(text) else to_text(architecture)


def from_json(space: Space, text: str) -> Array:
    """Reads a model of `front.json`, or a list of indices or names.

    An object may lack the space, and either the architecture or its blocks, but what it has must
    fit together.

    Returns:
      The architecture, `int32[L]`.

    Raises:
      InputError: for JSON that is neither, of another space, or with unknown choices.
    """
    try:
        record = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"architecture is not JSON: {error}") from error
    if not isinstance(record, dict):
        return _from_json_list(space, record)
    if record.get("space", space.name) != space.name:
        raise InputError(
            f"architecture of space {reprlib.repr(record['space']):.60}; expected {space.name!r}"
        )
    lists = [record[name] for name in ("architecture", "blocks") if name in record]
    if not lists:
        raise InputError(
            f"architecture JSON has {reprlib.repr(list(record))}; expected architecture or blocks"
        )
    first, *others = [_from_json_list(space, found) for found in lists]
    if any((first != other).any() for other in others):
        raise InputError(
            f"architecture {to_text(first)} has other blocks than its JSON says; its space is "
            f"another {space.name!r}"
        )
    return first


def _is_json(text: str) -> bool:
    return text.lstrip().startswith(("[", "{"))


def _from_json_list(space: Space, found: object) -> Array:
    if not isinstance(found, list):
        raise InputError(f"architecture JSON holds {type(found).__name__}; expected a list")
    return _from_words(space, found)


def _allowed_at(space: Space, layer: int) -> str:
    """What a layer may take, for a message; of one that the space lacks, all choices."""
    own = space.allowed[layer] if layer < space.depth else np.ones(space.num_choices, bool)
    names = [name for name, may in zip(choice_names(space), own, strict=True) if may]
    numbers = ", ".join(map(str, np.flatnonzero(own)))
    return f"{', '.join(names)}, or {f'0 to {space.num_choices - 1}' if own.all() else numbers}"


def _from_words(space: Space, words: Sequence[object]) -> Array:
    """Choices by index, as a number or its digits, or by name."""
    index_of = {name.lower(): i for i, name in enumerate(choice_names(space))}
    indices = []
    for layer, word in enumerate(words):
        known = str(word).lower() if type(word) in (int, str) else ""
        if known in index_of:
            indices.append(index_of[known])
        elif known.isascii() and known.isdecimal() and len(known) <= MOST_DIGITS:
            indices.append(int(known))
        else:
            raise InputError(
                f"unknown choice {reprlib.repr(word):.60} at layer {layer}; space {space.name!r} "
                f"allows {_allowed_at(space, layer)}"
            )
    return validate(space, np.array(indices, dtype=np.int64))
