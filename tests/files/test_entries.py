# ruff: noqa: E501 - each case is a line, to be read as one
"""Each entry of a safetensors header, right and wrong in one way; and what a writer takes."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.files import make
from zoo.errors import ZooError
from zoo.files import (
    safetensors_file,
    safetensors_writer,
)
from zoo.files.regular import sha256_of, size_of
from zoo.files.safetensors_file import read_header
from zoo.files.safetensors_writer import Digest, SafetensorsWriter

FILE = Path("x.bin")


def refused(told: str, work: Callable[..., Any], *args: Any, **options: Any) -> None:
    with pytest.raises(ZooError, match=told):
        work(*args, **options)


def test_a_header_says_so_many_things_at_most(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    two = {"a": make.entry("U8", [1], 0, 1), "b": make.entry("I8", [2], 1, 3)}
    file = make.raw(tmp_path / "x", two, b"123")
    assert {n: (i.dtype, i.nbytes, i.offset) for n, i in read_header(file).tensors.items()} == {
        "a": ("uint8", 1, size_of(file) - 3),
        "b": ("int8", 2, size_of(file) - 2),
    }
    monkeypatch.setattr(safetensors_file, "MAX_TENSORS", 2)
    read_header(file)
    monkeypatch.setattr(safetensors_file, "HEADER_BYTES", size_of(file) - 11)
    read_header(file)
    monkeypatch.setattr(safetensors_file, "HEADER_BYTES", size_of(file) - 12)
    refused(" bytes", read_header, file)
    monkeypatch.undo()
    monkeypatch.setattr(safetensors_file, "MAX_TENSORS", 1)
    refused("lists 2 tensors, more than the 1", read_header, file)


@pytest.mark.parametrize(
    ("header", "data", "told"),
    [
        ({}, b"", ""),
        ({"__metadata__": None}, b"", ""),
        ({"__metadata__": {"format": "mlx"}}, b"", ""),
        ({"__metadata__": {"format": "tf"}}, b"", "written for tf"),
        ({"__metadata__": {"format": "flax"}}, b"", "written for flax"),
        ({"__metadata__": {"a": 1}}, b"", "not a group of strings"),
        ({"__metadata__": []}, b"", "not a group of strings"),
        ({"n" * 1024: make.entry("U8", [1], 0, 1)}, b"1", ""),
        ({"n" * 1025: make.entry("U8", [1], 0, 1)}, b"1", "1,025 characters"),
        ({"a": make.entry("U8", [1], 0, 1) | {"x": 1}}, b"1", "a: its header entry"),
        ({"a": make.entry("U8", [1], -1, 0)}, b"1", "a: its header entry"),
        ({"a": make.entry("U8", [1], 0.0, 1)}, b"1", "a: its header entry"),  # type: ignore[arg-type]
        ({"a": make.entry("U8", [1], 0, True)}, b"1", "a: its header entry"),
        ({"a": 5}, b"", "a: its header entry"),
        ({"a": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1, 2]}}, b"1", "a: its header entry"),
        ({"a": {"dtype": "U8", "shape": [1]}}, b"1", "a: its header entry"),
        ({"a": make.entry("U9", [1], 0, 1)}, b"1", "'U9' is not known"),
        ({"a": {"dtype": [], "shape": [1], "data_offsets": [0, 1]}}, b"1", "is not known"),
        ({"a": make.entry("U8", [2], 0, 1)}, b"1", "takes 2 bytes, its data_offsets span 1"),
        ({"a": make.entry("U8", [1], 0, 1), "b": make.entry("U8", [1], 0, 1)}, b"1", "overlaps"),
        ({"a": make.entry("U8", [1], 1, 2)}, b"12", "a: .* 69, not 68"),
        ({"a": make.entry("U8", [2], 0, 2)}, b"1", "a: the file is cut off"),
        ({"a": make.entry("U8", [1], 0, 1)}, b"12", "has 1 bytes after the last"),
        ({}, b"1", "has 1 bytes after the last"),
        ({"a": make.entry("U8", [1], 0, 1), "e": make.entry("F32", [0], 1, 1), "f": make.entry("F32", [0, 3], 0, 0)}, b"1", ""),
        (b'{"a":{"dtype":"U8","shape":[1],"data_offsets":[-0,1]}}', b"1", "the number -0"),
        (b'{"a":{"dtype":"U8","shape":[ -0 ],"data_offsets":[0,0]}}', b"", "the number -0"),
        (b'{"__metadata__":{"a":"[-0]"}}', b"", ""),
        (b'  {"__metadata__":{}}   ', b"", ""),
        (b"[]", b"", "is not a JSON object"),
    ],
)  # fmt: skip
def test_each_entry_of_a_header_is_held_to_its_form(tmp_path: Path, header: Any, data: bytes, told: str) -> None:
    file = make.raw(tmp_path / "x", header, data)
    if told:
        refused(told, read_header, file)
    else:
        read_header(file)


def test_too_few_bytes_and_too_long_a_claim(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"1234567")
    refused("has 7 bytes, too few", read_header, tmp_path / "x")
    refused(" 3 bytes, .*2 are", read_header, make.raw(tmp_path / "x", b"{}", length=3))


def test_a_writer_takes_each_tensor_once_as_announced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = SafetensorsWriter(tmp_path / "x", {"a": ("float32", (2,)), "e": ("int8", (0,)), "b": ("int8", (3,))})
    one = torch.tensor([1.0, 2.0])
    for wrong in (one.double(), one[:1]):
        refused(r"a: .*float32 \[2\]", made.write, "a", wrong)
    made.write("a", one)
    refused("^a: ", made.write, "a", one)
    assert not made.is_complete
    with pytest.raises(AssertionError):
        made.finish()
    made.write("b", torch.tensor([1, 2, 3], dtype=torch.int8))
    made.write("e", torch.empty(0, dtype=torch.int8))
    assert made.is_complete
    assert made.finish() == Digest(sha256_of(tmp_path / "x"), size_of(tmp_path / "x"))
    made.close()
    (length,) = struct.unpack("<Q", (tmp_path / "x").read_bytes()[:8])
    assert length % 8 == 0
    monkeypatch.setattr(safetensors_writer, "HEADER_BYTES", length)
    SafetensorsWriter(tmp_path / "y", {"a": ("float32", (2,)), "e": ("int8", (0,)), "b": ("int8", (3,))}).close()
    monkeypatch.setattr(safetensors_writer, "HEADER_BYTES", length - 1)
    refused(
        "would have",
        SafetensorsWriter,
        tmp_path / "z",
        {"a": ("float32", (2,)), "e": ("int8", (0,)), "b": ("int8", (3,))},
    )
