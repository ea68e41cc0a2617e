"""Strict JSON: what two readers could read differently, or what would cost more than it is worth, is refused."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Any

from zoo.errors import CheckpointError, clean
from zoo.files.regular import read_bounded

CONFIG_BYTES = 16 << 20
INDEX_BYTES = 64 << 20
MAX_VALUES = 100_000  # of a config: the labels of the largest classifiers are a fifth of it
MAX_DEPTH = 64
MAX_DIGITS = 64  # transformers writes 10^30 as an integer of 31 digits where a tokenizer has no length limit
MAX_KEY = 1024  # characters of a key, in messages and of a tensor's name
_ANY_DIGIT = bytes.maketrans(b"123456789", b"000000000")
_BOM = b"\xef\xbb\xbf"
MAX_COST = 100 << 20  # bytes of Python objects that one file may become: some 200,000 tensors in a header


def read_json(
    path: Path, limit_bytes: int = CONFIG_BYTES, max_depth: int = MAX_DEPTH, *, most: int = MAX_VALUES
) -> dict[str, Any]:
    """The object in a JSON file of `most` values at most. Raises CheckpointError, with file and key, for all else."""
    data = read_bounded(path, limit_bytes)
    if data.count(b",") > most:
        raise CheckpointError(path, "", f"has more than the {most:,} values that such a file may have")
    return parse_json(data, path, max_depth)


def parse_json(
    data: bytes,
    file: object,
    max_depth: int | None = MAX_DEPTH,
    *,
    max_cost: int = MAX_COST,
    allow_infinity: bool = True,
) -> dict[str, Any]:
    """The object that `data`, a part of `file`, spells; `max_depth` is None where the caller checks its form.

    Infinity is read as transformers 5 spells it, unless it is not allowed: a record that no field of numbers takes.
    """
    if 64 * (data.count(b"[") + data.count(b"{")) + 40 * data.count(b",") > max_cost:
        raise CheckpointError(file, "", "has too many values to be read safely")
    if data.startswith(_BOM):
        raise CheckpointError(
            file,
            "",
            "starts with a byte order mark, which JSON does not allow",
            hint="save it as UTF-8 without the mark",
        )
    refused: list[_Refused] = []
    try:
        value = _loads(data, refused, allow_infinity)
    except UnicodeDecodeError as error:
        raise CheckpointError(file, "", f"is not UTF-8 text: byte {error.start} is {data[error.start]:#04x}") from None
    except _Duplicate as error:
        raise CheckpointError(file, error.key, "occurs twice in one object") from None
    except json.JSONDecodeError as error:
        raise CheckpointError(
            file, "", f"is not JSON: line {error.lineno}, column {error.colno}: {error.msg}"
        ) from None
    except RecursionError:
        raise CheckpointError(file, "", f"is nested deeper than {max_depth or MAX_DEPTH} levels") from None
    if not isinstance(value, dict):
        raise CheckpointError(file, "", "is not a JSON object ({...})")
    if max_depth is not None:
        _check_depth(value, max_depth, file)
    if b"\\u" in data and re.search(rb"\\u[dD][89a-fA-F]", data):
        _refuse_lone_surrogates(value, file)
    if refused:
        wanted = refused[0]
        raise CheckpointError(file, next(p for v, p in _walk(value) if v is wanted).spelt(), wanted.what)
    return value


@dataclass(eq=False)
class _Refused:
    """Stands where a number was that is refused, until its key is known."""

    what: str


class _Duplicate(Exception):
    def __init__(self, key: str) -> None:
        self.key = key


def _loads(data: bytes, refused: list[_Refused], allow_infinity: bool) -> Any:
    has_long_number = b"0" * (MAX_DIGITS + 1) in data.translate(_ANY_DIGIT)

    def refuse(what: str) -> _Refused:
        refused.append(_Refused(what))
        return refused[-1]

    def real(literal: str) -> Any:  # most numbers of a file: as few steps as can be
        value = float(literal)
        return value if len(literal) <= MAX_DIGITS and -inf < value < inf else number(float, literal)

    def number(kind: type[int] | type[float], literal: str) -> Any:
        if len(literal) > MAX_DIGITS and sum(map(str.isdigit, literal)) > MAX_DIGITS:
            return refuse(f"a number of more than {MAX_DIGITS} digits: {clean(literal)}")
        value = kind(literal)
        return value if abs(value) != inf else refuse(f"{clean(literal)} is too large for a float")

    return json.loads(
        data.decode("utf-8"),
        object_pairs_hook=_unique,
        # A function per number is half the time of a large header, and few files have a number to refuse.
        parse_int=(lambda literal: number(int, literal)) if has_long_number else None,
        parse_float=real,
        # Python writes the infinite bound of a range so. It is read in the JSON spelling of transformers 5, a record,
        # which no field of numbers takes: only a family that knows the key can make anything of it.
        parse_constant=lambda literal: (
            {"__float__": literal}
            if literal == "Infinity" and allow_infinity
            else refuse(f"{literal} is not a JSON number")
        ),
    )


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        raise _Duplicate(next(key for key, _ in pairs if key in seen or seen.add(key))[:MAX_KEY])
    return found


def _refuse_lone_surrogates(value: Any, file: object) -> None:
    """Half a character (an unpaired \\ud800) can be neither printed nor written again."""
    for item, place in _walk(value):
        for text in item if type(item) is dict else [item]:
            try:
                if type(text) is str:
                    text.encode("utf-8")
            except UnicodeEncodeError:
                raise CheckpointError(file, place.spelt(), "contains half of a character (a lone surrogate)") from None


def _check_depth(value: Any, max_depth: int, file: object) -> None:
    level, depth = [value], 0
    while level := [item for item in level if type(item) in (dict, list) and item]:
        if (depth := depth + 1) > max_depth:
            raise CheckpointError(file, "", f"is nested deeper than {max_depth} levels")
        level = [child for item in level for child in (item.values() if type(item) is dict else item)]


@dataclass(frozen=True)
class _Place:
    """Where a value stands; spelt only when it is told, for a file may have a million places under one long key."""

    key: str | int
    parent: _Place | None

    def spelt(self) -> str:
        """The path: a.b[1]."""
        parts: list[str] = []
        place: _Place | None = self
        while place is not None and place.parent is not None:
            key = place.key
            parts.append(f"[{key}]" if isinstance(key, int) else f".{key[:MAX_KEY]}")
            place = place.parent
        return "".join(reversed(parts)).removeprefix(".")[:MAX_KEY]


def _walk(value: Any) -> Iterator[tuple[Any, _Place]]:
    """Every value and its place, without recursion: what is refused may lie deep."""
    rest = [(value, _Place("", None))]
    while rest:
        item, place = rest.pop()
        yield item, place
        if isinstance(item, dict):
            rest += [(child, _Place(key, place)) for key, child in item.items()]
        elif isinstance(item, list):
            rest += [(child, _Place(i, place)) for i, child in enumerate(item)]
