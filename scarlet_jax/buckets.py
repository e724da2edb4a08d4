"""Files and folders in buckets, `gs://` and `s3://`: etils' paths, which are used as pathlib's.

An object is written whole or not at all, and none is ever added to. Credentials and endpoints are
those of gcsfs and s3fs, such as `GOOGLE_APPLICATION_CREDENTIALS` and `AWS_ENDPOINT_URL`.
"""

import errno
import importlib.util
import logging
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from scarlet_jax.errors import InputError

ENVIRONMENT = {
    "EPATH_USE_TF": "false",  # TensorFlow, where it is installed, has no s3://
    "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false",  # no questions of a bucket's kind
}
COPY_SECONDS = 30  # at least, between copies of what grows (ours)
LIBRARIES = ("aiobotocore", "aiohttp", "botocore", "gcsfs", "google", "s3fs")  # raise their own
PACKAGES = {"gs": "gcsfs", "s3": "s3fs"}  # by the scheme of a URL


def path(url: str) -> Path:
    """A URL as a path with pathlib's methods, of which it has no `rglob`, and links.

    Raises:
      InputError: for one that is of no bucket, or whose package is not installed.
    """
    scheme, _, name = url.partition("://")
    if scheme not in PACKAGES or not name.strip("/") or name.startswith("/"):
        raise InputError(
            f"{url!r} is a URL of no bucket; allowed: gs://BUCKET/..., s3://BUCKET/..., or a path "
            "in a file system of this machine"
        )
    if not importlib.util.find_spec(PACKAGES[scheme]):
        raise InputError(
            f"{url!r} needs {PACKAGES[scheme]}, which is not installed: "
            "pip install 'scarlet-jax[cloud]'"
        )
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    import fsspec  # here, as where there are no buckets neither is needed
    from etils import epath

    logging.getLogger("gcsfs").setLevel(logging.CRITICAL)  # it prints what it raises
    for package in ("gcs", "s3"):  # other machines write there, too
        fsspec.config.conf.setdefault(package, {}).setdefault("use_listings_cache", False)
    found: Path = epath.Path(url)
    return found


def is_bucket(path: str | os.PathLike[str]) -> bool:
    """Whether a path is a URL of a bucket."""
    return os.fspath(path).startswith(tuple(f"{scheme}://" for scheme in PACKAGES))


def system(path: Path) -> Any:  # fsspec has no types
    """The file system of fsspec that a URL belongs to."""
    import fsspec

    return fsspec.filesystem(os.fspath(path).partition("://")[0])


def is_of_storage(error: Exception) -> bool:
    """Whether a storage library has raised an error of its own kind."""
    return type(error).__module__.partition(".")[0] in LIBRARIES


@contextmanager
def reaching(path: str | os.PathLike[str]) -> Iterator[None]:
    """Makes an `OSError` with the path of what storage libraries raise in the block."""
    try:
        yield
    except OSError as error:
        absent = isinstance(error, FileNotFoundError)
        reason = f"no such bucket or object ({error})" if absent else str(error)
        error.strerror = error.strerror or reason
        error.filename = error.filename or os.fspath(path)
        raise
    except Exception as error:
        if not is_of_storage(error):
            raise
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise OSError(errno.EIO, reason, os.fspath(path)) from error


def listed(path: Path) -> dict[str, tuple[int, str]]:
    """Size and version of all files below a path, by their names in it; a file's own is empty.

    Raises:
      OSError: if the bucket cannot be read.
    """
    with reaching(path):
        found = system(path).find(os.fspath(path), detail=True)
    root = os.fspath(path).partition("://")[2].rstrip("/")
    files = {}
    for key, about in found.items():
        if not key.endswith("/"):  # which stands for a folder
            version = about.get("ETag") or about.get("etag")  # of s3fs, of gcsfs
            files[key.removeprefix(root).removeprefix("/")] = (int(about["size"]), str(version))
    return files


def upload(source: Path, target: Path) -> None:
    """Copies a file, or all files of a folder, to a bucket. Raises `OSError` if it cannot."""
    with reaching(target):
        below = sorted(source.rglob("*")) if source.is_dir() else [source]
        pairs = [
            (str(file), os.fspath(target / file.relative_to(source)))
            for file in below
            if file.is_file()
        ]
        if pairs:
            own, theirs = zip(*pairs, strict=True)
            system(target).put(list(own), list(theirs))


def check_writable(path: Path) -> None:
    """Raises `InputError` if a bucket does not take a file beside the path."""
    probe = path.with_name(f"{path.name}.probe")
    try:
        with reaching(path):
            system(path).pipe_file(os.fspath(probe), b"")
    except OSError as error:
        reason = error.strerror or error
        raise InputError(f"{path} cannot be written: {reason}") from error
    remove(probe)


def remove(path: Path) -> None:
    """Removes a file or a folder of a bucket, if it is there."""
    with reaching(path), suppress(FileNotFoundError):
        system(path).rm(os.fspath(path), recursive=True)


@contextmanager
def copy_of(path: Path) -> Iterator[Path]:
    """A folder of a bucket, copied to this machine for a block; any other path as it is."""
    if not is_bucket(path):
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / path.name
        with reaching(path):
            system(path).get(os.fspath(path), str(copy), recursive=True)
        yield copy


class Staged:
    """A file or folder that is written on this machine, and copied to its bucket.

    Where it is in no bucket, it is written in its own place.

    Attributes:
      local: what to write to.
    """

    def __init__(self, path: Path):
        self._path = path
        self._folder = tempfile.TemporaryDirectory() if is_bucket(path) else None
        self.local = Path(self._folder.name) / path.name if self._folder else path
        self._copied = time.monotonic()

    def __enter__(self) -> "Staged":
        return self

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        try:
            if error is None:
                self.copy()
        finally:
            if self._folder:
                self._folder.cleanup()

    def copy(self) -> None:
        """Brings the bucket up to date. Raises `OSError` if it cannot."""
        if self._folder:
            upload(self.local, self._path)
            self._copied = time.monotonic()

    def copy_if_due(self) -> None:
        """Does so, unless it was done a moment ago."""
        if time.monotonic() - self._copied >= COPY_SECONDS:
            self.copy()

    def close(self) -> None:
        """Does so for the last time."""
        self.__exit__(None)
