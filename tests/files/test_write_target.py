from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.files import make
from tests.files.writing import ANNOUNCED, CONFIG, contents, write
from zoo.errors import CheckpointError, ZooError
from zoo.files.checkpoint import open_checkpoint
from zoo.files.manifest import verify_folder
from zoo.files.safetensors_writer import TensorSpec
from zoo.files.write import write_folder


def test_a_missing_parent_and_an_empty_target_are_no_obstacle(tmp_path: Path) -> None:
    write(tmp_path / "new" / "deeper" / "out")
    (tmp_path / "empty").mkdir()
    write(tmp_path / "empty")
    assert verify_folder(tmp_path / "empty") == 2


def test_a_folder_of_ours_is_replaced_only_by_force(tmp_path: Path) -> None:
    target = write(tmp_path / "out", extra={"old.txt": b""})
    before = contents(target)
    with pytest.raises(ZooError, match="--force"):
        write(target)
    assert contents(target) == before
    write(target, {"a": torch.ones(1)}, force=True)
    assert set(contents(target)) == {"config.json", "model.safetensors", "zoo.json"}
    assert os.listdir(tmp_path) == ["out"]


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("kind", ["foreign", "file", "link", "false manifest", "stranger", "subfolder"])
def test_what_zoo_did_not_write_is_never_touched(tmp_path: Path, kind: str, force: bool) -> None:
    target = tmp_path / "out"
    if kind == "foreign":
        make.folder(target)
    elif kind == "file":
        target.write_text("mine")
    elif kind == "link":
        write(tmp_path / "elsewhere")
        target.symlink_to("elsewhere")
    elif kind == "false manifest":
        make.folder(target)
        (target / "zoo.json").write_text('{"files": {}}')
    else:
        write(target)
        if kind == "stranger":
            (target / "notes.txt").write_text("mine")
        else:
            (target / "runs").mkdir()
    before = {p: p.is_file() and p.read_bytes() for p in sorted(tmp_path.rglob("*"))}
    with pytest.raises(ZooError):
        write(target, force=force)
    assert {p: p.is_file() and p.read_bytes() for p in sorted(tmp_path.rglob("*"))} == before


def test_a_target_that_overlaps_the_source_needs_force(tmp_path: Path) -> None:
    source = write(tmp_path / "source")
    before = contents(source)
    for target, of in ((source / "out", source), (source, source / "model.safetensors"), (tmp_path / "out", tmp_path)):
        with pytest.raises(ZooError, match=r"overlaps the source|exists already"):
            write(target, sources=[of])
    assert contents(source) == before
    (tmp_path / "alias").symlink_to("source")
    with pytest.raises(ZooError, match="overlaps the source"):
        write(tmp_path / "alias" / "out", sources=[source])


def test_a_folder_may_be_rewritten_from_its_own_tensors_by_force(tmp_path: Path) -> None:
    target = write(tmp_path / "out")
    with open_checkpoint(target).open() as tensors:
        wanted = {name: (info.dtype, info.shape) for name, info in open_checkpoint(target).tensors.items()}
        write_folder(target, wanted, tensors.items(), config=CONFIG, sources=[target], force=True)
    with open_checkpoint(target).open() as tensors:
        assert all(torch.equal(tensors[name], tensor) for name, tensor in make.tensors().items())


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError, CheckpointError("f", "t", "is broken")])
def test_a_failing_stream_leaves_the_target_as_it_was(tmp_path: Path, error: Any) -> None:
    target = write(tmp_path / "out")
    before = contents(target)

    def stream() -> Iterator[tuple[str, Tensor]]:
        yield "a", torch.ones(2)
        raise error

    with pytest.raises((KeyboardInterrupt, RuntimeError, CheckpointError)):
        write_folder(target, ANNOUNCED, stream(), config={}, force=True)
    assert contents(target) == before
    assert os.listdir(tmp_path) == ["out"]


@pytest.mark.parametrize("call", ["pwrite", "fsync", "mkdir"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EDQUOT])
def test_a_disk_that_refuses_leaves_the_target_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, number: int
) -> None:
    target = write(tmp_path / "out")
    before = contents(target)

    def refuse(*args: Any, **options: Any) -> Any:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, call, refuse)
    with pytest.raises(ZooError, match=os.strerror(number)):
        write(target, force=True)
    monkeypatch.undo()
    assert contents(target) == before
    assert os.listdir(tmp_path) == ["out"]


def test_more_than_the_disk_holds_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    wanted: dict[str, TensorSpec] = {"a": ("float32", (1 << 47,))}
    with pytest.raises(ZooError, match="are free on that disk"):
        write_folder(tmp_path / "out", wanted, [], config={})
    assert not os.listdir(tmp_path)


def test_no_file_from_elsewhere_is_copied_along_by_a_link(tmp_path: Path) -> None:
    import shutil

    import zoo

    tiny = Path(zoo.__file__).parent / "box" / "tiny"
    cache = tmp_path / "models--a--b" / "snapshots" / "c0ffee"
    shutil.copytree(tiny, cache)
    blobs = tmp_path / "models--a--b" / "blobs"
    blobs.mkdir()
    (cache / "tokenizer.json").rename(blobs / "1")
    (cache / "tokenizer.json").symlink_to("../../blobs/1")  # as the cache of Hugging Face has it
    assert (zoo.convert(cache, tmp_path / "good").folder / "tokenizer.json").read_bytes() == (blobs / "1").read_bytes()
    (tmp_path.parent / "secret").write_text("{}")
    (cache / "vocab.json").symlink_to(tmp_path.parent / "secret")
    with pytest.raises(CheckpointError, match=r"vocab\.json: is a link to a file outside the folder"):
        zoo.convert(cache, tmp_path / "bad")
    assert not (tmp_path / "bad").exists()
