"""The fields of a SentencePiece model file, read within bounds: the library's own reader trusts what it is given."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import isfinite

from zoo.errors import CheckpointError, clean

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)  # SentencePiece.Type
UNIGRAM, BPE = 1, 2  # TrainerSpec.ModelType
MAX_PIECES = 1 << 20
MAX_PIECE_BYTES = 4096
MAX_FIELDS = 10_000  # beside pieces
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


@dataclass(frozen=True)
class Piece:
    """An entry of the vocabulary; its place in the list is its id."""

    text: str
    score: float
    type: int


@dataclass(frozen=True)
class SentencePieceModel:
    """What a model file says; all defaults are the format's own."""

    pieces: list[Piece]
    algorithm: int = UNIGRAM
    charsmap: bytes = b""  # replacements of characters, compiled
    add_dummy_prefix: bool = True  # a space is put before a text
    remove_extra_whitespaces: bool = True
    escape_whitespaces: bool = True  # spaces become ▁
    whitespace_as_suffix: bool = False
    byte_fallback: bool = False
    ids: dict[str, int] = field(default_factory=dict)  # unk, bos, eos, pad; -1: there is none

    def token(self, role: str) -> str | None:
        """The piece with this role (unk, bos, eos, pad), if there is one."""
        index = self.ids[role]
        return self.pieces[index].text if 0 <= index < len(self.pieces) else None


def read_model(data: bytes, file: object) -> SentencePieceModel:
    """The model in `data`. Raises CheckpointError for what is none, with what is wrong."""
    try:
        return _Reader(file).model(memoryview(data))
    except (IndexError, struct.error, ValueError) as error:
        raise CheckpointError(file, "", f"is not a SentencePiece model: {clean(error)}") from None


class _Reader:
    def __init__(self, file: object) -> None:
        self.file = file

    def model(self, data: memoryview) -> SentencePieceModel:
        pieces: list[Piece] = []
        trainer: dict[int, int | bytes] = {}
        normalizer: dict[int, int | bytes] = {}
        for count, (number, value) in enumerate(fields(data)):
            if count - len(pieces) > MAX_FIELDS or len(pieces) > MAX_PIECES:
                raise ValueError(f"it has more than {MAX_PIECES:,} pieces")
            if number not in (1, 2, 3):
                continue
            if not isinstance(value, memoryview):
                raise ValueError(f"its field {number} is a number")
            if number == 1:
                pieces.append(self._piece(value, len(pieces)))
            elif number == 2:
                trainer |= _flat(value)
            else:
                normalizer |= _flat(value)
        if not pieces:
            raise ValueError("it has no pieces")
        return self._checked(_model(pieces, trainer, normalizer))

    def _piece(self, data: memoryview, index: int) -> Piece:
        text, score, kind = "", 0.0, NORMAL
        for number, value in fields(data):
            if number == 1 and isinstance(value, memoryview):
                if len(value) > MAX_PIECE_BYTES:
                    raise ValueError(f"piece {index} has more than {MAX_PIECE_BYTES:,} bytes")
                text = bytes(value).decode("utf-8")
            elif number == 2 and isinstance(value, int):
                (score,) = struct.unpack("<f", struct.pack("<I", value & 0xFFFFFFFF))
            elif number == 3 and isinstance(value, int):
                kind = value
        if not isfinite(score):
            raise ValueError(f"piece {index} has the score {score}")
        if not NORMAL <= kind <= BYTE:
            raise ValueError(f"piece {index} is of type {kind}, which the format does not have")
        return Piece(text, score, kind)

    def _checked(self, model: SentencePieceModel) -> SentencePieceModel:
        seen: set[str] = set()
        for index, piece in enumerate(model.pieces):
            if not piece.text or piece.text in seen:
                what = f"piece {index}, {clean(repr(piece.text))}, is empty or stands there twice"
                raise ValueError(what)
            seen.add(piece.text)
        if model.algorithm not in (UNIGRAM, BPE):
            what = f"{model.algorithm} is neither Unigram (1) nor BPE (2)"
            raise CheckpointError(self.file, "trainer_spec.model_type", what)
        if model.whitespace_as_suffix or not model.escape_whitespaces:
            name = "treat_whitespace_as_suffix" if model.whitespace_as_suffix else "escape_whitespaces"
            raise CheckpointError(self.file, name, "is set to what no released model has, and zoo does not rebuild it")
        unknown = model.ids["unk"]
        if not 0 <= unknown < len(model.pieces) or model.pieces[unknown].type != UNKNOWN:
            raise CheckpointError(self.file, "trainer_spec.unk_id", f"{unknown} is not the piece for what is unknown")
        return model


def _model(
    pieces: list[Piece], trainer: dict[int, int | bytes], normalizer: dict[int, int | bytes]
) -> SentencePieceModel:
    def number(table: dict[int, int | bytes], key: int, default: int) -> int:
        value = table.get(key, default)
        if not isinstance(value, int):
            raise ValueError(f"its field {key} is a text")
        return value - (1 << 64) if value >= 1 << 63 else value

    charsmap = normalizer.get(2, b"")
    if not isinstance(charsmap, bytes):
        raise ValueError("its precompiled_charsmap is a number")
    return SentencePieceModel(
        pieces,
        algorithm=number(trainer, 3, UNIGRAM),
        charsmap=charsmap,
        add_dummy_prefix=bool(number(normalizer, 3, 1)),
        remove_extra_whitespaces=bool(number(normalizer, 4, 1)),
        escape_whitespaces=bool(number(normalizer, 5, 1)),
        whitespace_as_suffix=bool(number(trainer, 24, 0)),
        byte_fallback=bool(number(trainer, 35, 0)),
        ids={
            "unk": number(trainer, 40, 0),
            "bos": number(trainer, 41, 1),
            "eos": number(trainer, 42, 2),
            "pad": number(trainer, 43, -1),
        },
    )


def _flat(data: memoryview) -> dict[int, int | bytes]:
    """The last value of each field, as the format wants it."""
    found: dict[int, int | bytes] = {}
    for count, (number, value) in enumerate(fields(data)):
        if count > MAX_FIELDS:
            raise ValueError(f"a group has more than {MAX_FIELDS:,} fields")
        found[number] = value if isinstance(value, int) else bytes(value)
    return found


def fields(data: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Number and value of each field of a protocol buffer. Raises ValueError where a value leaves the data."""
    place = 0
    while place < len(data):
        key, place = _varint(data, place)
        number, wire = key >> 3, key & 7
        if wire == _VARINT:
            value, place = _varint(data, place)
            yield number, value
            continue
        if wire == _BYTES:
            size, place = _varint(data, place)
        elif wire in (_FIXED32, _FIXED64):
            size = 4 if wire == _FIXED32 else 8
        else:
            raise ValueError(f"byte {place} begins a field of an unknown form")
        if not number or size > len(data) - place:
            raise ValueError(f"at byte {place} a field leaves the data")
        part, place = data[place : place + size], place + size
        yield number, part if wire == _BYTES else int.from_bytes(part, "little")


def _varint(data: memoryview, place: int) -> tuple[int, int]:
    value = 0
    for i in range(10):
        if place + i >= len(data):
            raise ValueError("it ends within a number")
        byte = data[place + i]
        value |= (byte & 0x7F) << (7 * i)
        if byte < 0x80:
            return value & (1 << 64) - 1, place + i + 1
    raise ValueError(f"byte {place} begins a number that does not end")
