"""Files are written whole or not at all."""

import pytest

from scarlet_jax import files
from scarlet_jax.errors import InputError


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path):
    path = tmp_path / "a.txt"
    files.replace_text(path, "old")

    def stopped():
        with files.replacing(path) as partial:
            partial.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_where_a_file_can_go(tmp_path):
    files.check_writable(tmp_path / "new.json")
    for place in (tmp_path, tmp_path / "none" / "t.json"):
        with pytest.raises(InputError, match=f"{place} cannot be written; allowed: a file in a"):
            files.check_writable(place)
