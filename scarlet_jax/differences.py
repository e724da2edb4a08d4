"""Settings as flat dictionaries, so that two runs can be told apart by name."""

import json
from collections.abc import Mapping
from typing import Any

LONG = 100  # characters of a value that a message does not show whole


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested dictionaries as one, with dotted names."""
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        nested = isinstance(value, Mapping)
        flat |= flatten(value, f"{prefix}{name}.") if nested else {prefix + name: value}
    return flat


def differences(saved: Mapping[str, Any], current: Mapping[str, Any]) -> dict[str, str]:
    """What differs between two settings, by dotted name: `"now 3, was 4"`."""
    before, now = flatten(_plain(saved)), flatten(_plain(current))
    pairs = {n: (now.get(n, "absent"), before.get(n, "absent")) for n in now.keys() | before.keys()}
    return {
        name: f"now {_shown(*pair)}, was {_shown(*pair[::-1])}"
        for name, pair in sorted(pairs.items(), key=lambda item: ("sha256" in item[0], item[0]))
        if pair[0] != pair[1]
    }


def describe(differing: Mapping[str, str]) -> str:
    """`differences` as one line."""
    return "; ".join(f"{name} ({change})" for name, change in differing.items())


def _shown(value: Any, other: Any) -> str:
    """A value, or of a long list the first item that is not the other's."""
    text = repr(value)
    if len(text) <= LONG or not (isinstance(value, list) and isinstance(other, list)):
        return text
    for number, item in enumerate(value):
        if number >= len(other) or item != other[number]:
            return f"{item!r} as number {number} of {len(value)}"
    return f"{len(value)} of them"


def _plain(settings: Mapping[str, Any]) -> Any:
    return json.loads(json.dumps(settings))
