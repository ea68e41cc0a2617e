from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.files.writing import ANNOUNCED, contents, write
from zoo.errors import ZooError
from zoo.files import staging
from zoo.files.write import write_folder


def test_a_second_writer_is_refused_while_the_first_writes(tmp_path: Path) -> None:
    def stream() -> Iterator[tuple[str, Tensor]]:
        yield "a", torch.ones(2)
        with pytest.raises(ZooError, match="another zoo process is writing"):
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


@pytest.mark.parametrize("is_there", [False, True])
def test_every_file_and_folder_is_on_the_disk_before_the_name_is_and_the_name_at_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_there: bool
) -> None:
    target = tmp_path / "out"
    if is_there:
        write(target)
    synced: list[int] = []  # inodes, and 0 for the rename or exchange
    fsync, rename, exchange = os.fsync, Path.rename, staging._exchange
    monkeypatch.setattr(os, "fsync", lambda fd: (synced.append(os.fstat(fd).st_ino), fsync(fd))[1])
    monkeypatch.setattr(Path, "rename", lambda self, to: (synced.append(0), rename(self, to))[1])
    monkeypatch.setattr(staging, "_exchange", lambda one, other: (synced.append(0), exchange(one, other))[1])
    write(target, extra={"tokenizer.json": b"{}"}, force=True)
    before, after = synced[: synced.index(0)], synced[synced.index(0) + 1 :]
    assert {path.stat().st_ino for path in target.iterdir()} <= set(before)
    assert before[-1] == target.stat().st_ino
    assert after[-1] == tmp_path.stat().st_ino


def test_a_lock_that_was_removed_while_it_was_taken_locks_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, taken, flock = tmp_path / ".out.lock", [], fcntl.flock

    def removed_once(fd: int, operation: int) -> None:
        taken.append(os.fstat(fd).st_ino)
        if len(taken) == 1:  # its owner ends, and another writer comes
            path.rename(tmp_path / "gone")
            path.touch()
        flock(fd, operation)

    monkeypatch.setattr(fcntl, "flock", removed_once)
    with staging._locked(tmp_path / "out") as is_locked:
        assert is_locked
        assert taken[-1] == path.stat().st_ino != taken[0]


def test_folders_are_exchanged_here(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
        (tmp_path / name / name).touch()
    if not staging._exchange(tmp_path / "a", tmp_path / "b"):
        pytest.skip("this file system cannot exchange two folders")
    assert os.listdir(tmp_path / "a") == ["b"]


def test_a_run_that_cannot_be_held_is_told_and_its_own_faults_are_its_own(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(ZooError, match="run cannot be written: "), staging.held(tmp_path / "file" / "run"):
        pass
    with pytest.raises(OSError, match="mine"), staging.held(tmp_path / "run"):
        raise OSError("mine")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
