"""A model file from a stranger is read, or refused in one line; nothing else happens."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from zoo.errors import CheckpointError
from zoo.text import Tokenizer
from zoo.text.kinds.proto import read_model

from . import made


def field(number: int, data: bytes) -> bytes:
    """A field of bytes, whose size is below 16,384."""
    return bytes([number << 3 | 2, len(data) & 0x7F | 0x80, len(data) >> 7]) + data


def piece(text: str, score: float = -1.0, kind: int = 1) -> bytes:
    return field(1, field(1, text.encode()) + b"\x15" + struct.pack("<f", score) + bytes([3 << 3, kind]))


UNKNOWN = piece("<unk>", 0.0, 2)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "it has no pieces"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 488\n", "is a git-lfs pointer"),
        (b"\x0a\xff\xff\xff\xff\x0f", "leaves the data"),
        (b"\x0a" + b"\xff" * 11, "a number that does not end"),
        (b"\x0f\x00", "a field of an unknown form"),
        (b"\x08\x01", "its field 1 is a number"),
        (field(1, b"\x0a\x01\xff"), "is not a SentencePiece model"),
        (UNKNOWN + piece("a") + piece("a"), "piece 2, 'a', is empty or stands there twice"),
        (UNKNOWN + piece(""), "piece 1, '', is empty"),
        (UNKNOWN + piece("a", float("nan")), "piece 1 has the score nan"),
        (UNKNOWN + piece("a", kind=9), "piece 1 is of type 9"),
        (piece("a"), "unk_id: 0 is not the piece for what is unknown"),
        (UNKNOWN + piece("a") + field(2, bytes([40 << 3 & 0x7F | 0x80, 2, 5])), "unk_id: 5 is not"),
        (UNKNOWN + piece("a") + field(2, bytes([3 << 3, 4])), "model_type: 4 is neither Unigram"),
        (
            UNKNOWN + piece("a") + field(3, bytes([5 << 3, 0])),
            "escape_whitespaces: is set to what no released model has",
        ),
        (UNKNOWN + piece("a") + field(3, field(2, b"\x04\0\0\0\xff\xff\xff\xff")), "is not a table of SentencePiece"),
        (UNKNOWN + piece("x" * 5000), "piece 1 has more than 4,096 bytes"),
    ],
)
def test_a_broken_model_says_what_is_wrong(tmp_path: Path, data: bytes, message: str):
    (tmp_path / "tokenizer.model").write_bytes(data)
    with pytest.raises(CheckpointError, match=message):
        Tokenizer.from_folder(tmp_path)


@pytest.mark.parametrize("options", [made.LLAMA, made.T5], ids=["BPE", "Unigram"])
def test_changed_bytes_never_end_in_anything_but_a_refusal(options: dict):
    data, chance = made.sentencepiece_model(**options), random.Random(0)
    for _ in range(60):
        read_or_refused(lambda: read_model(changed(data, chance), "tokenizer.model"))


@pytest.mark.slow  # builds hundreds of tokenizers
@pytest.mark.parametrize("options", [made.LLAMA, made.T5], ids=["BPE", "Unigram"])
def test_what_is_read_of_changed_bytes_encodes_or_refuses(tmp_path: Path, options: dict):
    data, chance = made.sentencepiece_model(**options), random.Random(1)
    file = tmp_path / "tokenizer.model"
    for _ in range(250):
        file.write_bytes(changed(data, chance))
        read_or_refused(lambda: Tokenizer.from_folder(tmp_path).encode("The time,  渡 \u0301\x07 ❤️"))


def changed(data: bytes, chance: random.Random) -> bytes:
    made_ = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 8))):
        place = chance.randrange(len(made_))
        match chance.randrange(4):
            case 0:
                made_[place] = chance.randrange(256)
            case 1:
                del made_[place : place + chance.randrange(1, 9)]
            case 2:
                made_[place:place] = bytes(chance.randrange(256) for _ in range(chance.randrange(1, 9)))
            case _:
                del made_[place:]
        if not made_:
            return b""
    return bytes(made_)


def read_or_refused(work: Callable[[], object]) -> None:
    with suppress(CheckpointError):  # anything else that is raised, a panic too, fails the test
        work()
