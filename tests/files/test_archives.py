"""Archives of torch made record by record: what may lie in them, and where tensors may lie."""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from zoo.errors import ZooError
from zoo.files import (
    pickle_file,
)
from zoo.files.meta_folder import read_parts
from zoo.files.pickle_file import read_pickle_header
from zoo.files.restricted_pickle import read_state

FILE = Path("x.bin")


def refused(told: str, work: Callable[..., Any], *args: Any, **options: Any) -> None:
    with pytest.raises(ZooError, match=told):
        work(*args, **options)


def archive(path: Path, records: Mapping[str, bytes], **options: Any) -> Path:
    with zipfile.ZipFile(path, "w", **options) as made:
        for name, data in records.items():
            made.writestr(name, data)
    return path


EMPTY = pickle.dumps({}, 2)


@pytest.mark.parametrize(
    ("records", "told"),
    [
        ({"x/data.pkl": EMPTY}, ""),
        ({"x/data.pkl": EMPTY, "x/byteorder": b"little"}, ""),
        ({"x/data.pkl": EMPTY, "x/byteorder": b"big"}, "byteorder"),
        ({"x/data.pkl": EMPTY, "x/byteorder": b"little" * 3}, "byteorder"),
        ({"x/data.pkl": EMPTY, "y/data": b""}, "not one that torch.save writes"),
        ({"x/data": EMPTY}, "not one that torch.save writes"),
        ({"x/data.pkl": EMPTY, "z/data.pkl": EMPTY}, "twice in the archive"),
    ],
)
def test_an_archive_is_one_of_torch(tmp_path: Path, records: Mapping[str, bytes], told: str) -> None:
    file = archive(tmp_path / "x.bin", records)
    if told:
        refused(told, read_pickle_header, file)
    else:
        assert read_pickle_header(file) == {}


def test_a_pickle_has_so_many_bytes_at_most(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = archive(tmp_path / "x.bin", {"x/data.pkl": EMPTY})
    monkeypatch.setattr(pickle_file, "PICKLE_BYTES", len(EMPTY))
    read_pickle_header(file)
    monkeypatch.setattr(pickle_file, "PICKLE_BYTES", len(EMPTY) - 1)
    refused("data.pkl: has", read_pickle_header, file)
    refused("is compressed", read_pickle_header, archive(file, {"x/data.pkl": EMPTY}, compression=zipfile.ZIP_DEFLATED))
    data = bytearray(archive(file, {"x/data.pkl": EMPTY}).read_bytes())
    data[data.index(b"PK\1\2") + 8] |= 1  # the flag of encryption
    file.write_bytes(data)
    refused("is encrypted", read_pickle_header, file)


def stored(
    dtype: str = "FloatStorage",
    key_: Any = "0",
    start: Any = 1,
    shape: Any = (2, 3),
    strides: Any = (3, 1),
    form: str = "v2",
) -> bytes:
    """A state dict of one tensor, in the opcodes of protocol 2."""

    def name(module: str, what: str) -> bytes:
        return f"c{module}\n{what}\n".encode()

    def value(one: Any) -> bytes:
        inner = io.BytesIO()
        pickle._Pickler(inner, 2).dump(one)  # type: ignore[attr-defined]
        return inner.getvalue()[2:-1]

    storage = b"(" + value("storage") + name("torch", dtype) + value(key_) + value("cpu") + value(9) + b"tQ"
    body = b"(" + storage + b"".join(map(value, (start, shape, strides, False, None))) + b"tR"
    return b"\x80\x02}" + value("t") + name("torch._utils", f"_rebuild_tensor_{form}") + body + b"s."


@pytest.mark.parametrize(
    ("changes", "is_read"),
    [
        ({}, True),
        ({"start": 0}, True),
        ({"start": -1}, False),
        ({"start": (1 << 63) - 1}, True),
        ({"start": 1 << 63}, False),
        ({"start": True}, False),
        ({"shape": (2,)}, False),
        ({"strides": (-3, 1)}, False),
        ({"shape": (2, 3.0)}, False),
        ({"dtype": "QInt8Storage"}, False),
        ({"key_": 5}, False),
    ],
)
def test_a_tensor_of_a_pickle_has_counts_for_sizes(changes: dict[str, Any], is_read: bool) -> None:
    if is_read:
        found = read_state(stored(**changes), FILE)["t"]
        assert (found.storage, found.dtype, found.shape, found.strides) == ("0", "float32", (2, 3), (3, 1))
        assert found.start == changes.get("start", 1)
    else:
        refused("x.bin: ", read_state, stored(**changes), FILE)


@pytest.mark.parametrize(
    ("shape", "strides", "start", "nbytes", "is_read", "is_one_run"),
    [
        ((2, 3), (3, 1), 1, 28, True, True),
        ((2, 3), (3, 1), 1, 27, False, True),
        ((2, 3), (1, 2), 0, 24, True, False),
        ((2, 3), (0, 1), 0, 23, False, False),
        ((2, 3), (0, 1), 0, 24, True, False),
        ((1, 1), (9, 9), 2, 12, True, True),
        ((1, 1), (9, 9), 2, 11, False, True),
        ((0, 3), (3, 1), 9, 0, True, True),
        ((2, 2), (3, 1), 0, 20, True, False),
        ((2, 2), (3, 1), 0, 19, False, False),
    ],
)
def test_a_tensor_lies_within_its_storage(
    tmp_path: Path, shape: Any, strides: Any, start: int, nbytes: int, is_read: bool, is_one_run: bool
) -> None:
    data = os.urandom(nbytes)
    state = stored(shape=shape, strides=strides, start=start)
    file = archive(tmp_path / "x.bin", {"x/data.pkl": state, "x/data/0": data})
    if not is_read:
        refused("t: float32 .* goes beyond its storage", read_pickle_header, file)
        return
    info = read_pickle_header(file)["t"]
    assert (info.offset is not None) is is_one_run
    if info.offset is not None and nbytes:
        assert file.read_bytes()[info.offset :].startswith(data[4 * start : 4 * start + info.nbytes])


def test_the_parts_of_a_model_are_numbered_from_nought(tmp_path: Path) -> None:
    for number in (0, 2):
        archive(tmp_path / f"consolidated.{number:02}.pth", {"x/data.pkl": stored(), "x/data/0": bytes(99)})
    refused("consolidated.00.pth: ", read_parts, tmp_path, allow_pickle=False)
    refused("consolidated.01.pth: ", read_parts, tmp_path, allow_pickle=True)
    (tmp_path / "consolidated.02.pth").rename(tmp_path / "consolidated.01.pth")
    found, _ = read_parts(tmp_path, allow_pickle=True)
    assert {name: (info.name, info.file.name) for name, info in found.items()} == {
        "t#00": ("t#00", "consolidated.00.pth"),
        "t#01": ("t#01", "consolidated.01.pth"),
    }
