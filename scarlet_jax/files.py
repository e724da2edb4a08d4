"""Files that are written whole or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from scarlet_jax.errors import InputError


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Gives a temporary name beside `path`, which takes its place when the block ends well.

    If the block fails, nothing is left of what it wrote and `path` is as it was.

    Raises:
      OSError: if the file cannot be written.
    """
    path = Path(path)
    partial = path.with_name(path.name + ".partial")
    try:
        yield partial
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def replace_text(path: str | os.PathLike[str], text: str) -> None:
    """Writes UTF-8 in the place of a file. Raises `OSError` if it cannot."""
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8")


def check_writable(path: str | os.PathLike[str]) -> None:
    """Raises `InputError` if no file can be written there: before the work that fills it."""
    path = Path(path)
    if path.is_dir() or not os.access(path.parent, os.W_OK):
        raise InputError(f"{path} cannot be written; allowed: a file in a folder that can be")
