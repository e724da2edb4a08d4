"""Files that are written whole or not at all."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from scarlet_jax.errors import InputError

KINDS = {  # what must not be replaced
    stat.S_IFDIR: "folder",
    stat.S_IFCHR: "device",
    stat.S_IFBLK: "device",
    stat.S_IFIFO: "FIFO",
    stat.S_IFSOCK: "socket",
}


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Gives a temporary name beside `path`, which takes its place when the block ends well.

    If the block fails, nothing is left of what it wrote and `path` is as it was. Where `path` is
    a link, it is what the link leads to that is replaced.

    Raises:
      InputError: see `check_replaceable`.
      OSError: if the file cannot be written.
    """
    target, partial = _places(path)
    try:
        yield partial
        check_replaceable(target)
        os.replace(partial, target)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def replace_text(path: str | os.PathLike[str], text: str) -> None:
    """Writes UTF-8 in the place of a file. Raises what `replacing` does."""
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8")


def check_writable(path: str | os.PathLike[str]) -> None:
    """Raises `InputError` if no file can be written there: before the work that fills it."""
    target, _ = _places(path)
    if not os.access(target.parent, os.W_OK):
        raise InputError(_cannot(path))


def check_replaceable(path: str | os.PathLike[str]) -> None:
    """Raises `InputError` if there is something else than a regular file, or no telling."""
    try:
        kind = stat.S_IFMT(os.stat(path).st_mode)
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise InputError(f"{_cannot(path)} ({reason})") from error
    if kind != stat.S_IFREG:
        raise InputError(f"{_cannot(path)}, not in the place of a {KINDS.get(kind, 'device')}")


def _places(path: str | os.PathLike[str]) -> tuple[Path, Path]:
    """The file that will be replaced, and what will replace it, both checked."""
    check_replaceable(path)
    target = Path(os.path.realpath(path))
    partial = target.with_name(target.name + ".partial")
    check_replaceable(partial)
    return target, partial


def _cannot(path: str | os.PathLike[str]) -> str:
    return f"{path} cannot be written; allowed: a file in a folder that can be"
