"""What is open, and the room on a disk: each guard provoked once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from zoo.errors import ZooError
from zoo.files import write as writing
from zoo.files.open_tensors import OpenTensors
from zoo.files.tensor_info import TensorInfo

FILE = Path("x.bin")


def refused(told: str, work: Callable[..., Any], *args: Any, **options: Any) -> None:
    with pytest.raises(ZooError, match=told):
        work(*args, **options)


def info(name: str, dtype: str, *shape: int) -> TensorInfo:
    return TensorInfo(name, dtype, shape, FILE, 1, 0)


def test_open_tensors_are_those_of_the_header() -> None:
    closed: list[int] = []
    infos = {"a": info("a", "int8", 1)}
    with OpenTensors(infos, lambda name: torch.tensor([5]), lambda: closed.append(1)) as tensors:
        assert ("a" in tensors, "b" in tensors, list(tensors), len(tensors)) == (True, False, ["a"], 1)
        assert tensors["a"].item() == 5
        with pytest.raises(KeyError):
            tensors["b"]
    assert closed == [1]


def test_a_disk_without_room_is_told_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from types import SimpleNamespace

    specs = {"a": ("float32", (2, 2)), "b": ("int8", (3,))}
    monkeypatch.setattr(writing.shutil, "disk_usage", lambda path: SimpleNamespace(free=19))
    writing._check_room(tmp_path / "x", specs)
    monkeypatch.setattr(writing.shutil, "disk_usage", lambda path: SimpleNamespace(free=18))
    refused("needs 19 bytes, 18 are free", writing._check_room, tmp_path / "x", specs)
