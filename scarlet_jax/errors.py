"""The errors that a launcher prints as one line."""

from collections.abc import Collection


class InputError(ValueError):
    """Bad input: the message names the offending value and what is allowed."""


class DivergedError(RuntimeError):
    """Training left the finite numbers: the message says where, and what is saved."""


class MismatchError(RuntimeError):
    """What was made is not what it stands for: an exported file, a table of costs."""


def check_one_of(name: str, value: str, allowed: Collection[str]) -> None:
    """Raises `InputError` for a value of a setting that is not allowed."""
    if value not in allowed:
        raise InputError(f"{name} {value!r}; allowed: {', '.join(allowed)}")
