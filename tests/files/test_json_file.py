from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.files.make import read_or_refused
from zoo.errors import CheckpointError
from zoo.files.json_file import parse_json, read_json

FILE = Path("config.json")


def test_plain_json_reads_as_the_standard_library_reads_it(tmp_path: Path) -> None:
    value = {"a": [1, 2.5, -3e-7, None, True], "b": {"c": "é\n\u2028", "d": {}}, "e": []}
    (tmp_path / "x.json").write_text(json.dumps(value))
    assert read_json(tmp_path / "x.json") == value


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": 1, "b": {"a": 2, "a": 3}}', "config.json: a: occurs twice"),
        ('{"a": {"b": [0, NaN]}}', "config.json: a.b[1]: NaN is not a JSON number"),
        ('{"a": -Infinity}', "config.json: a: -Infinity"),
        ('{"a": 1e999}', "config.json: a: 1e999 is too large"),
        ('{"a": 1' + "0" * 64 + "}", "config.json: a: a number of more than 64 digits"),
        ('{"a": 0.' + "1" * 65 + "}", "more than 64 digits"),
        ('{"a": 1' + "0" * 400 + "e-400}", "more than 64 digits"),
        ('{"' + "k" * 2000 + '": [0, -1e999]}', "…: -1e999 is too large"),
        ("\ufeff{}", "starts with a byte order mark"),
        ("[1]", "not a JSON object"),
        ("", "not JSON: line 1, column 1"),
        ('{"a": 1} x', "not JSON: line 1, column 10: Extra data"),
        ('{"a": [1, "\\ud800"]}', "config.json: a[1]: contains half of a character"),
        ('{"a": "\\udc00\\ud800"}', "a: contains half of a character"),
        ('{"a": {"\\udc00": 1}}', "a: contains half of a character"),
        ('{"a":' + "[" * 64 + "0" + "]" * 64 + "}", "nested deeper than 64"),
        ('{"a":' + "[" * 200_000, "nested deeper than 64"),
    ],
)
def test_what_is_not_plain_json_is_refused_by_file_and_key(text: str, message: str) -> None:
    with pytest.raises(CheckpointError) as error:
        parse_json(text.encode(), FILE)
    assert message in str(error.value)
    assert str(error.value).startswith("config.json: ")


def test_a_key_may_stand_in_two_objects() -> None:
    assert parse_json(b'{"a": {"x": 1}, "b": {"x": 1}}', FILE) == {"a": {"x": 1}, "b": {"x": 1}}


def test_the_longest_float_and_the_length_that_means_none_are_read() -> None:
    value = {"a": -2.2250738585072014e-308, "b": int(1e30), "c": 10**63}
    assert parse_json(json.dumps(value).encode(), FILE) == value


def test_64_levels_are_read() -> None:
    parse_json(b'{"a":' + b"[1," * 62 + b"1" + b"]" * 62 + b"}", FILE)


def test_bytes_that_are_not_utf8_are_refused_where_they_are() -> None:
    with pytest.raises(CheckpointError, match="byte 7 is 0xff"):
        parse_json(b'{"a": "\xff"}', FILE)


def test_a_file_over_its_limit_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    with path.open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(CheckpointError, match="more than the 16,777,216"):
        read_json(path)


def test_many_small_values_are_refused_before_they_become_objects() -> None:
    with pytest.raises(CheckpointError, match="too many values"):
        parse_json(b'{"a":[' + b"[]," * 5_000_000 + b"0]}", FILE)


def test_many_keys_of_which_the_last_is_double_are_refused_soon() -> None:
    text = "{" + "".join(f'"{i}":0,' for i in range(100_000)) + '"x":0,"x":0}'
    with pytest.raises(CheckpointError, match="x: occurs twice"):
        parse_json(text.encode(), FILE)


def test_pipes_and_folders_are_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path, what in ((tmp_path / "pipe", "a pipe"), (tmp_path, "a folder"), (Path("/dev/zero"), "a device")):
        with pytest.raises(CheckpointError, match=f"is {what}, not a regular file"):
            read_json(path)


def test_a_missing_file_and_a_dangling_link_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("nowhere")
    with pytest.raises(CheckpointError, match="is not there"):
        read_json(tmp_path / "config.json")
    with pytest.raises(CheckpointError, match="does not exist"):
        read_json(tmp_path / "link")


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.slow
@settings(deadline=None, max_examples=50)
@given(st.dictionaries(st.text(), values, max_size=4))
def test_whatever_json_writes_reads_back(value: dict[str, object]) -> None:
    assert parse_json(json.dumps(value).encode(), FILE) == value


@pytest.mark.slow
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.binary(max_size=60) | st.text(alphabet='{}[]":,\\udNaI019.-e ', max_size=60).map(str.encode))
def test_noise_is_read_or_refused_and_nothing_else(data: bytes) -> None:
    with read_or_refused(FILE):
        assert isinstance(parse_json(data, FILE), dict)


def test_an_infinite_bound_is_a_record_that_no_number_field_takes() -> None:
    """Python's json writes the bare word; transformers 5 writes this record in its place."""
    from zoo.weights import ForeignConfig

    found = parse_json(b'{"limit": [0.0, Infinity], "eps": Infinity}', Path("config.json"))
    assert found == {"limit": [0.0, {"__float__": "Infinity"}], "eps": {"__float__": "Infinity"}}
    with pytest.raises(CheckpointError, match=r"config\.json: eps: "):
        ForeignConfig(found).as_type(float, found["eps"], "eps")
