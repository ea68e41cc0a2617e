from __future__ import annotations

import errno
import hashlib
import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import save, save_file
from torch import Tensor

from tests.weights import make
from zoo.errors import CheckpointError, UsageError, ZooError
from zoo.weights import safetensors_writer, staging
from zoo.weights.checkpoint import open_checkpoint
from zoo.weights.manifest import verify_folder
from zoo.weights.safetensors_file import DTYPES
from zoo.weights.safetensors_writer import TensorSpec
from zoo.weights.write import cut, write_folder

CONFIG = {"model_type": "llama", "name": "é"}


def specs(weights: dict[str, Tensor]) -> dict[str, TensorSpec]:
    return {name: (str(t.dtype).removeprefix("torch."), tuple(t.shape)) for name, t in weights.items()}


def write(target: Path, weights: dict[str, Tensor] | None = None, **options: Any) -> Path:
    weights = make.tensors() if weights is None else weights
    return write_folder(target, specs(weights), weights.items(), **{"config": CONFIG, **options})


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_what_was_written_reads_back_bit_for_bit(tmp_path: Path) -> None:
    extra = {"tokenizer.json": b"{}"}
    target = write(tmp_path / "out", extra=extra, provenance={"source": "hf://a/b", "commit": "c"})
    assert set(contents(target)) == {"config.json", "model.safetensors", "tokenizer.json", "zoo.json"}
    with safe_open(target / "model.safetensors", "pt") as file:
        assert file.metadata() == {"format": "pt"}
        for name, tensor in make.tensors().items():
            assert make.bits(file.get_tensor(name)) == make.bits(tensor)
    assert open_checkpoint(target).config == CONFIG
    assert sorted(os.listdir(tmp_path)) == ["out"]


def test_one_file_is_the_very_file_that_the_library_writes(tmp_path: Path) -> None:
    weights = {code: torch.ones(3).to(getattr(torch, name)) for code, name in DTYPES.items()}
    weights |= make.tensors() | {'q"\n\x7fé\u2028': torch.ones(2, 2), "nan": torch.tensor([float("nan"), -0.0])}
    write(tmp_path / "out", weights)
    assert (tmp_path / "out" / "model.safetensors").read_bytes() == save(weights, {"format": "pt"})


dtypes = st.sampled_from([torch.float32, torch.bfloat16, torch.bool, torch.uint8, torch.float64, torch.float8_e4m3fn])
some_weights = st.dictionaries(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=6).filter(lambda name: name != "__metadata__"),
    st.tuples(dtypes, st.lists(st.integers(0, 4), max_size=3)),
    min_size=1,
    max_size=6,
)


@settings(max_examples=60, deadline=None)
@given(wanted=some_weights)
def test_any_tensors_in_any_order_are_the_library_s_bytes(
    tmp_path_factory: pytest.TempPathFactory, wanted: dict[str, tuple[torch.dtype, list[int]]]
) -> None:
    weights = {name: torch.rand(shape).mul(2).to(dtype) for name, (dtype, shape) in wanted.items()}
    path = tmp_path_factory.mktemp("any") / "x.safetensors"
    writer = safetensors_writer.SafetensorsWriter(path, specs(weights))
    for name, tensor in reversed(weights.items()):
        writer.write(name, tensor)
    digest = writer.finish()
    assert path.read_bytes() == save(weights, {"format": "pt"})
    assert digest == (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_size)


def test_views_and_parameters_are_written_as_what_they_show(tmp_path: Path) -> None:
    weights = {
        "view": torch.arange(12.0).reshape(3, 4).T[1:],
        "expanded": torch.ones(1).expand(5),
        "parameter": torch.nn.Parameter(torch.ones(2)),
        "conjugate": torch.tensor([1 + 2j]).conj(),
    }
    with open_checkpoint(write(tmp_path / "out", weights)).open() as tensors:
        for name, tensor in weights.items():
            assert torch.equal(tensors[name], tensor)


def test_shards_are_cut_as_the_hub_s_tool_cuts_them(tmp_path: Path) -> None:
    from huggingface_hub import save_torch_state_dict

    sizes = [10, 30, 50, 200, 20, 100, 70, 1, 0, 30]
    weights = {f"layers.{i}": torch.full((n,), float(i)) for i, n in enumerate(sizes)}
    (tmp_path / "theirs").mkdir()
    save_torch_state_dict(dict(weights), tmp_path / "theirs", max_shard_size=400)
    write(tmp_path / "ours", weights, max_shard_size=400)
    theirs, ours = contents(tmp_path / "theirs"), contents(tmp_path / "ours")
    assert len(theirs) == 6 + 1
    for name in theirs:
        if name.endswith(".json"):
            assert json.loads(theirs[name]) == json.loads(ours[name])
        else:
            assert theirs[name] == ours[name]
    with open_checkpoint(tmp_path / "ours").open() as tensors:
        assert all(torch.equal(tensors[name], tensor) for name, tensor in weights.items())


@given(st.lists(st.integers(0, 9), min_size=1, max_size=12), st.integers(1, 12))
def test_no_shard_is_larger_than_allowed_but_for_one_tensor(sizes: list[int], limit: int) -> None:
    weights: dict[str, TensorSpec] = {str(i): ("uint8", (n,)) for i, n in enumerate(sizes)}
    shards = cut(weights, limit)
    assert sorted(name for shard in shards.values() for name in shard) == sorted(weights)
    for shard in shards.values():
        assert shard
        assert len(shard) == 1 or sum(spec[1][0] for spec in shard.values()) <= limit


def test_the_same_input_gives_the_same_bytes(tmp_path: Path) -> None:
    options: dict[str, Any] = {"provenance": {"b": 1, "a": [2]}, "extra": {"x.txt": b"x"}, "max_shard_size": 60}
    one = contents(write(tmp_path / "one", **options))
    assert len(one) > 5
    assert one == contents(write(tmp_path / "two", **options))


def test_zoo_json_lists_every_file_and_where_they_come_from(tmp_path: Path) -> None:
    source = make.folder(tmp_path / "source")
    (source / "tokenizer.model").write_bytes(b"\0\1")
    extra = {"tokenizer.model": source / "tokenizer.model"}
    target = write(tmp_path / "out", extra=extra, provenance={"commit": "c96c"})
    manifest = json.loads((target / "zoo.json").read_text())
    assert manifest["provenance"] == {"commit": "c96c"}
    assert manifest["files"] == {
        name: {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
        for name, data in contents(target).items()
        if name != "zoo.json"
    }
    assert verify_folder(target) == 3


@pytest.mark.parametrize("change", ["flip", "cut", "remove"])
def test_a_changed_file_is_found_by_verify(tmp_path: Path, change: str) -> None:
    target = write(tmp_path / "out")
    path = target / "model.safetensors"
    data = path.read_bytes()
    if change == "flip":
        path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    elif change == "cut":
        path.write_bytes(data[:-1])
    else:
        path.unlink()
    with pytest.raises(CheckpointError, match=r"model\.safetensors"):
        verify_folder(target)


def test_modes_follow_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        target = write(tmp_path / "out", extra={"x": b""})
    finally:
        os.umask(before)
    assert stat.S_IMODE(target.stat().st_mode) == 0o750
    assert {stat.S_IMODE(path.stat().st_mode) for path in target.iterdir()} == {0o640}


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
        with pytest.raises(ZooError, match="overlaps the source|is there already"):
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


@pytest.mark.parametrize("name", ["../x", "a/b", "config.json", "zoo.json", "model.safetensors", "", ".."])
def test_an_extra_file_keeps_to_the_folder_and_to_its_own_name(tmp_path: Path, name: str) -> None:
    with pytest.raises((UsageError, CheckpointError)):
        write(tmp_path / "out", extra={name: b""})
    assert not os.listdir(tmp_path)


ANNOUNCED: dict[str, TensorSpec] = {"a": ("float32", (2,)), "b": ("float32", (2,))}


@pytest.mark.parametrize(
    ("stream", "message"),
    [
        ([("a", torch.ones(2))], "not all of its tensors came"),
        ([("a", torch.ones(2)), ("a", torch.ones(2))], "a: came as float32 [2]"),
        ([("a", torch.ones(3))], "a: came as float32 [3], announced was float32 [2]"),
        ([("a", torch.ones(2).half())], "a: came as float16 [2]"),
        ([("c", torch.ones(2))], "c: a tensor that was not announced"),
        ([], "not all of its tensors came"),
    ],
)
def test_a_stream_that_is_not_what_was_announced_leaves_nothing(
    tmp_path: Path, stream: list[tuple[str, Tensor]], message: str
) -> None:
    with pytest.raises(ZooError) as error:
        write_folder(tmp_path / "out", ANNOUNCED, stream, config={})
    assert message in str(error.value)
    assert not os.listdir(tmp_path)


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


def test_bytes_that_come_back_other_than_written_are_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = os.pread

    def failing(fd: int, count: int, offset: int) -> bytes:
        data = honest(fd, count, offset)
        return data if offset < 600 else bytes([data[0] ^ 4]) + data[1:]

    monkeypatch.setattr(os, "pread", failing)
    with pytest.raises(CheckpointError, match=r"w: reads back as other bytes"):
        write(tmp_path / "out", {"v": torch.ones(200), "w": torch.ones(3)})
    assert not os.listdir(tmp_path)


def test_nan_in_the_config_and_an_unknown_dtype_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ZooError, match="NaN"):
        write(tmp_path / "out", config={"a": float("nan")})
    with pytest.raises(ZooError, match="no dtype 'Q4_0'"):
        write_folder(tmp_path / "out", {"a": ("Q4_0", (32,))}, [], config={})
    assert not os.listdir(tmp_path)


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


def test_a_file_that_the_library_writes_and_ours_are_read_alike(tmp_path: Path) -> None:
    save_file(make.tensors(), tmp_path / "theirs.safetensors", {"format": "pt"})
    write(tmp_path / "out")
    assert (tmp_path / "out" / "model.safetensors").read_bytes() == (tmp_path / "theirs.safetensors").read_bytes()
