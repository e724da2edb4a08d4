"""Orbax checkpoints of a training state, each with what it was trained by and a digest of all.

A checkpoint is a folder named after its step. Beside the state it holds a record, as JSON, which
is written last: without one there is no checkpoint.

  settings   what the weights depend on
  metrics    all records up to this step
  window     the metrics of the steps since the last of them
  arrays     a digest of the state's arrays
  sha256     a digest of the record itself
"""

import dataclasses
import errno
import gc
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint.options import MultiprocessingOptions

from scarlet_jax import buckets, devices, files, processes, tensors
from scarlet_jax.buckets import Staged, copy_of, is_bucket
from scarlet_jax.differences import describe, differences
from scarlet_jax.errors import InputError
from scarlet_jax.files import Damaged
from scarlet_jax.progress import quiet
from scarlet_jax.train.step import TrainState

DIRECTORY = "checkpoints"
RECORD = Path("record", "metadata")
AFTERMATH_SECONDS = 0.5
TOGETHER, ALONE = MultiprocessingOptions(), MultiprocessingOptions(active_processes={0})
UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO)
OVERHEAD = 2**20  # bytes that a checkpoint takes beside its arrays, at most
Metrics = Mapping[str, float]


@dataclass(frozen=True)
class Progress:
    """How far training is: its state, and the metrics up to there.

    Attributes:
      state: after so many steps.
      metrics: the records of `metrics.jsonl`.
      window: the metrics of every step since the last record.
    """

    state: TrainState
    metrics: Sequence[Metrics] = ()
    window: Sequence[Metrics] = ()


class Writer:
    """Saves checkpoints to a folder, in the background; the first process does.

    A save that is killed leaves the checkpoints before it.

    Args:
      directory: created if absent.
      settings: JSON values that the weights depend on, the seed among them.
      keep: how many of the latest checkpoints stay.
    """

    def __init__(self, directory: Path, settings: Mapping[str, Any], keep: int):
        self._directory, self._settings, self._keep = directory, settings, keep
        self._thread = ThreadPoolExecutor(max_workers=1)
        self._saving: Future[None] | None = None

    def __enter__(self) -> "Writer":
        return self

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        try:
            self._wait()
        finally:
            self._thread.shutdown()
        if error is None:
            processes.meet()  # all find what the first has saved

    def save(self, progress: Progress) -> None:
        """Returns when the state is copied, which may be donated then; and the save before done.

        Raises:
          OSError: if this save or the one before cannot be written.
        """
        self._wait()
        if processes.is_first():
            check_space(self._directory, progress.state)
            tree = jax.tree.map(np.array, devices.local(_tree(progress.state)))
            record = {
                "settings": self._settings,
                "metrics": list(progress.metrics),
                "window": list(progress.window),
            }
            step = int(progress.state.step)
            self._saving = self._thread.submit(self._write, step, tree, record)

    def _wait(self) -> None:
        if self._saving is not None:
            self._saving.result()

    def _write(self, step: int, tree: dict[str, Any], record: dict[str, Any]) -> None:
        path = self._directory / str(step)
        _remove(path)  # what is left of a save that was killed
        with Staged(path / "state") as state, _naming(path), _checkpointer(ALONE) as saver:
            saver.save(state.local.absolute(), args=ocp.args.StandardSave(tree))
        record["arrays"] = tensors.fingerprint(tree)
        files.make_folder((path / RECORD).parent)
        files.write_signed(path / RECORD, record)
        for old in steps(self._directory)[self._keep :]:
            _remove(self._directory / str(old))


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Makes one `OSError` of what Orbax and TensorStore raise where nothing can be written."""
    try:
        yield
    except Exception as error:
        reasons = {number: os.strerror(number) for number in UNWRITABLE}
        for number, reason in reasons.items():
            if reason in str(error):
                raise OSError(number, reason, str(path)) from error
        raise


def check_space(directory: Path, state: TrainState) -> None:
    """Raises `OSError` if a disk has no space for a checkpoint: libraries would not say it so well.

    That of the folder; for one in a bucket, that of temporary files.
    """
    directory = Path(tempfile.gettempdir()) if is_bucket(directory) else directory
    needed = OVERHEAD + sum(leaf.nbytes for leaf in jax.tree.leaves(_tree(state)))
    files.check_space(directory, needed, "a checkpoint")


def steps(directory: Path) -> list[int]:
    """The steps that have a checkpoint in a folder, the latest first."""
    found = (step for step, path in _numbered(directory) if (path / RECORD).exists())
    return sorted(found, reverse=True)


def _numbered(directory: Path) -> list[tuple[int, Path]]:
    """What is named after a step in a folder: checkpoints, and what is left of saves."""
    try:
        with buckets.reaching(directory):
            named = [(path.name, path) for path in directory.iterdir()]
    except (FileNotFoundError, NotADirectoryError):
        return []
    return [(int(name), path) for name, path in named if name.isascii() and name.isdecimal()]


def restore(directory: Path, settings: Mapping[str, Any], state: TrainState) -> Progress | None:
    """The latest checkpoint that is whole, placed as `state` is; None where there is none at all.

    Reads only. A damaged checkpoint is named, and the one before it is used.

    Raises:
      InputError: if it is of other settings, naming every field that differs, or all are damaged.
    """
    with buckets.reaching(directory):
        if directory.exists() and not directory.is_dir():
            raise InputError(f"{directory} is a file; remove it to start anew")
    target = jax.tree.map(ocp.utils.to_shape_dtype_struct, _tree(state))
    to_state = ocp.args.StandardRestore(target)
    for path, record in _records(directory):
        if differing := differences(record["settings"], settings):
            raise InputError(
                f"checkpoint {path} is of another configuration or other data: "
                f"{describe(differing)}; take the same one or another --workdir"
            )
        try:
            found = TrainState(**_read_state(path, to_state))
            if _fingerprint(found) != record["arrays"]:
                raise Damaged(
                    f"{path} is damaged and passed over: its arrays do not fit their digest"
                )
        except (FileNotFoundError, Damaged) as damage:
            _warn(path, damage)
        else:
            return Progress(found, record["metrics"], record["window"])
    if latest := steps(directory):
        raise InputError(f"no checkpoint of {directory} is whole; remove {latest} to start anew")
    return None


def discard(directory: Path, after: int) -> None:
    """Removes what is named after later steps, which is damaged; the first process does."""
    for step, path in _numbered(directory) if processes.is_first() else ():
        if step > after:
            _remove(path)


def _remove(path: Path) -> None:
    """Removes a checkpoint, its record first; or a link or a file that has its name."""
    if is_bucket(path):
        buckets.remove(path / RECORD)
        buckets.remove(path)
    elif path.is_symlink() or not path.is_dir():
        path.unlink(missing_ok=True)
    else:
        with suppress(OSError):
            (path / RECORD).unlink()
        shutil.rmtree(path)


def latest_record(directory: Path) -> Mapping[str, Any]:
    """The record of the latest checkpoint that has one, without its arrays; empty without any."""
    return next((record for _, record in _records(directory)), {})


def _records(directory: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Checkpoints with a record that is whole, the latest first."""
    tried: set[int] = set()
    # Listed anew each time, as a training that goes on adds some and removes others.
    while left := [step for step in steps(directory) if step not in tried]:
        tried.add(left[0])
        path = directory / str(left[0])
        try:
            record = files.read_json(path / RECORD)
        except (FileNotFoundError, Damaged) as damage:
            _warn(path, damage)
        else:
            yield path, record


def _read_state(path: Path, how: ocp.args.StandardRestore) -> Any:
    """What Orbax finds. Raises `Damaged` for whatever it raises, and keeps its tracebacks quiet."""
    with copy_of(path / "state") as state:
        for file in state.rglob("*"):
            if not file.is_dir():
                files.check_regular(file)
        with quiet():
            try:
                with _checkpointer(TOGETHER) as checkpointer:
                    return checkpointer.restore(state.absolute(), args=how)
            except Exception as error:
                reason = _first_line(error)
            # TensorStore's threads go on for a moment, and complain that nobody waits for them.
            gc.collect()
            time.sleep(AFTERMATH_SECONDS)
    raise Damaged(f"{path} is damaged and passed over: {reason}")


def _checkpointer(processes: MultiprocessingOptions) -> ocp.Checkpointer:
    handler = ocp.StandardCheckpointHandler(multiprocessing_options=processes)
    return ocp.Checkpointer(handler, multiprocessing_options=processes)


def _first_line(error: Exception) -> str:
    """What an error says, without the specification that TensorStore appends."""
    line = str(error).partition("\n")[0].partition(" [tensorstore_spec")[0]
    return line or type(error).__name__


def _warn(path: Path, damage: Exception) -> None:
    if path.exists():  # else it was removed while it was read
        files.warn_once(f"{damage}")


def _fingerprint(state: TrainState) -> str:
    return tensors.fingerprint(devices.local(_tree(state)))


def _tree(state: TrainState) -> dict[str, Any]:
    return {field.name: getattr(state, field.name) for field in dataclasses.fields(state)}
