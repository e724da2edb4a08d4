"""Text files that are written whole or not at all."""

import os
from pathlib import Path


def replace_text(path: str | os.PathLike[str], text: str) -> None:
    """Writes UTF-8 under a temporary name beside `path`, then renames it.

    Raises:
      OSError: if the file cannot be written.
    """
    path = Path(path)
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)
