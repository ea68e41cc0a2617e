"""Strict JSON: what two readers could read differently, or what would cost more than it is worth, is refused."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zoo.errors import CheckpointError, clean
from zoo.weights.files import size_of, unreadable

CONFIG_BYTES = 16 << 20
INDEX_BYTES = 64 << 20
MAX_VALUES = 100_000  # of a config: the labels of the largest classifiers are a fifth of it
MAX_DEPTH = 64
MAX_DIGITS = 25
MAX_KEY = 1024  # characters of a key, in messages and of a tensor's name
_ANY_DIGIT = bytes.maketrans(b"123456789", b"000000000")
MAX_COST = 100 << 20  # bytes of Python objects that one file may become: some 200,000 tensors in a header


def read_json(
    path: Path, limit_bytes: int = CONFIG_BYTES, max_depth: int = MAX_DEPTH, *, most: int = MAX_VALUES
) -> dict[str, Any]:
    """The object in a JSON file of `most` values at most. Raises CheckpointError, with file and key, for all else."""
    if (size := size_of(path)) > limit_bytes:
        raise CheckpointError(path, "", f"has {size:,} bytes, more than the {limit_bytes:,} that such a file may have")
    try:
        with path.open("rb") as file:
            data = file.read(limit_bytes)
    except OSError as error:
        raise CheckpointError(path, "", unreadable(error)) from None
    if data.count(b",") > most:
        raise CheckpointError(path, "", f"has more than the {most:,} values that such a file may have")
    return parse_json(data, path, max_depth)


def parse_json(data: bytes, file: Path, max_depth: int | None = MAX_DEPTH) -> dict[str, Any]:
    """The object that `data`, a part of `file`, spells; `max_depth` is None where the caller checks its form."""
    if 64 * (data.count(b"[") + data.count(b"{")) + 40 * data.count(b",") > MAX_COST:
        raise CheckpointError(file, "", "has too many values to be read safely")
    refused: list[_Refused] = []
    try:
        value = _loads(data, refused)
    except UnicodeDecodeError as error:
        raise CheckpointError(file, "", f"is not UTF-8 text: byte {error.start} is {data[error.start]:#04x}") from None
    except _Duplicate as error:
        raise CheckpointError(file, error.key, "stands twice in one object") from None
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
    if refused:
        path = next(_paths(value, refused[0]), "")[:MAX_KEY]
        raise CheckpointError(file, path, refused[0].what)
    return value


@dataclass(eq=False)
class _Refused:
    """Stands where a number was that is refused, until its key is known."""

    what: str


class _Duplicate(Exception):
    def __init__(self, key: str) -> None:
        self.key = key


def _loads(data: bytes, refused: list[_Refused]) -> Any:
    has_long_number = b"0" * (MAX_DIGITS + 1) in data.translate(_ANY_DIGIT)

    def refuse(what: str) -> _Refused:
        refused.append(_Refused(what))
        return refused[-1]

    def number(kind: type[int] | type[float], literal: str) -> Any:
        if len(literal) > MAX_DIGITS and sum(map(str.isdigit, literal)) > MAX_DIGITS:
            return refuse(f"a number of more than {MAX_DIGITS} digits: {clean(literal)}")
        value = kind(literal)
        return value if abs(value) != float("inf") else refuse(f"{clean(literal)} is beyond what a float can hold")

    value = json.loads(
        data.decode("utf-8"),
        object_pairs_hook=_unique,
        # A function per number is half the time of a large header, and few files have a number to refuse.
        parse_int=(lambda literal: number(int, literal)) if has_long_number else None,
        parse_float=lambda literal: number(float, literal),
        # Python writes the infinite bound of a range so. It is read in the JSON spelling of transformers 5, a record,
        # which no field of numbers takes: only a family that knows the key can make anything of it.
        parse_constant=lambda literal: (
            {"__float__": literal} if literal == "Infinity" else refuse(f"{literal} is not a JSON number")
        ),
    )
    if b"\\u" in data and re.search(rb"\\u[dD][89a-fA-F]", data):
        _refuse_lone_surrogates(value)
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        raise _Duplicate(next(key for key, _ in pairs if key in seen or seen.add(key))[:MAX_KEY])
    return found


def _refuse_lone_surrogates(value: Any) -> None:
    """Half a character (an unpaired \\ud800) can be neither printed nor written again."""
    try:
        json.dumps(value, ensure_ascii=False, default=str).encode("utf-8")
    except UnicodeEncodeError as error:
        raise json.JSONDecodeError("a lone surrogate, half a character", str(error.object), 0) from None


def _check_depth(value: Any, max_depth: int, file: Path) -> None:
    level, depth = [value], 0
    while level := [item for item in level if type(item) in (dict, list) and item]:
        if (depth := depth + 1) > max_depth:
            raise CheckpointError(file, "", f"is nested deeper than {max_depth} levels")
        level = [child for item in level for child in (item.values() if type(item) is dict else item)]


def _paths(value: Any, wanted: _Refused, path: str = "") -> Iterator[str]:
    if value is wanted:
        yield path
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _paths(item, wanted, f"{path}.{key}" if path else key)
    elif isinstance(value, list):
        for i, item in enumerate(value):
            yield from _paths(item, wanted, f"{path}[{i}]")
