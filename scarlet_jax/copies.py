"""Copies of what is read from buckets: data, models, tables, in the user's cache folder.

A copy is made once, file by file, so that one that was stopped goes on; files that have changed
since are copied anew. Beside it lies a list of its files and their versions.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from scarlet_jax import buckets, lock
from scarlet_jax.errors import InputError
from scarlet_jax.files import check_space, make_folder, user_cache
from scarlet_jax.progress import Progress, say

AT_ONCE = 64  # files (ours)


def fetched(path: Path) -> Path:
    """A file or folder of a bucket on this machine; any other path as it is.

    Raises:
      InputError: if there is nothing, a name leads out of the copy, or no folder is for copies.
      OSError: if it cannot be read, or has no space here.
    """
    if not buckets.is_bucket(path):
        return path
    cache = user_cache()
    if cache is None:
        raise InputError(f"{path} cannot be copied here: nobody's home; set XDG_CACHE_HOME")
    folder = cache / "copies" / hashlib.sha256(os.fspath(path).encode()).hexdigest()[:16]
    with lock.wait_for(folder / "lock"):
        _update(path, folder)
    return _target(path, folder)


def _target(source: Path, folder: Path) -> Path:
    """Where its copy is, apart from the lock and the versions, whose names it may have."""
    return folder / "copy" / source.name


def _update(source: Path, folder: Path) -> None:
    files, done = buckets.listed(source), folder / "versions.jsonl"
    target = _target(source, folder)
    known = _known(done)
    if not files:
        raise InputError(f"there is nothing at {source}")
    if outside := [name for name in files if ".." in name.split("/") or name.startswith("/")]:
        raise InputError(f"{source} has {outside[0]!r}, which cannot be copied into a folder")
    copied = set(_below(target))
    missing = {
        name: version
        for name, version in files.items()
        if name not in copied or known.get(name) != version
    }
    for old in (copied - files.keys()) | (copied & missing.keys()):
        (target / old).unlink()  # or an earlier training image would go on as one
    _remove_empty(target)
    if missing:
        check_space(folder, sum(size for size, _ in missing.values()), str(source))
        say(f"copying {len(missing):,} files from {source} to {target}")
        _copy(source, target, missing, done)


def _copy(source: Path, target: Path, missing: Mapping[str, tuple[int, str]], done: Path) -> None:
    system, names = buckets.system(source), list(missing)
    partial = done.with_name("partial")
    with Progress("copy", len(names), "file") as progress, done.open("a") as versions:
        for start in range(0, len(names), AT_ONCE):
            batch = names[start : start + AT_ONCE]
            shutil.rmtree(partial, ignore_errors=True)
            make_folder(partial)
            own = [partial / str(number) for number in range(len(batch))]
            with buckets.reaching(source):
                theirs = [os.fspath(source / name) if name else os.fspath(source) for name in batch]
                system.get(theirs, [str(path) for path in own])
            for name, path in zip(batch, own, strict=True):
                make_folder((target / name).parent)
                os.replace(path, target / name)
                versions.write(json.dumps([name, missing[name]]) + "\n")
            versions.flush()
            progress.update(start + len(batch))
    shutil.rmtree(partial)


def _known(path: Path) -> Mapping[str, tuple[int, str]]:
    """What has been copied, the last line of a file counts; one may have been cut off."""
    known = {}
    with suppress(FileNotFoundError), path.open() as lines:
        for line in lines:
            with suppress(ValueError):
                name, (size, version) = json.loads(line)
                known[name] = (size, version)
    return known


def _below(target: Path) -> Iterator[str]:
    """The names of all files in a copy; of a single file, the empty one."""
    if target.is_file():
        yield ""
    for folder, _, names in os.walk(target):
        for name in names:
            yield (Path(folder) / name).relative_to(target).as_posix()


def _remove_empty(target: Path) -> None:
    """Folders of a bucket are those of its files."""
    for folder, _, _ in os.walk(target, topdown=False):
        with suppress(OSError):
            os.rmdir(folder)
