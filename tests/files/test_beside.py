"""A small file is written whole or not at all, and an error names it."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from zoo.files.beside import put_whole


def test_a_disk_that_is_full_is_named_by_the_file_and_leaves_what_was_there(tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    file.write_text("before")

    def write(path: Path) -> None:
        path.write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device")  # as write() raises it: without a name

    with pytest.raises(OSError, match="No space left") as found:
        put_whole(file, write)
    assert found.value.filename == str(file)
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("report.html", "before")]
