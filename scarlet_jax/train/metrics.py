"""Metrics by step: a JSON-lines file for programs, TensorBoard events for people."""

import json
from collections.abc import Mapping
from pathlib import Path

from tensorboardX import SummaryWriter

FILE_NAME = "metrics.jsonl"


class MetricsWriter:
    """Appends records to a directory.

    Args:
      directory: where `metrics.jsonl` and the events go; created if absent.
      start_step: where training goes on; later records, of a run that was killed after its last
        checkpoint, are dropped, since they will be written again.
    """

    def __init__(self, directory: Path, start_step: int):
        directory.mkdir(parents=True, exist_ok=True)
        path = directory / FILE_NAME
        kept = [record for record in read(directory) if record["step"] <= start_step]
        path.write_text("".join(json.dumps(record) + "\n" for record in kept))
        self._file = path.open("a")
        self._events = SummaryWriter(str(directory), purge_step=start_step + 1)

    def __enter__(self) -> "MetricsWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._events.close()

    def write(self, step: int, values: Mapping[str, float]) -> None:
        self._file.write(json.dumps({"step": step, **values}) + "\n")
        self._file.flush()
        for name, value in values.items():
            self._events.add_scalar(name, value, step)


def read(directory: Path) -> list[dict[str, float]]:
    """The records of a directory, in order; a last line that a kill cut short is left out."""
    path = directory / FILE_NAME
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    return [json.loads(line) for line in lines if line.endswith("\n")]
