"""Every limit of a file that a stranger may have made: what is at it is read, what is one beyond is refused by key."""

from __future__ import annotations

import os
import socket
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from zoo.errors import ZooError
from zoo.files import (
    regular,
    resources,
)
from zoo.files.json_file import parse_json, read_json
from zoo.files.regular import own_file, plain_name, read_bounded, sha256_of, size_of
from zoo.files.tensor_info import checked_shape

FILE = Path("x.bin")


def refused(told: str, work: Callable[..., Any], *args: Any, **options: Any) -> None:
    with pytest.raises(ZooError, match=told):
        work(*args, **options)


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
    refused("^x.bin: t: ", checked_shape, beyond, FILE, "t")


@pytest.mark.parametrize(
    ("read", "beyond", "told"),
    [
        ('{"a": ' + "1" * 64 + "}", '{"a": ' + "1" * 65 + "}", "a: a number of more than 64 digits"),
        ('{"a": -' + "1" * 64 + "}", '{"a": [0, -' + "1" * 65 + "]}", r"a\[1\]: a number of more"),
        ('{"a": 0.' + "1" * 63 + "}", '{"a": 0.' + "1" * 64 + "}", "a: a number of more"),
        ('{"a": 1e308}', '{"a": {"b": -1e999}}', "a.b: -1e999 "),
        ('{"a": Infinity}', '{"a": -Infinity}', "a: -Infinity is not a JSON number"),
        ('{"a": "NaN"}', '{"a": NaN}', "a: NaN is not a JSON number"),
        ('{"a": {"b": 1}, "b": 2}', '{"a": {"b": 1, "b": 2}}', "b: .*twice"),
        ('{"\\ud83d\\ude00": 1}', '{"a": {"\\ud83d": 1}}', "a: [^:]*lone surrogate"),
        ('{"a": "\\\\ud83d"}', '{"a": ["x", "\\ude00"]}', r"a\[1\]: [^:]*lone surrogate"),
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
        kinds = {"bad": "bad: is a link", "none": "none: ", "pipe": "is a pipe", "s": "is a socket"}
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
        refused("out: is a link", own_file, place / "out")
    for file in (snapshot / "w", tmp_path / "plain" / "link", tmp_path / "plain" / "own"):
        assert own_file(file) == file
    refused("none: ", own_file, tmp_path / "none")


def test_a_hash_is_of_all_bytes(tmp_path: Path) -> None:
    import hashlib

    data = os.urandom((1 << 20) + 7)
    (tmp_path / "f").write_bytes(data)
    assert sha256_of(tmp_path / "f") == hashlib.sha256(data).hexdigest()
