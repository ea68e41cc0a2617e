# ruff: noqa: E501 - each case is a line, to be read as one
"""A GGUF header made byte by byte: each type read, each limit and one beyond."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.files import make
from zoo.errors import CheckpointError, ZooError
from zoo.files import (
    gguf_file,
    gguf_header,
)
from zoo.files.gguf_file import GGUFReader, read_gguf_header, read_gguf_metadata
from zoo.files.gguf_header import read_raw_header

FILE = Path("x.bin")


def refused(told: str, work: Callable[..., Any], *args: Any, **options: Any) -> None:
    with pytest.raises(ZooError, match=told):
        work(*args, **options)


def text(value: str | bytes) -> bytes:
    data = value if isinstance(value, bytes) else value.encode()
    return struct.pack("<Q", len(data)) + data


def key(name: str, kind: int, data: bytes) -> bytes:
    return text(name) + struct.pack("<I", kind) + data


def array(kind: int, count: int, data: bytes = b"") -> bytes:
    return struct.pack("<IQ", kind, count) + data


def tensor(name: str, dims: tuple[int, ...] = (4,), kind: int = 0, offset: int = 0) -> bytes:
    return text(name) + struct.pack(f"<I{len(dims)}QIQ", len(dims), *dims, kind, offset)


def gguf(
    path: Path, *keys: bytes, tensors: tuple[bytes, ...] = (), data: bytes | None = None, version: int = 3
) -> Path:
    header = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(keys)) + b"".join((*keys, *tensors))
    header += b"\0" * (-len(header) % 32)
    path.write_bytes(header + (bytes(16 * len(tensors)) if data is None else data))
    return path


SCALARS = [  # type, bytes, value: as the format numbers them
    (0, b"\xff", 255), (1, b"\xff", -1), (2, b"\xff\xff", 65535), (3, b"\xff\xff", -1), (4, b"\xff" * 4, 2**32 - 1),
    (5, b"\xff" * 4, -1), (6, struct.pack("<f", 1.5), 1.5), (7, b"\1", True), (7, b"\0", False), (8, text("é"), "é"),
    (10, b"\xff" * 8, 2**64 - 1), (11, b"\xff" * 8, -1), (12, struct.pack("<d", 0.1), 0.1),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "data", "value"), SCALARS)
def test_every_type_of_value_is_read(tmp_path: Path, kind: int, data: bytes, value: Any) -> None:
    for version in (2, 3):
        file = gguf(tmp_path / "x", key("a", kind, data), key("b", 9, array(kind, 2, data * 2)), version=version)
        found = read_gguf_metadata(file)
        assert found == {"a": value, "b": [value, value]}
        assert type(found["a"]) is type(value)


def test_only_what_belongs_to_the_config_is_kept_unless_all_is_asked_for(tmp_path: Path) -> None:
    long = key("long", 9, array(2, 4, b"\1\0" * 4))
    words = key("tokenizer.x", 9, array(8, 2, text("a") + text("bc")))
    short = key("short", 9, array(2, 3, b"\1\0" * 3))
    names = key("names", 9, array(8, 4, text("a") * 4))
    file = gguf(tmp_path / "x", long, words, short, names, key("end", 0, b"\5"))
    assert read_raw_header(file, longest=3).metadata == {"short": [1, 1, 1], "end": 5}
    assert list(read_raw_header(file, longest=None).metadata) == ["long", "tokenizer.x", "short", "names", "end"]


@pytest.mark.parametrize("count", [1, 3])
def test_the_least_that_a_key_and_a_tensor_take_is_enough(tmp_path: Path, count: int) -> None:
    """A key without a name and one byte, a tensor without a name and without dimensions."""
    (tmp_path / "0").write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 0, 0))
    assert read_raw_header(tmp_path / "0", longest=9).end == 24
    (tmp_path / "k").write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + key("", 0, b"\5"))
    assert read_raw_header(tmp_path / "k", longest=9).metadata == {"": 5}
    (tmp_path / "t").write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 1, 0) + tensor("", ()))
    assert read_raw_header(tmp_path / "t", longest=9).end == 48
    for name in "kt":
        data = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(data[:-1])
        refused(
            "the header claims 1 tensors and 0 keys|0 tensors and 1 keys", read_raw_header, tmp_path / name, longest=9
        )
    both = b"GGUF" + struct.pack("<IQQ", 3, count, count) + b"".join(key(f"{i}", 0, b"\5") for i in range(count))
    whole = both + b"".join(tensor(f"{i}", ()) for i in range(count))
    (tmp_path / "b").write_bytes(whole)
    found = read_raw_header(tmp_path / "b", longest=9)
    assert (found.end, found.size, len(found.tensors)) == (len(whole), len(whole), count)
    (tmp_path / "b").write_bytes(whole[: 24 + 37 * count - 1])
    refused(f"claims {count} tensors and {count} keys", read_raw_header, tmp_path / "b", longest=9)


NESTED = struct.pack("<IQ", 9, 1)
BROKEN: list[tuple[tuple[bytes, ...], str]] = [
    ((key("a", 7, b"\2"),), "a: 2 is not a boolean"),
    ((key("a", 6, struct.pack("<f", float("inf"))),), "a: inf is not a number"),
    ((key("a", 12, struct.pack("<d", float("nan"))),), "a: nan is not a number"),
    ((key("a", 13, b"\2"),), "a: its type 13"),
    ((key("a", 9, array(9, 1, NESTED)),), "a: is an array of type 9"),
    ((key("a", 9, array(13, 0)),), "a: is an array of type 13"),
    ((key("a", 8, text(b"\xff")),), "a: .* is not UTF-8"),
    ((key("a", 0, b"\1"), key("a", 0, b"\1")), "a: .*twice"),
    ((key("a", 9, array(2, 1 << 40)),), "a: the header claims 1,099,511,627,776 elements, and the file ends"),
    ((key("a", 9, array(8, 9, text("x" * 100))),), "a: the header claims more, and the file ends"),
    ((key("a", 9, array(4, 20)),), "a: the header claims 20 elements"),
    ((key("tokenizer.a", 9, array(4, 20)),), "a: the header claims 20 elements"),
    ((key("a", 8, struct.pack("<Q", 999)),), "a: the header claims a string of 999 bytes"),
    ((key("tokenizer.a", 9, array(8, 2, text("x") + struct.pack("<Q", 1 << 40))),), "tokenizer.a: the header claims 2 strings"),
]  # fmt: skip


@pytest.mark.parametrize(("keys", "told"), BROKEN, ids=range(len(BROKEN)))
def test_a_value_that_cannot_be_is_refused_by_its_key(tmp_path: Path, keys: tuple[bytes, ...], told: str) -> None:
    refused(told, read_raw_header, gguf(tmp_path / "x", *keys), longest=1024)


def test_the_counts_and_sizes_of_a_header_have_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = key("a", 0, b"\1"), key("b", 9, array(2, 2, b"\1\0" * 2))
    file = gguf(tmp_path / "x", one, two, tensors=(tensor("t"), tensor("u", offset=32)), data=bytes(48))
    end = read_raw_header(file, longest=9).end
    limits = {"MAX_KEYS": 2, "MAX_TENSORS": 2, "MAX_ITEMS": 2, "NAME_BYTES": 1, "HEADER_BYTES": end}
    for name, most in limits.items():
        with monkeypatch.context() as patch:
            patch.setattr(gguf_header, name, most)
            read_raw_header(file, longest=9)
            patch.setattr(gguf_header, name, most - 1)
            with pytest.raises(CheckpointError):
                read_raw_header(file, longest=9)
            if name == "MAX_ITEMS":
                read_raw_header(file, longest=None)
    for tensors, told in (
        ((tensor("t"), tensor("t")), "t: .*twice"),
        ((tensor("t", (1,) * 33),), "t: has 33 dimensions"),
    ):
        refused(told, read_raw_header, gguf(tmp_path / "x", tensors=tensors), longest=9)
    read_raw_header(gguf(tmp_path / "x", tensors=(tensor("t", (1,) * 32),)), longest=9)
    for version, told in ((1, "GGUF version 1"), (4, "GGUF version 4"), (3 << 24, "big-endian")):
        refused(told, read_raw_header, gguf(tmp_path / "x", version=version), longest=9)
    (tmp_path / "x").write_bytes(b"GGUF" + bytes(19))
    refused("has 23 bytes, too few", read_raw_header, tmp_path / "x", longest=9)
    (tmp_path / "x").write_bytes(b"GGUG" + bytes(20))
    refused("GGUF file", read_raw_header, tmp_path / "x", longest=9)
    for counts in ((1, 0), (0, 1)):
        (tmp_path / "x").write_bytes(b"GGUF" + struct.pack("<IQQ", 3, *counts) + bytes(12))
        refused("the header claims", read_raw_header, tmp_path / "x", longest=9)


def split(count: int) -> bytes:
    return key("split.count", 2, struct.pack("<H", count))


def aligned(value: int) -> bytes:
    return key("general.alignment", 4, struct.pack("<I", value))


TWO = (tensor("t"), tensor("u", (4,), 0, 32))
Q8 = tensor("q", (32, 2), 8)  # Q8_0: 34 bytes for 32 numbers


@pytest.mark.parametrize(
    ("keys", "tensors", "data", "told"),
    [
        ((split(0),), TWO, 48, ""),
        ((split(1),), TWO, 48, ""),
        ((aligned(32),), TWO, 48, ""),
        ((aligned(0),), TWO, 48, "general.alignment: 0"),
        ((aligned(24),), TWO, 48, "general.alignment: 24"),
        ((aligned(1 << 21),), TWO, 48, "general.alignment"),
        ((key("general.alignment", 7, b"\1"),), TWO, 48, "general.alignment"),
        ((aligned(16),), (tensor("t"), tensor("u", (4,), 0, 16)), 64, ""),
        ((), (tensor("t"), tensor("u", (4,), 0, 16)), 48, "u: starts at byte"),
        ((), (tensor("t", offset=32),), 48, "t: starts at byte"),
        ((), TWO, 47, "u: goes beyond"),
        ((), (tensor("t", kind=999),), 16, "t: its type 999"),
        ((), (Q8,), 68, ""),
        ((), (Q8,), 67, "q: goes beyond"),
        ((), (tensor("q", (31, 2), 8),), 99, "whole blocks of 32"),
        ((), (tensor("q", (), 8),), 99, "whole blocks of 32"),
        ((), (tensor("s", ()),), 4, ""),
    ],
)
def test_the_tensors_of_a_gguf_file_lie_end_to_end(
    tmp_path: Path, keys: tuple[bytes, ...], tensors: tuple[bytes, ...], data: int, told: str
) -> None:
    pytest.importorskip("gguf", reason="the extra gguf is not installed")
    file = gguf(tmp_path / "x", *keys, tensors=tensors, data=bytes(data))
    if told:
        refused(told, read_gguf_header, file)
    else:
        read_gguf_header(file)


PLAIN = {0: "float32", 1: "float16", 24: "int8", 25: "int16", 26: "int32", 27: "int64", 28: "float64", 30: "bfloat16"}


@pytest.mark.parametrize(("kind", "dtype"), PLAIN.items())
def test_plain_numbers_are_read_as_they_are(tmp_path: Path, kind: int, dtype: str) -> None:
    pytest.importorskip("gguf", reason="the extra gguf is not installed")
    values = torch.arange(1, 7).to(getattr(torch, dtype))
    file = gguf(tmp_path / "x", tensors=(tensor("t", (3, 2), kind),), data=make.bits(values))
    infos = read_gguf_header(file).tensors
    reader = GGUFReader(infos)
    assert torch.equal(reader("t"), values.reshape(2, 3))
    assert (reader("t").dtype, infos["t"].nbytes) == (values.dtype, len(make.bits(values)))
    reader.close()
    file.write_bytes(file.read_bytes()[:-1])
    refused("t: changed since", reader, "t")
    file.unlink()
    refused("cannot be read", GGUFReader(infos), "t")


def test_the_type_that_the_package_cannot_turn_into_numbers_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = pytest.importorskip("gguf", reason="the extra gguf is not installed")

    def cannot(*_: Any) -> Any:
        raise NotImplementedError

    monkeypatch.setattr(package, "dequantize", cannot)
    reader = GGUFReader(read_gguf_header(gguf(tmp_path / "x", tensors=(Q8,), data=bytes(68))).tensors)
    refused("q: is quantised as Q8_0", reader, "q")
    assert gguf_file.SHORT == 1024
