"""A SentencePiece model made field by field: each one's meaning, its default, each limit and one beyond."""

from __future__ import annotations

import struct
from typing import Any

import pytest

from zoo.errors import CheckpointError
from zoo.text.kinds import proto
from zoo.text.kinds.proto import Piece, fields, read_model


def varint(value: int) -> bytes:
    out = b""
    while value > 127:
        out, value = out + bytes([value & 127 | 128]), value >> 7
    return out + bytes([value])


def number(key: int, value: int) -> bytes:
    return varint(key << 3) + varint(value & (1 << 64) - 1)


def data(key: int, value: bytes) -> bytes:
    return varint(key << 3 | 2) + varint(len(value)) + value


def piece(text: str | bytes, kind: int | None = None, score: float | None = None) -> bytes:
    raw = text if isinstance(text, bytes) else text.encode()
    scored = b"" if score is None else varint(2 << 3 | 5) + struct.pack("<f", score)
    return data(1, data(1, raw) + scored + (b"" if kind is None else number(3, kind)))


UNK = piece("<unk>", 2)


def model(*more: bytes, trainer: bytes = b"", normalizer: bytes = b"") -> bytes:
    return UNK + b"".join(more) + data(2, trainer) + data(3, normalizer)


def test_what_is_not_said_is_the_formats_own_default() -> None:
    found = read_model(UNK + piece("a") + piece("é", 6, -1.5), "x")
    assert found.pieces == [Piece("<unk>", 0.0, 2), Piece("a", 0.0, 1), Piece("é", -1.5, 6)]
    assert (found.algorithm, found.charsmap, found.add_dummy_prefix, found.remove_extra_whitespaces) == (
        1,
        b"",
        True,
        True,
    )
    assert (found.escape_whitespaces, found.whitespace_as_suffix, found.byte_fallback) == (True, False, False)
    assert found.ids == {"unk": 0, "bos": 1, "eos": 2, "pad": -1}
    assert [found.token(role) for role in ("unk", "bos", "eos", "pad")] == ["<unk>", "a", "é", None]
    assert read_model(UNK, "x").token("bos") is None


@pytest.mark.parametrize(
    ("group", "key", "value", "name", "found"),
    [
        ("trainer", 3, 2, "algorithm", 2),
        ("trainer", 35, 1, "byte_fallback", True),
        ("trainer", 41, 0, "ids", {"unk": 0, "bos": 0, "eos": 2, "pad": -1}),
        ("trainer", 42, -1, "ids", {"unk": 0, "bos": 1, "eos": -1, "pad": -1}),
        ("trainer", 43, 1, "ids", {"unk": 0, "bos": 1, "eos": 2, "pad": 1}),
        ("normalizer", 3, 0, "add_dummy_prefix", False),
        ("normalizer", 4, 0, "remove_extra_whitespaces", False),
    ],
)
def test_each_field_says_its_own(group: Any, key: int, value: int, name: str, found: Any) -> None:
    assert getattr(read_model(model(**{group: number(key, value)}), "x"), name) == found
    with pytest.raises(CheckpointError, match=f"{key}"):
        read_model(model(**{group: data(key, b"x")}), "x")


def test_the_last_value_of_a_field_counts_and_unknown_ones_do_not() -> None:
    twice = number(3, 1) + number(3, 2) + number(99, 5) + data(98, b"odd")
    assert read_model(model(trainer=twice) + data(9, b"?") + number(8, 1), "x").algorithm == 2
    assert read_model(model(normalizer=data(2, b"map")), "x").charsmap == b"map"


@pytest.mark.parametrize(
    "broken",
    [
        b"",
        data(2, b""),
        number(1, 5),
        UNK + number(2, 5),
        model(normalizer=number(2, 5)),
        model(piece("")),
        model(piece("a"), piece("a")),
        model(piece(b"\xff")),
        model(piece("a", 0)),
        model(piece("a", 7)),
        model(piece("a", 1, float("nan"))),
        model(piece("a", 1, float("inf"))),
        model(piece("x" * 4097)),
        model(trainer=number(3, 0)),
        model(trainer=number(3, 3)),
        model(trainer=number(24, 1)),
        model(normalizer=number(5, 0)),
        model(trainer=number(40, -1)),
        model(trainer=number(40, 1)),
        model(piece("a"), trainer=number(40, 1)),
        UNK[:-1],
        UNK + b"\x08",
        UNK + b"\x0b",  # a group, which the format has given up
        UNK + b"\x02\x00",  # the field 0
        UNK + b"\x0a\x7f",
        UNK + b"\x08" + b"\xff" * 10 + b"\x01",
    ],
)
def test_what_is_no_model_is_refused(broken: bytes) -> None:
    with pytest.raises(CheckpointError, match=r"^x: "):
        read_model(broken, "x")


def test_a_model_is_read_up_to_its_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    read_model(model(piece("x" * 4096)), "x")
    for limit, at, beyond in (
        ("MAX_PIECES", UNK + piece("a") + data(2, b""), UNK + piece("a") + piece("b") + data(2, b"")),
        ("MAX_FIELDS", UNK + number(8, 1) * 3, UNK + number(8, 1) * 4),
        ("MAX_FIELDS", model(trainer=number(9, 1) * 3), model(trainer=number(9, 1) * 4)),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(proto, limit, 2)
            read_model(at, "x")
            with pytest.raises(CheckpointError):
                read_model(beyond, "x")


def test_fields_are_those_of_a_protocol_buffer() -> None:
    raw = (
        number(1, 300)
        + data(2, b"ab")
        + b"\x1d"
        + struct.pack("<I", 7)
        + b"\x21"
        + struct.pack("<Q", 8)
        + number(16, -1)
    )
    found = [(key, value if isinstance(value, int) else bytes(value)) for key, value in fields(memoryview(raw))]
    assert found == [(1, 300), (2, b"ab"), (3, 7), (4, 8), (16, (1 << 64) - 1)]
