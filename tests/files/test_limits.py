"""Every limit of a file that a stranger may have made: what is at it is read, what is one beyond is refused by key."""

from __future__ import annotations

import io
import json
import os
import pickle
import socket
import struct
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.files import make
from zoo.errors import CheckpointError, ZooError
from zoo.files import (
    gguf_file,
    gguf_header,
    pickle_file,
    regular,
    resources,
    safetensors_file,
    safetensors_writer,
    shards,
)
from zoo.files import write as writing
from zoo.files.block_fp8 import BlockFP8, block_size, unscaled_infos
from zoo.files.gguf_file import GGUFReader, read_gguf_header, read_gguf_metadata
from zoo.files.gguf_header import read_raw_header
from zoo.files.json_file import parse_json, read_json
from zoo.files.manifest import MANIFEST, listed_files, manifest_text, verify_folder
from zoo.files.meta_folder import read_parts
from zoo.files.open_tensors import OpenTensors
from zoo.files.pickle_file import read_pickle_header
from zoo.files.regular import own_file, plain_name, read_bounded, sha256_of, size_of
from zoo.files.restricted_pickle import read_state
from zoo.files.safetensors_file import read_header
from zoo.files.safetensors_writer import Digest, SafetensorsWriter
from zoo.files.shards import bytes_of, cut, index_of, read_index, wrong_size
from zoo.files.tensor_info import TensorInfo, checked_shape

FILE = Path("x.bin")


def refused(told: str, work: Callable[..., Any], *args: Any, **options: Any) -> None:
    with pytest.raises(ZooError, match=told):
        work(*args, **options)


# Shapes.


@pytest.mark.parametrize(
    ("at_the_limit", "beyond"),
    [
        ([1] * 32, [1] * 33),
        ((2, 3), {2, 3}),
        ([(1 << 48) - 1], [1 << 48]),
        ([0], [-1]),
        ([1], [True]),
        ([1], [1.0]),
        ([0, 1 << 30, 1 << 28], [0, 1 << 30, 1 << 29]),  # torch counts strides in 63 bits
        ([1 << 30, 1 << 29], [0, 1 << 30, 1 << 29]),  # of what has a byte its file tells
    ],
)
def test_a_shape_at_a_limit_is_one(at_the_limit: Any, beyond: Any) -> None:
    assert checked_shape(at_the_limit, FILE, "t") == tuple(at_the_limit)
    refused("^x.bin: t: its ", checked_shape, beyond, FILE, "t")


# JSON.


@pytest.mark.parametrize(
    ("read", "beyond", "told"),
    [
        ('{"a": ' + "1" * 64 + "}", '{"a": ' + "1" * 65 + "}", "a: a number of more than 64 digits"),
        ('{"a": -' + "1" * 64 + "}", '{"a": [0, -' + "1" * 65 + "]}", r"a\[1\]: a number of more"),
        ('{"a": 0.' + "1" * 63 + "}", '{"a": 0.' + "1" * 64 + "}", "a: a number of more"),
        ('{"a": 1e308}', '{"a": {"b": -1e999}}', "a.b: -1e999 is beyond"),
        ('{"a": Infinity}', '{"a": -Infinity}', "a: -Infinity is not a JSON number"),
        ('{"a": "NaN"}', '{"a": NaN}', "a: NaN is not a JSON number"),
        ('{"a": {"b": 1}, "b": 2}', '{"a": {"b": 1, "b": 2}}', "b: stands twice"),
        ('{"\\ud83d\\ude00": 1}', '{"a": {"\\ud83d": 1}}', "a: holds a lone surrogate"),
        ('{"a": "\\\\ud83d"}', '{"a": ["x", "\\ude00"]}', r"a\[1\]: holds a lone surrogate"),
        ("{}", "[]", "is not a JSON object"),
        ("{}", "\ufeff{}", "byte order mark"),
        ("{}", "{", r"line 1, column 2"),
        ('{"a": ' + "[" * 63 + "1" + "]" * 63 + "}", '{"a": ' + "[" * 64 + "1" + "]" * 64 + "}", "deeper than 64"),
        ('{"a": ' + "[" * 64 + "]" * 64 + "}", '{"a": ' + "[" * 65 + "]" * 65 + "}", "deeper than 64"),
    ],
)
def test_json_at_a_limit_is_read_and_beyond_refused_by_key(read: str, beyond: str, told: str) -> None:
    parse_json(read.encode(), FILE)
    refused(f"^x.bin: .*{told}", parse_json, beyond.encode(), FILE)


def test_json_is_bounded_by_what_it_would_become() -> None:
    for text, cost in (("{}", 64), ('{"a": [1, 2, 3]}', 64 * 2 + 40 * 2), ('{"a": {}, "b": 1}', 64 * 2 + 40)):
        parse_json(text.encode(), FILE, max_cost=cost)
        refused("too many values", parse_json, text.encode(), FILE, max_cost=cost - 1)
    parse_json(b'{"a": 1}', FILE, max_depth=1)
    refused("deeper than 1 levels", parse_json, b'{"a": [1]}', FILE, max_depth=1)
    deep = '{"a": ' * 900 + "1" + "}" * 900
    parse_json(deep.encode(), FILE, max_depth=None)
    refused("deeper than 64", parse_json, ('{"a": ' * 99_999).encode(), FILE, max_depth=None)
    assert parse_json(b'{"a": Infinity}', FILE) == {"a": {"__float__": "Infinity"}}
    refused("Infinity is not", parse_json, b'{"a": Infinity}', FILE, allow_infinity=False)


def test_a_config_has_so_many_values_and_bytes(tmp_path: Path) -> None:
    file = tmp_path / "c.json"
    file.write_text('{"a": [1, 2, 3]}')
    assert read_json(file, 16, 2, most=2) == {"a": [1, 2, 3]}
    refused("more than the 1 values", read_json, file, most=1)
    refused("16 bytes, more than the 15", read_json, file, 15)
    refused("deeper than 1", read_json, file, 16, 1)


# Regular files and their names.


@pytest.mark.parametrize("name", ["a", "a.b", "..a", "é"])
def test_a_plain_name_is_one_of_a_file_beside(name: str) -> None:
    assert plain_name(name, FILE, "key") == name


@pytest.mark.parametrize("name", ["", None, 5, ".", "..", "a/b", "/a", "a\\b", "a\n", "a\0"])
def test_any_other_name_is_none(name: Any) -> None:
    refused("^x.bin: key: ", plain_name, name, FILE, "key")


def test_only_regular_files_are_read(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"abc")
    (tmp_path / "good").symlink_to("f")
    (tmp_path / "bad").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe")
    assert (size_of(tmp_path / "good"), read_bounded(tmp_path / "good", 3)) == (3, b"abc")
    refused("3 bytes, more than the 2", read_bounded, tmp_path / "f", 2)
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(tmp_path / "s"))
        kinds = {"bad": "is a link that leads nowhere", "none": "is not there", "pipe": "is a pipe", "s": "is a socket"}
        kinds |= {".": "is a folder", "/dev/null": "is a device", "f/x": "cannot be read"}
        for name, told in kinds.items():
            refused(told, size_of, tmp_path / name)
            if name not in ("none", "bad", "f/x"):
                refused(told, resources.read_bounded, tmp_path / name, 9)
    refused("cannot be read", size_of, Path("a\0b"))
    assert resources.read_bounded(tmp_path / "f", 3) == b"abc"
    refused("3 bytes are more than the 2", resources.read_bounded, tmp_path / "f", 2)
    refused("cannot be read: No such file", resources.read_bounded, tmp_path / "none", 2)
    with zipfile.ZipFile(tmp_path / "z.zip", "w") as archive:
        archive.writestr("f", b"abc")
    inside = zipfile.Path(tmp_path / "z.zip", "f")
    assert resources.read_bounded(inside, 3) == b"abc"
    refused("3 bytes are more than the 2", resources.read_bounded, inside, 2)


def test_a_file_that_grows_while_it_is_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "f").write_bytes(b"abcd")
    monkeypatch.setattr(regular, "size_of", lambda path: 2)
    refused("has 4 bytes, more than the 3", read_bounded, tmp_path / "f", 3)
    assert read_bounded(tmp_path / "f", 4) == b"abcd"

    class Small:
        st_size, st_mode = 2, (tmp_path / "f").stat().st_mode

    monkeypatch.setattr(os, "fstat", lambda fd: Small)
    refused("are more than the 3", resources.read_bounded, tmp_path / "f", 3)


def test_a_link_may_lead_into_its_folder_or_the_cache(tmp_path: Path) -> None:
    snapshot, blobs = tmp_path / "models--a" / "snapshots" / "c" / "sub", tmp_path / "models--a" / "blobs"
    for folder in (snapshot, blobs, tmp_path / "plain"):
        folder.mkdir(parents=True)
    for file in (blobs / "b", tmp_path / "outside", tmp_path / "plain" / "own"):
        file.write_text("x")
    (snapshot / "w").symlink_to(blobs / "b")
    (tmp_path / "plain" / "link").symlink_to("own")
    for place, target in ((snapshot, tmp_path / "outside"), (tmp_path / "plain", blobs / "b")):
        (place / "out").symlink_to(target)
        refused("leads out of the folder", own_file, place / "out")
    for file in (snapshot / "w", tmp_path / "plain" / "link", tmp_path / "plain" / "own"):
        assert own_file(file) == file
    refused("is not there", own_file, tmp_path / "none")


def test_a_hash_is_of_all_bytes(tmp_path: Path) -> None:
    import hashlib

    data = os.urandom((1 << 20) + 7)
    (tmp_path / "f").write_bytes(data)
    assert sha256_of(tmp_path / "f") == hashlib.sha256(data).hexdigest()


# zoo.json.


def manifest(folder: Path, content: Any) -> Path:
    (folder / MANIFEST).write_text(json.dumps(content))
    return folder


def test_what_zoo_wrote_says_so_and_lists_its_files(tmp_path: Path) -> None:
    (tmp_path / MANIFEST).write_text(manifest_text({"b": Digest("x", 1), "a": Digest("y", 2)}, {"from": "é"}))
    assert list(listed_files(tmp_path).items()) == [("a", Digest("y", 2)), ("b", Digest("x", 1))]
    assert "é" in (tmp_path / MANIFEST).read_text(encoding="utf-8")
    with pytest.raises(ValueError, match="JSON"):
        manifest_text({}, {"x": float("nan")})
    good = {"sha256": "x", "size": 1}
    for wrong, told in (
        ({"files": {"a": good}}, "is not one that zoo wrote"),
        ({"zoo": "1", "files": []}, "is not one that zoo wrote"),
        ({"zoo": "1"}, "is not one that zoo wrote"),
        ({"zoo": "1", "files": {"a": 5}}, "files.a: has no sha256 and size"),
        ({"zoo": "1", "files": {"a": good | {"size": True}}}, "files.a"),
        ({"zoo": "1", "files": {"a": good | {"sha256": 5}}}, "files.a"),
        ({"zoo": "1", "files": {"../a": good}}, "'../a'"),
    ):
        refused(told, listed_files, manifest(tmp_path, wrong))


def test_a_folder_is_held_against_its_list(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).write_text("x" * (1 + "ab".index(name)))
    digests = {name: Digest(sha256_of(tmp_path / name), size_of(tmp_path / name)) for name in "ab"}
    (tmp_path / MANIFEST).write_text(manifest_text(digests, {}))
    assert verify_folder(tmp_path) == 2
    (tmp_path / "b").write_text("xy")
    assert verify_folder(tmp_path, free=lambda name: name == "b") == 1
    refused("b: is not the file", verify_folder, tmp_path)
    (tmp_path / "b").write_text("xyz")
    refused("b: has 3 bytes, zoo.json says 2", verify_folder, tmp_path)


# Shards.


def test_files_are_cut_at_a_size() -> None:
    def sizes(limit: int, *numel: int) -> list[list[int]]:
        specs = {str(i): ("float16", (n,)) for i, n in enumerate(numel)}
        return [[bytes_of(spec) for spec in shard.values()] for shard in cut(specs, limit).values()]

    assert sizes(10, 3, 2, 1) == [[6, 4], [2]]
    assert sizes(12, 3, 2, 1) == [[6, 4, 2]]
    assert sizes(10, 5, 6, 1, 4) == [[12], [10], [2, 8]]  # what is larger goes alone, and ahead
    assert sizes(10) == [[]]
    names = [*cut({"a": ("int8", (2,)), "b": ("int8", (2,))}, 2)]
    assert names == ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    assert [*cut({"a": ("int8", (3,))}, 2)] == ["model.safetensors"]
    refused("no dtype 'odd'", bytes_of, ("odd", ()))
    both = {"f": {"b": ("int8", (3,))}, "g": {"a": ("float32", (2, 2))}}
    assert index_of(both) == {"metadata": {"total_size": 19}, "weight_map": {"a": "g", "b": "f"}}
    assert list(index_of(both)["weight_map"]) == ["a", "b"]


@pytest.mark.parametrize(
    ("metadata", "says"),
    [({"total_size": 6}, False), ({}, False), (None, False), ([], False), ({"total_size": None}, False),
     ({"total_size": 7}, True), ({"total_size": "6"}, True), ({"total_size": 0}, True)],
)  # fmt: skip
def test_a_size_that_an_index_tells_wrongly_is_told(tmp_path: Path, metadata: Any, says: bool) -> None:
    (tmp_path / "i.json").write_text(json.dumps({"metadata": metadata}))
    infos = {"a": TensorInfo("a", "int8", (2,), FILE, 2, 0), "b": TensorInfo("b", "int32", (1,), FILE, 4, 2)}
    notes = wrong_size(tmp_path / "i.json", infos)
    assert bool(notes) is says
    assert not notes or "its tensors take 6 bytes" in notes[0]


def test_an_index_has_tensors_and_plain_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index = tmp_path / "i.json"
    monkeypatch.setattr(shards, "MAX_TENSORS", 1)
    for table, told in (
        ({}, "weight_map"),
        ([], "weight_map"),
        ({"a": "../x"}, "a: "),
        (dict.fromkeys("abc", "f"), "1 values"),
    ):
        index.write_text(json.dumps({"weight_map": table}))
        refused(told, read_index, index)
    index.write_text(json.dumps({"weight_map": {"a": "f", "b": "f"}}))
    assert read_index(index) == {"a": "f", "b": "f"}


# safetensors.


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
    refused("header claims", read_header, file)
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
        ({"a": make.entry("U8", [1], 1, 2)}, b"12", "leaves a hole"),
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
    refused(r"claims 3 bytes, 2 are there", read_header, make.raw(tmp_path / "x", b"{}", length=3))


def test_a_writer_takes_each_tensor_once_as_announced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = SafetensorsWriter(tmp_path / "x", {"a": ("float32", (2,)), "e": ("int8", (0,)), "b": ("int8", (3,))})
    one = torch.tensor([1.0, 2.0])
    for wrong in (one.double(), one[:1]):
        refused(r"a: came as .* announced was float32 \[2\]", made.write, "a", wrong)
    made.write("a", one)
    refused("a: came as", made.write, "a", one)
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


# GGUF headers.


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


NESTED = struct.pack("<IQ", 9, 1)
BROKEN: list[tuple[tuple[bytes, ...], str]] = [
    ((key("a", 7, b"\2"),), "a: 2 is not a boolean"),
    ((key("a", 6, struct.pack("<f", float("inf"))),), "a: inf is not a number"),
    ((key("a", 12, struct.pack("<d", float("nan"))),), "a: nan is not a number"),
    ((key("a", 13, b"\2"),), "a: its type 13"),
    ((key("a", 9, array(9, 1, NESTED)),), "a: is an array of type 9"),
    ((key("a", 9, array(13, 0)),), "a: is an array of type 13"),
    ((key("a", 8, text(b"\xff")),), "a: .* is not UTF-8"),
    ((key("a", 0, b"\1"), key("a", 0, b"\1")), "a: stands twice"),
    ((key("a", 9, array(2, 1 << 40)),), "a: the header claims 1,099,511,627,776 elements, and the file ends"),
    ((key("a", 9, array(8, 9, text("x" * 100))),), "a: the header claims more, and the file ends"),
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
        ((tensor("t"), tensor("t")), "t: stands twice"),
        ((tensor("t", (1,) * 33),), "t: has 33 dimensions"),
    ):
        refused(told, read_raw_header, gguf(tmp_path / "x", tensors=tensors), longest=9)
    read_raw_header(gguf(tmp_path / "x", tensors=(tensor("t", (1,) * 32),)), longest=9)
    for version, told in ((1, "GGUF version 1"), (4, "GGUF version 4"), (3 << 24, "big-endian")):
        refused(told, read_raw_header, gguf(tmp_path / "x", version=version), longest=9)
    (tmp_path / "x").write_bytes(b"GGUF" + bytes(19))
    refused("has 23 bytes, too few", read_raw_header, tmp_path / "x", longest=9)
    (tmp_path / "x").write_bytes(b"GGUG" + bytes(20))
    refused("does not begin with GGUF", read_raw_header, tmp_path / "x", longest=9)
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
        ((split(2),), TWO, 48, "split.count"),
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


# Pickles.


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
    refused("consolidated.00.pth: is a pickle", read_parts, tmp_path, allow_pickle=False)
    refused("consolidated.01.pth: is not there", read_parts, tmp_path, allow_pickle=True)
    (tmp_path / "consolidated.02.pth").rename(tmp_path / "consolidated.01.pth")
    found = read_parts(tmp_path, allow_pickle=True)
    assert {name: (info.name, info.file.name) for name, info in found.items()} == {
        "t#00": ("t#00", "consolidated.00.pth"),
        "t#01": ("t#01", "consolidated.01.pth"),
    }


# 8-bit floats in blocks.


def info(name: str, dtype: str, *shape: int) -> TensorInfo:
    return TensorInfo(name, dtype, shape, FILE, 1, 0)


FP8 = "float8_e4m3fn"


def test_each_weight_in_blocks_has_its_scales() -> None:
    def shown(*infos: TensorInfo) -> dict[str, TensorInfo]:
        return unscaled_infos({one.name: one for one in infos}, (2, 3))

    weight = info("w", FP8, 3, 7)
    for dtype in ("float32", "bfloat16", "float16"):
        found = shown(weight, info("w_scale_inv", dtype, 2, 3), info("n", "bfloat16", 5))
        assert list(found) == ["w", "n"]
        assert (found["w"].dtype, found["w"].nbytes, found["w"].offset) == ("bfloat16", 42, None)
    for wrong in (
        [weight],
        [info("w_scale_inv", "float32", 2, 3)],
        [weight, info("w_scale_inv", "float64", 2, 3)],
        [weight, info("w_scale_inv", "float32", 3, 2)],
        [weight, info("w_scale_inv", "float32", 1, 2)],
        [info("w", "bfloat16", 3, 7), info("w_scale_inv", "float32", 2, 3)],
        [info("w", FP8, 7), info("w_scale_inv", "float32", 3)],
    ):
        refused("^x.bin: w", shown, *wrong)


@pytest.mark.parametrize(
    ("config", "block"),
    [
        ({}, None),
        ({"quantization_config": None}, None),
        ({"quantization_config": {"quant_method": "gptq"}}, None),
        ({"quantization_config": {"quant_method": "fp8"}}, (128, 128)),
        ({"quantization_config": {"quant_method": "fp8", "weight_block_size": [1, 1 << 20]}}, (1, 1 << 20)),
    ],
)
def test_a_block_has_two_sizes(config: dict[str, Any], block: Any) -> None:
    assert block_size(config, FILE) == block
    for wrong in (None, [0, 1], [1, (1 << 20) + 1], [1], [1, 2, 3], (1, 2), [True, 1], [1.0, 2]):
        given = {"quantization_config": {"quant_method": "fp8", "weight_block_size": wrong}}
        refused("weight_block_size", block_size, given, FILE)


def test_blocks_are_multiplied_by_their_scales_at_odd_sizes() -> None:
    weight = torch.arange(1.0, 16).reshape(3, 5).to(torch.float8_e4m3fn)
    raw = {"w": weight, "w_scale_inv": torch.tensor([[1.0, 2, 4], [8, 16, 32]]), "n": torch.ones(1)}
    view = BlockFP8(raw, (2, 2))
    factors = torch.tensor([[1, 1, 2, 2, 4], [1, 1, 2, 2, 4], [8, 8, 16, 16, 32]])
    assert torch.equal(view["w"], (weight.float() * factors).bfloat16())
    assert (list(view), len(view)) == (["w", "n"], 2)
    assert torch.equal(view["n"], torch.ones(1))
    with pytest.raises(KeyError):
        view["w_scale_inv"]
    assert torch.equal(
        BlockFP8({"w": weight, "w_scale_inv": torch.tensor([[3.0]])})["w"], (weight.float() * 3).bfloat16()
    )


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
