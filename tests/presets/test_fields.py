# ruff: noqa: E501 - each case is a line, to be read as one
"""The fields of a stranger's preset and its YAML, at each limit and beyond."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from zoo.anatomy.config import MISSING, ModelConfig
from zoo.errors import ZooError
from zoo.presets.fields import hold, missing, too_much
from zoo.presets.plain_yaml import check, directives, load, text_of


def refused(told: str, work: Any, *args: Any, **options: Any) -> None:
    with pytest.raises(ZooError, match=told):
        work(*args, **options)


@pytest.mark.parametrize(
    ("name", "most"),
    [
        ("num_layers", 500), ("num_encoder_layers", 500), ("num_heads", 1 << 16), ("experts_per_token", 1 << 16),
        ("head_dim", 1 << 16), ("q_lora_rank", 1 << 16), ("image_size", 1 << 16), ("window_size", 1 << 16),
        ("patch_size", 1 << 10), ("spatial_merge_size", 1 << 10), ("vocab_size", 1 << 22), ("hidden_size", 1 << 22),
        ("max_seq_len", 1 << 30), ("theta", 1 << 30),
    ],
)  # fmt: skip
def test_a_number_that_would_be_counted_for_ever_is_found_by_its_field(name: str, most: int) -> None:
    assert too_much({name: most}) == ""
    assert too_much({name: most + 1}) == f"{name}={most + 1}, more than {most:,}"
    assert too_much({"a": {"b": {name: most + 1}}, "c": {}}).startswith(f"a.b.{name}=")
    assert too_much({"c": {"x": 1}, name: float(most * 2)}) == ""


def test_a_list_has_so_many_values() -> None:
    assert too_much({"a": [0] * 1000}) == ""
    assert "a.b with more than 1,000" in too_much({"a": {"b": [0] * 1001}})


@dataclass
class Part:
    size: int = MISSING
    theta: float = 1.0


@dataclass
class Odd(ModelConfig):
    hidden: int = MISSING
    part: Part = field(default_factory=Part)
    maybe: Part | None = None
    names: list[str] = field(default_factory=list)
    note: str = "x"


FILE: Any = "f.yaml"


@pytest.mark.parametrize(
    "values",
    [
        {"hidden": 1},
        {"part": {"size": 1}},
        {"maybe": None},
        {"maybe": {"theta": 1}},
        {"names": ["a"]},
        {"hub": "a"},
        {"hub": "a-1/b.c_d"},
        {"hub": ""},
    ],
)
def test_values_of_their_fields_are_held(values: dict[str, Any]) -> None:
    hold(values, Odd, FILE)


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"hiden": 1}, r"no key 'model.hiden'(?s:.*)model.hidden"),
        ({"part": {"sise": 1}}, r"no key 'model.part.sise'(?s:.*)model.part.size"),
        ({"hidden": "a"}, "f.yaml: model.hidden"),
        ({"part": None}, "f.yaml: model.part"),
        ({"part": {"theta": "a"}}, "f.yaml: model.part.theta"),
        ({"maybe": 5}, "f.yaml: model.maybe"),
        ({"names": [5]}, "f.yaml: model.names"),
        ({"hub": "a/b/c"}, "model.hub='a/b/c' is not a repository"),
        ({"hub": "../a"}, "is not a repository"),
    ],
)
def test_values_of_other_fields_or_types_are_refused(values: dict[str, Any], told: str) -> None:
    refused(told, hold, values, Odd, FILE)


def test_fields_without_a_value_are_found() -> None:
    given = {"family": "odd"}
    assert missing(Odd, given) == ["model.hidden"]
    assert missing(Odd, given | {"hidden": 1, "part": {"theta": 1.0}}) == ["model.part.size"]
    assert missing(Odd, given | {"hidden": 1, "part": {"size": 1}, "maybe": {}}) == ["model.maybe.size"]
    assert missing(Odd, given | {"hidden": MISSING, "note": MISSING}, "m") == ["m.hidden", "m.note"]
    assert missing(Odd, given | {"hidden": 1, "note": ""}) == []


def nested(depth: int) -> str:
    return "".join("  " * i + f"k{i}:\n" for i in range(depth - 1)) + "  " * (depth - 1) + "x: 1\n"


@pytest.mark.parametrize(
    ("read", "beyond"),
    [
        ("x: 1\n" + "\n" * 19_999, "x: 1\n" + "\n" * 20_000),
        ("x: 1\n" + "\r" * 19_999, "x: 1\n" + "\r" * 20_000),
        ("#" + "x" * ((1 << 20) - 1), "#" + "x" * (1 << 20)),
        (nested(20), nested(21)),
        ("x: [" + "1," * 9_996 + "1]", "x: [" + "1," * 9_997 + "1]"),
        ("x: " + "a" * 1000, "x: " + "a" * 1001),
        ("x: $a", "x: ${a}"),
        ("x: target", "x: _target_"),
        ("x: a", "_target_: a"),
        ("x: a", "x: &a b"),
        ("x: a", "x: !!str a"),
        ("x: a", "x: a\n---\ny: b"),
        ("x: |\n  a\n  b", 'x: "\\x07"'),
        ("x: 'é'", "x: '\x1b'"),
    ],
)
def test_yaml_at_a_limit_is_read_and_beyond_refused(read: str, beyond: str) -> None:
    check(read.encode(), "f")
    refused("f: ", check, beyond.encode(), "f")


def test_entries_are_counted() -> None:
    assert check(b"x: 1\ny: [1, 2]\n", "f") == 7  # the whole, two keys, a number, a list and its two
    for text, line in (("a: 1\nb: ${x}", 2), ("\n\nb: &a x", 3)):
        refused(f"f: line {line}: ", check, text.encode(), "f")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-5", 1e-5), ("1_000", 1000), ("0x1F", 31), ("2001-01-01", "2001-01-01"), ("-1.5", -1.5), ("1" * 40, int("1" * 40)),
        ("1" * 41, "number of 41"), (".inf", "not a finite"), ("-.inf", "not a finite"), (".nan", "not a finite"),
        ("1e999", "not a finite"), ("0b_", "not a finite"), ("on", True), ("~", None), ("1e5", 1e5), ("1_0e1", 100.0),
    ],
)  # fmt: skip
def test_a_value_is_a_finite_number_or_what_omegaconf_reads(text: str, value: Any) -> None:
    if isinstance(value, str) and value != text:
        refused(f"line 1: .*{value}", load, f"x: {text}".encode(), "f")
    else:
        found = load(f"x: {text}".encode(), "f")["x"]
        assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("x: 1\nx: 2", "line 2: the key 'x' is given twice"),
        ("1: 2", "line 1: the key '1' is not a word"),
        ("[a]: 2", "is not a word"),
        ("- a", "not a group of fields"),
        ("", "not a group of fields"),
        ("x: [", "line 2"),
        ("x: {a: 1, a: 2}", "the key 'a' is given twice"),
    ],
)
def test_keys_are_words_given_once(text: str, told: str) -> None:
    refused(f"^f: .*{told}", load, text.encode(), "f")


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"x: 1\ny: \xff", "line 2: .*the byte 0xff"),
        ("x: 1".encode("utf-16"), "UTF-16"),
        (b"\xfe\xff\0x", "UTF-16"),
        (b"x: 1\ny: \x7f", "line 2: .*U[+]007F"),
        ("\ud800".encode("utf-8", "surrogatepass"), "line 1"),
    ],
)
def test_a_text_is_utf8_with_characters_of_yaml(data: bytes, told: str) -> None:
    assert text_of("\ufeffé\x85\U0001f600".encode(), "f") == "é\x85\U0001f600"
    refused(told, text_of, data, "f")


def test_directives_stand_before_all_else() -> None:
    text = "\n# @package model\n  #  @other  x y\n\nx: 1\n# @package late"
    assert list(directives(text)) == [(2, "@package model"), (3, "@other  x y")]
    assert list(directives("# words\n# @package x")) == []
