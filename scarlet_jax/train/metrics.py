"""Metrics by step: a JSON-lines file for programs, TensorBoard events for people."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from scarlet_jax.buckets import Staged
from scarlet_jax.events import Events
from scarlet_jax.files import make_folder, replace_text

FILE_NAME = "metrics.jsonl"


class MetricsWriter:
    """Appends records to a directory.

    Args:
      directory: where `metrics.jsonl` and the events go; created if absent.
      records: those up to the step where training goes on. The file is written anew with them, so
        that later ones, of a run that was killed after its last checkpoint, are dropped.
    """

    def __init__(self, directory: Path, records: Sequence[Mapping[str, float]], start_step: int):
        make_folder(directory)
        self._staged = Staged(directory / FILE_NAME)
        _replace(self._staged.local, records)
        self._staged.copy()
        self._file = self._staged.local.open("a", encoding="utf-8")
        self.events = Events(directory, start_step + 1 if start_step else 0)  # hides the dropped

    def __enter__(self) -> "MetricsWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._staged.close()
        self.events.__exit__()

    def write(self, record: Mapping[str, float], rates: Mapping[str, float]) -> None:
        """Appends a record, its "step" included.

        Args:
          record: what a run with the same settings repeats to the last digit.
          rates: how fast it was, which goes to TensorBoard alone.
        """
        self._file.write(_line(record))
        self._file.flush()
        self._staged.copy_if_due()
        values = {name: value for name, value in record.items() if name != "step"}
        self.events.scalars(int(record["step"]), {**values, **rates})


def write(directory: Path, records: Sequence[Mapping[str, float]]) -> None:
    """Replaces the directory's file. Raises `OSError` if it cannot."""
    make_folder(directory)
    _replace(directory / FILE_NAME, records)


def _replace(path: Path, records: Sequence[Mapping[str, float]]) -> None:
    replace_text(path, "".join(map(_line, records)))


def _line(record: Mapping[str, float]) -> str:
    return json.dumps(record) + "\n"
