"""Tables of what every block costs on one device: of latency, energy, or what else adds up.

A table is a JSON object, made by `scarlet benchmark`, or by hand:

    {
      "format": "scarlet-jax latency table",
      "version": 1,
      "unit": "ms",
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

All of these must be there, but for the unit, which is ms if it is not; `definition` gives a
space's. Numbers are of the unit, whatever it is called, finite and not negative: of each layer by
choice and by the channels of its input; of the head by the channels of its input; and as `stem`
what a network takes beyond them: stem, separable block, the call itself. The stem may be negative,
where blocks were measured alone, each with a call of its own.
As identities keep their channels, a layer's input is as wide as the output of any layer before it,
or of the separable block; behind a layer that may not be an identity, only as that layer's.
Other widths of the space may be there for a layer, and are passed over. Where layers have choices
of their own, a layer's numbers are of those alone, and the space has them as `layer_choices`, a
list of names for each layer. Where they are not SCARLET's, the space also has `activation`,
`stem_activation`, `se_ratio` and `skip`.

Also there, if it was not made by hand, and not read:
  check: the sums of random networks against what those were measured to take; errors are relative.
  what else `measure_table` and `read_blocks` say of how it was made.
"""

import json
import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from scarlet_jax import differences
from scarlet_jax import space as spaces
from scarlet_jax.blocks import SCARLET
from scarlet_jax.copies import fetched
from scarlet_jax.errors import InputError
from scarlet_jax.files import as_path
from scarlet_jax.latency.parts import input_widths, own_choices
from scarlet_jax.network_size import NetworkSize
from scarlet_jax.path_table import PathTable
from scarlet_jax.space import Space

FORMAT = "scarlet-jax latency table"
VERSION = 1
UNIT = "ms"  # of a table that says none
UNUSUAL = ("layer_choices", "activation", "stem_activation", "se_ratio", "skip")


def heading(space: Space, size: NetworkSize) -> dict[str, Any]:
    """What a table says it is of, but for unit and device."""
    return {"format": FORMAT, "version": VERSION, "space": definition(space), **asdict(size)}


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


def load(
    path: str | os.PathLike[str], space: Space, size: NetworkSize, *, device: str = ""
) -> PathTable:
    """Reads a table for a space.

    Args:
      path: the file.
      space, size: that it must be of.
      device: its `device.kind` must be this; "" takes any.

    Returns:
      What every path costs, float64, with the unit.

    Raises:
      InputError: as `read`, and if it lacks a number, or has a layer, choice or width that is none
        of the space.
    """
    return path_table(space, read(path, space, size, device=device), f"table {path}")


def read(
    path: str | os.PathLike[str], space: Space, size: NetworkSize, *, device: str = ""
) -> dict[str, Any]:
    """The JSON values of a table, whose numbers are not looked at; arguments are those of `load`.

    Raises:
      InputError: if it cannot be read, is no table of the known version, or is of another
        space, size or device.
    """
    try:
        text = fetched(as_path(path)).read_text(encoding="utf-8-sig")
        record = json.loads(text, object_pairs_hook=_unique)
    except OSError as error:
        raise InputError(f"table {path} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"table {path} is not JSON: {error}") from error
    expected = differences.flatten(
        heading(space, size) | ({"device": {"kind": device}} if device else {})
    )
    for name in UNUSUAL:
        expected.setdefault(f"space.{name}", None)
    for name, allowed in expected.items():
        if (value := _find(record, *name.split("."))) != allowed:
            raise InputError(
                f"table {path} has {_shown(value)} at {name}; allowed here: {_shown(allowed)}"
            )
    unit = record.setdefault("unit", UNIT)
    if not isinstance(unit, str) or not unit.strip() or not unit.isprintable():
        raise InputError(
            f"table {path} has {_shown(unit)} at unit; allowed: text, such as ms or mJ"
        )
    return dict(record)


def path_table(space: Space, record: Mapping[str, Any], where: str) -> PathTable:
    """A table's numbers by layer, choice and source.

    Raises:
      InputError: for a number that lacks, and for a width or layer that is none of the space, or a
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

    def number_at(*keys: Any, least: float = 0.0) -> float:
        value = _find(record, *keys)
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not least <= value <= sys.float_info.max:
            rule = "finite" if least < 0 else "finite and not negative"
            raise InputError(
                f"{where} has {_shown(value)} at {'.'.join(map(str, keys))}; allowed: "
                f"{unit}, {rule}"
            )
        return float(value)

    unit = record.get("unit", UNIT)
    layers = np.zeros((space.depth, space.num_choices, space.depth + 1))
    head = np.zeros(space.depth + 1)
    *inputs, last = input_widths(space)
    space_widths = space.widths
    for layer, widths in enumerate(inputs):
        own = own_choices(space, layer)
        for index, choice in own.items():
            for source, width in widths.items():
                layers[layer, index, source] = number_at("layers", layer, choice.name, str(width))
            check_no_more(space_widths, "layers", layer, choice.name)
        check_no_more([choice.name for choice in own.values()], "layers", layer)
    for source, width in last.items():
        head[source] = number_at("head", str(width))
    check_no_more(space_widths, "head")
    if len(record["layers"]) > space.depth:
        raise InputError(
            f"{where} has {len(record['layers'])} layers; allowed: {space.depth}, as many as space "
            f"{space.name!r} has"
        )
    stem = number_at("stem", least=-sys.float_info.max)
    return PathTable(stem, layers, head, space.keeps_width, space.allowed, unit)


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
