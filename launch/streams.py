"""Standard streams that may be lost (`| head -1`, closed, a full disk) while the job goes on."""

import io
import os
import sys
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


class _Raw(io.FileIO):
    """A file that drops what cannot be written."""

    def write(self, data: "ReadableBuffer", /) -> int:
        try:
            written: int | None = super().write(data)  # None where it would have to wait
        except OSError:
            written = None
        return memoryview(data).nbytes if written is None else written


def guard() -> None:
    """Lets neither `print`, nor logging, nor the interpreter's last flush fail."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            # The next file to be opened would get this number, and what libraries print.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    sys.stdout, sys.stderr = _text(sys.stdout, 1), _text(sys.stderr, 2)


def silence_xla() -> None:
    """Keeps XLA from printing pages when one of several processes is lost (see `processes`)."""
    if any(word.lstrip("-").partition("=")[0] == "coordinator" for word in sys.argv):
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "4")  # read when JAX is imported


def _text(stream: TextIO | None, number: int) -> TextIO:
    """As Python has made `stream`, which is None if it was closed."""
    made = stream if isinstance(stream, io.TextIOWrapper) else None
    return io.TextIOWrapper(
        io.BufferedWriter(_Raw(number, "w", closefd=False)),
        encoding=made.encoding if made else "utf-8",
        errors=made.errors if made else "backslashreplace",
        line_buffering=made is not None and (made.line_buffering or made.write_through),
    )
