"""Orbax checkpoints of a training state, each with what it was trained by and a digest of all.

A checkpoint is a folder named after its step. Beside the state it holds a record, as JSON:

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
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp

from scarlet_jax import devices, files, processes, tensors
from scarlet_jax.differences import describe, differences
from scarlet_jax.errors import InputError
from scarlet_jax.files import Damaged
from scarlet_jax.progress import quiet
from scarlet_jax.train.step import TrainState

DIRECTORY = "checkpoints"
RECORD = Path("record", "metadata")  # where Orbax puts what `JsonSave` saves
AFTERMATH_SECONDS = 0.5
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


class _Manager(ocp.CheckpointManager):
    """Leaves JAX's preemption service alone: it counts the questions, and `processes` asks."""

    def reached_preemption(self, step: int) -> bool:
        return False


class Writer:
    """Saves checkpoints to a folder. A save that is killed leaves the one before intact.

    Args:
      directory: created if absent.
      settings: JSON values that the weights depend on, the seed among them.
      keep: how many of the latest checkpoints stay.
    """

    def __init__(self, directory: Path, settings: Mapping[str, Any], keep: int):
        self.directory, self.settings = directory, settings
        self._manager = _Manager(
            directory.absolute(),
            options=ocp.CheckpointManagerOptions(max_to_keep=keep, cleanup_tmp_directories=True),
        )

    def __enter__(self) -> "Writer":
        return self

    def __exit__(self, *_: object) -> None:
        with self._naming():
            self._manager.close()

    def save(self, progress: Progress) -> None:
        """Saves in the background; the state may be donated at once."""
        record = {
            "settings": self.settings,
            "metrics": list(progress.metrics),
            "window": list(progress.window),
            "arrays": _fingerprint(progress.state),
        }
        items = ocp.args.Composite(
            state=ocp.args.StandardSave(_tree(progress.state)),
            record=ocp.args.JsonSave(files.signed(record)),
        )
        check_space(self.directory, progress.state)
        with self._naming():
            self._manager.save(int(progress.state.step), args=items)

    @contextmanager
    def _naming(self) -> Iterator[None]:
        """Makes one `OSError` of what Orbax and TensorStore raise where nothing can be written."""
        try:
            yield
        except Exception as error:
            reasons = {number: os.strerror(number) for number in UNWRITABLE}
            for number, reason in reasons.items():
                if reason in str(error):
                    raise OSError(number, reason, str(self.directory)) from error
            raise


def check_space(directory: Path, state: TrainState) -> None:
    """Raises `OSError` if a folder's disk has no space: libraries would not say it so well."""
    needed = OVERHEAD + sum(leaf.nbytes for leaf in jax.tree.leaves(_tree(state)))
    nearest = next(path for path in (directory, *directory.parents) if path.exists())
    if (free := shutil.disk_usage(nearest).free) < needed:
        reason = f"a checkpoint needs {needed / 1e6:,.1f} MB, and {free / 1e6:,.1f} MB are free"
        raise OSError(errno.ENOSPC, f"{os.strerror(errno.ENOSPC)}: {reason}", str(directory))


def steps(directory: Path) -> list[int]:
    """The steps that have a checkpoint in a folder, the latest first."""
    if not directory.is_dir():
        return []
    names = (path.name for path in directory.iterdir() if path.is_dir())
    return sorted(
        (int(name) for name in names if name.isascii() and name.isdecimal()), reverse=True
    )


def restore(directory: Path, settings: Mapping[str, Any], state: TrainState) -> Progress | None:
    """The latest checkpoint that is whole, placed as `state` is; None where there is none at all.

    Reads only. A damaged checkpoint is named, and the one before it is used.

    Raises:
      InputError: if it is of other settings, naming every field that differs, or all are damaged.
    """
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
    """Removes the checkpoints of later steps, which are damaged; the first process does."""
    if not directory.exists() or not processes.is_first():
        return
    for path in directory.iterdir():
        if path.name.isascii() and path.name.isdecimal() and int(path.name) > after:
            # A link, or a file, is none of ours, but Orbax would fall over it.
            path.unlink() if path.is_symlink() or not path.is_dir() else shutil.rmtree(path)


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
            record = files.read_json(path / RECORD)  # Orbax would wait for all processes
        except (FileNotFoundError, Damaged) as damage:
            _warn(path, damage)
        else:
            yield path, record


def _read_state(path: Path, how: ocp.args.StandardRestore) -> Any:
    """What Orbax finds. Raises `Damaged` for whatever it raises, and keeps its tracebacks quiet."""
    for file in (path / "state").rglob("*"):
        if not file.is_dir():
            files.check_regular(file)
    with quiet():
        try:
            with ocp.Checkpointer(ocp.StandardCheckpointHandler()) as checkpointer:
                return checkpointer.restore((path / "state").absolute(), args=how)
        except Exception as error:
            reason = _first_line(error)
        # TensorStore's threads go on for a moment, and complain that nobody waits for them.
        gc.collect()
        time.sleep(AFTERMATH_SECONDS)
    raise Damaged(f"{path} is damaged and passed over: {reason}")


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
