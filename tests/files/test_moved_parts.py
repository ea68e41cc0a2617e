"""Tensors are moved in parts that make them up, few held at a time, and the file is hashed while they come."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import pytest

from zoo.errors import CheckpointError, ZooError
from zoo.files import moved as module
from zoo.files.moved import TensorPart, moved
from zoo.files.safetensors_writer import SafetensorsWriter, in_order
from zoo.files.tensor_info import TensorInfo
from zoo.files.write import write_folder

ITEM = {"float16": 2, "float32": 4, "float64": 8}


def info(file: Path, name: str, dtype: str, offset: int, count: int) -> TensorInfo:
    return TensorInfo(name, dtype, (count,), file, count * ITEM[dtype], offset)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "a"
    path.write_bytes(bytes(i * 7 % 251 for i in range(50_000)))
    return path


@pytest.mark.parametrize("chunk", [16, 1000, 1 << 20])
def test_every_tensor_comes_whole_and_no_element_is_cut(
    file: Path, monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    monkeypatch.setattr(module, "CHUNK", chunk)
    wanted = {
        "odd": info(file, "odd", "float64", 13, 9),  # begins at no multiple of its elements
        "again": info(file, "odd", "float64", 13, 9),
        "empty": info(file, "empty", "float32", 85, 0),
        "shares": info(file, "shares", "float16", 60, 500),
        "last": info(file, "last", "float32", 49_600, 100),
        "end": info(file, "end", "float32", 50_000, 0),
    }
    data, found, cut = file.read_bytes(), {name: bytearray() for name in wanted}, []
    for name, part in moved(wanted, lambda name, data: cut.append(len(data) % ITEM[wanted[name].dtype])):
        assert part.at == len(found[name])
        found[name] += part.data
    assert not any(cut)
    for name, i in wanted.items():
        assert i.offset is not None
        assert found[name] == data[i.offset : i.offset + i.nbytes]


def test_no_more_is_held_than_a_chunk(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []
    monkeypatch.setattr(module, "CHUNK", 1024)
    monkeypatch.setattr(module, "bytearray", lambda n: made.append(n) or bytearray(n), raising=False)
    assert sum(1 for _ in moved({"w": info(file, "w", "float32", 8, 12_000)}, lambda *_: None)) == 47
    assert made == [1024]


@pytest.mark.parametrize("left", [10, 40_000])
def test_a_file_that_was_cut_since_its_header_was_read_is_told(file: Path, left: int) -> None:
    os.truncate(file, left)
    with pytest.raises(CheckpointError, match="w: changed since its header was read"):
        list(moved({"w": info(file, "w", "float32", 8, 12_000)}, lambda *_: None))


def test_the_bytes_of_a_part_stay_until_they_are_hashed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With hashing far behind, in one file or turn by turn in two, no part is written over that is still to be read."""
    source = tmp_path / "source"
    source.write_bytes(os.urandom(4 * 64))
    monkeypatch.setattr(module, "CHUNK", 16)

    class Late:
        def __init__(self, data: bytes = b"") -> None:
            self.parts: list[Any] = [data]

        def update(self, data: memoryview) -> None:
            import time

            time.sleep(0.002)
            self.parts.append(bytes(data))

        def hexdigest(self) -> str:
            return hashlib.blake2s(b"".join(self.parts)).hexdigest()

    specs = {name: ("float32", (16,)) for name in "abcd"}
    wanted = {name: info(source, name, "float32", 64 * i, 16) for i, name in enumerate("abcd")}
    with monkeypatch.context() as patched:
        patched.setattr("zoo.files.safetensors_writer.hashlib.sha256", Late)
        for shard in (1 << 20, 64):
            out = tmp_path / str(shard)
            written: dict[str, str] = {}
            patched.setattr("zoo.files.write.sha256_of", lambda path: "")
            patched.setattr(
                "zoo.files.write.manifest_text",
                lambda files, told, w=written: w.update({name: d.sha256 for name, d in files.items()}) or "{}",
            )
            write_folder(out, specs, moved(wanted, lambda *_: None), config={}, max_shard_size=shard)
            for path in out.glob("*.safetensors"):
                assert written[path.name] == hashlib.blake2s(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("order", ["as it lies", "backwards"])
def test_in_any_order_the_digest_is_that_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, order: str
) -> None:
    specs = {"b": ("float32", (3,)), "a": ("float16", (2,)), "c": ("float32", (0,))}
    assert in_order(specs) == ["b", "c", "a"]
    writer = SafetensorsWriter(tmp_path / "x", specs)
    for name in in_order(specs) if order == "as it lies" else ["a", "c", "b"]:
        size = {"a": 4, "b": 12, "c": 0}[name]
        writer.write(name, TensorPart(0, memoryview(bytes(range(size)))))
    assert writer.finish() == (
        hashlib.sha256((tmp_path / "x").read_bytes()).hexdigest(), (tmp_path / "x").stat().st_size
    )  # fmt: skip


def test_parts_out_of_turn_are_refused(tmp_path: Path) -> None:
    writer = SafetensorsWriter(tmp_path / "x", {"w": ("float32", (4,))})
    for bad in (TensorPart(4, memoryview(bytes(8))), TensorPart(0, memoryview(bytes(20)))):
        with pytest.raises(ZooError, match="out of turn"):
            writer.write("w", bad)
    writer.write("w", TensorPart(0, memoryview(bytes(16))))
    with pytest.raises(ZooError, match="out of turn"):
        writer.write("w", TensorPart(16, memoryview(b"")))
    writer.close()
