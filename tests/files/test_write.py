from __future__ import annotations

import hashlib
import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import save, save_file
from torch import Tensor

from tests.files import make
from tests.files.writing import ANNOUNCED, CONFIG, contents, specs, write
from zoo.errors import CheckpointError, UsageError, ZooError
from zoo.files import safetensors_writer
from zoo.files.checkpoint import open_checkpoint
from zoo.files.manifest import verify_folder
from zoo.files.safetensors_file import DTYPES
from zoo.files.safetensors_writer import TensorSpec
from zoo.files.shards import cut
from zoo.files.write import write_folder


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


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
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


@settings(deadline=None)
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


@pytest.mark.parametrize("name", ["../x", "a/b", "config.json", "zoo.json", "model.safetensors", "", ".."])
def test_an_extra_file_keeps_to_the_folder_and_to_its_own_name(tmp_path: Path, name: str) -> None:
    with pytest.raises((UsageError, CheckpointError)):
        write(tmp_path / "out", extra={name: b""})
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize(
    ("stream", "message"),
    [
        ([("a", torch.ones(2))], "some of its tensors are missing"),
        ([("a", torch.ones(2)), ("a", torch.ones(2))], "a: got float32 [2]"),
        ([("a", torch.ones(3))], "a: got float32 [3], expected float32 [2]"),
        ([("a", torch.ones(2).half())], "a: got float16 [2]"),
        ([("c", torch.ones(2))], "c: this tensor was not expected"),
        ([], "some of its tensors are missing"),
    ],
)
def test_a_stream_that_is_not_what_was_announced_leaves_nothing(
    tmp_path: Path, stream: list[tuple[str, Tensor]], message: str
) -> None:
    with pytest.raises(ZooError) as error:
        write_folder(tmp_path / "out", ANNOUNCED, stream, config={})
    assert message in str(error.value)
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize(("beyond", "told"), [(3, "u, v"), (4, "v, w")], ids=["block", "end"])
def test_bytes_that_come_back_other_than_written_are_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, beyond: int, told: str
) -> None:
    honest = os.preadv

    def failing(fd: int, buffers: list[memoryview], offset: int, *flags: int) -> int:
        count = honest(fd, buffers, offset, *flags)
        if offset + count > (beyond << 20):
            buffers[0][count - 1] ^= 4
        return count

    monkeypatch.setattr(os, "preadv", failing)
    with pytest.raises(CheckpointError, match=rf"safetensors: {told}: has different bytes"):
        write(tmp_path / "out", {"u": torch.ones(1 << 19), "v": torch.ones(1 << 19), "w": torch.ones(3)})
    assert not os.listdir(tmp_path)


def test_nan_in_the_config_and_an_unknown_dtype_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ZooError, match="NaN"):
        write(tmp_path / "out", config={"a": float("nan")})
    with pytest.raises(ZooError, match="no dtype 'Q4_0'"):
        write_folder(tmp_path / "out", {"a": ("Q4_0", (32,))}, [], config={})
    assert not os.listdir(tmp_path)


def test_a_file_that_the_library_writes_and_ours_are_read_alike(tmp_path: Path) -> None:
    save_file(make.tensors(), tmp_path / "theirs.safetensors", {"format": "pt"})
    write(tmp_path / "out")
    assert (tmp_path / "out" / "model.safetensors").read_bytes() == (tmp_path / "theirs.safetensors").read_bytes()
