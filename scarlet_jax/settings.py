"""Settings as flat dictionaries, so that two runs can be told apart by name."""

import json
from collections.abc import Mapping
from typing import Any


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
    return {
        name: f"now {now.get(name, 'absent')!r}, was {before.get(name, 'absent')!r}"
        for name in sorted(before.keys() | now.keys())
        if now.get(name, "absent") != before.get(name, "absent")
    }


def describe(differing: Mapping[str, str]) -> str:
    """`differences` as one line."""
    return "; ".join(f"{name} ({change})" for name, change in differing.items())


def _plain(settings: Mapping[str, Any]) -> Any:
    return json.loads(json.dumps(settings))
