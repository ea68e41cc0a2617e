from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.weights.writing import ANNOUNCED, contents, write
from zoo.errors import ZooError
from zoo.weights import staging
from zoo.weights.write import write_folder


def test_a_second_writer_is_refused_while_the_first_writes(tmp_path: Path) -> None:
    def stream() -> Iterator[tuple[str, Tensor]]:
        yield "a", torch.ones(2)
        with pytest.raises(ZooError, match="another zoo is writing"):
            write(tmp_path / "out")
        write(tmp_path / "other")
        yield "b", torch.zeros(2)

    write_folder(tmp_path / "out", ANNOUNCED, stream(), config={})
    assert sorted(os.listdir(tmp_path)) == ["other", "out"]


def test_leftovers_of_killed_writers_are_removed_and_nothing_else(tmp_path: Path) -> None:
    for name in (".out.123.incomplete", ".out.x.incomplete", ".other.123.incomplete", "kept"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.safetensors").write_bytes(b"half")
    (tmp_path / ".out.lock").write_bytes(b"")
    (tmp_path / ".out.77.incomplete").symlink_to("kept")
    write(tmp_path / "out")
    assert set(os.listdir(tmp_path)) == {
        "out",
        ".out.x.incomplete",
        ".other.123.incomplete",
        ".out.77.incomplete",
        "kept",
    }
    assert (tmp_path / "kept" / "model.safetensors").read_bytes() == b"half"


@pytest.mark.parametrize("is_there", [True, False])
def test_where_folders_cannot_be_exchanged_they_are_replaced_in_two_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_there: bool
) -> None:
    monkeypatch.setattr(staging, "_exchange", lambda one, other: False)
    target = write(tmp_path / "out", extra={"old.txt": b""})
    before = contents(target)
    if is_there:
        write(target, force=True)
        assert "old.txt" not in contents(target)
    else:
        rename = Path.rename
        monkeypatch.setattr(Path, "rename", lambda self, to: _die() if "incomplete" in self.name else rename(self, to))
        with pytest.raises(ZooError):
            write(target, force=True)
        assert contents(target) == before
    assert os.listdir(tmp_path) == ["out"]


def _die() -> None:
    raise OSError(errno.EIO, "Input/output error")


def test_killed_between_the_two_steps_the_old_folder_comes_back(tmp_path: Path) -> None:
    target = write(tmp_path / "out")
    before = contents(target)
    target.rename(tmp_path / ".out.123.replaced")
    with pytest.raises(ZooError, match="--force"):
        write(target)
    assert contents(target) == before


def test_folders_are_exchanged_here(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
        (tmp_path / name / name).touch()
    if not staging._exchange(tmp_path / "a", tmp_path / "b"):
        pytest.skip("this file system cannot exchange two folders")
    assert os.listdir(tmp_path / "a") == ["b"]
