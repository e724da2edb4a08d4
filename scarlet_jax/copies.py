"""Copies of what is read from buckets: data, models, tables, in the user's cache folder.

A copy is made once, file by file, so that one that was stopped goes on; files that have changed
since are copied anew.
"""

import errno
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from scarlet_jax import buckets, lock
from scarlet_jax.errors import InputError
from scarlet_jax.files import make_folder, user_cache
from scarlet_jax.progress import Progress, say

AT_ONCE = 64  # files (ours)


class Version(NamedTuple):
    """What tells a file from an older one: its bytes, and when it was written, in seconds."""

    size: int
    time: int


def fetched(path: Path) -> Path:
    """A file or folder of a bucket on this machine; any other path as it is.

    Raises:
      InputError: if there is nothing, or no folder for copies.
      OSError: if it cannot be read, or has no space here.
    """
    if not buckets.is_bucket(path):
        return path
    cache = user_cache()
    if cache is None:
        raise InputError(f"{path} cannot be copied here: nobody's home; set XDG_CACHE_HOME")
    target = cache / "copies" / os.fspath(path).replace("://", "/", 1)
    files = _listed(path)
    with lock.wait_for(target.with_name(f"{target.name}.lock")):
        _copy(path, target, files)
    return target


def _listed(path: Path) -> Mapping[str, Version]:
    """All files below a path by their names in it; the file itself has none."""
    with buckets.reaching(path):
        found = buckets.system(path).find(os.fspath(path), detail=True)
    root = os.fspath(path).partition("://")[2].rstrip("/")
    files = {}
    for name, about in found.items():
        written = about.get("LastModified") or about.get("mtime")  # of s3fs, and of gcsfs
        if not name.endswith("/"):
            files[name.removeprefix(root).lstrip("/")] = Version(
                about["size"], int(written.timestamp())
            )
    if not files:
        raise InputError(f"there is nothing at {path}")
    return files


def _copy(source: Path, target: Path, files: Mapping[str, Version]) -> None:
    copied = [file for file in target.rglob("*") if not file.is_dir()]
    for old in {file.relative_to(target).as_posix() for file in copied} - files.keys():
        (target / old).unlink()  # or an earlier training image would go on as one
    missing = {name: own for name, own in files.items() if _version(target / name) != own}
    if not missing:
        return
    make_folder(target.parent)
    needed = sum(version.size for version in missing.values())
    if (free := shutil.disk_usage(target.parent).free) < needed:
        reason = f"{source} needs {needed / 1e9:,.2f} GB, and {free / 1e9:,.2f} GB are free"
        raise OSError(errno.ENOSPC, f"{os.strerror(errno.ENOSPC)}: {reason}", str(target))
    say(f"copying {len(missing):,} files, {needed / 1e6:,.1f} MB, from {source} to {target}")
    system, ordered = buckets.system(source), list(missing)
    with Progress("copy", len(missing), "file") as progress:
        for start in range(0, len(missing), AT_ONCE):
            names = ordered[start : start + AT_ONCE]
            partial = [f"{target / name}.partial" for name in names]
            for path in partial:
                make_folder(Path(path).parent)
            with buckets.reaching(source):
                system.get([os.fspath(source / name) for name in names], partial)
            for name, path in zip(names, partial, strict=True):
                os.utime(path, (missing[name].time,) * 2)
                os.replace(path, target / name)
            progress.update(start + len(names))


def _version(path: Path) -> Version | None:
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return Version(status.st_size, int(status.st_mtime))
