"""The header of a GGUF file, walked within limits: nothing is allocated because the file says so."""

from __future__ import annotations

import math
import mmap
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from zoo.errors import CheckpointError, clean
from zoo.files.regular import size_of, unreadable
from zoo.files.tensor_info import MAX_RANK

HEADER_BYTES = 64 << 20  # the largest vocabularies take a quarter of it
NAME_BYTES = 1 << 16
MAX_KEYS, MAX_TENSORS = 10_000, 50_000  # some fifty, and two thousand, are usual
MAX_ITEMS = 250_000  # of all arrays together that belong to the config
VERSIONS = (2, 3)
_U32, _U64 = struct.Struct("<I"), struct.Struct("<Q")
_STRING, _ARRAY, _BOOL = 8, 9, 7
_SCALARS = {kind: struct.Struct(f"<{code}") for kind, code in enumerate("BbHhIifB")}  # 7: a boolean
_SCALARS |= {10: _U64, 11: struct.Struct("<q"), 12: struct.Struct("<d")}


@dataclass(frozen=True)
class RawTensor:
    """A tensor as the header has it: the fastest dimension first, the offset from the start of the data."""

    name: str
    dims: tuple[int, ...]
    kind: int
    offset: int


@dataclass
class RawHeader:
    """What a header says, before its tensors are checked against the file."""

    size: int  # bytes of the file
    end: int = 0  # where the header ends
    metadata: dict[str, Any] = field(default_factory=dict)
    tensors: list[RawTensor] = field(default_factory=list)


def read_raw_header(path: Path, *, longest: int | None) -> RawHeader:
    """The header of a file. Arrays of over `longest` elements, and vocabularies, are left out; None: no array is."""
    size = size_of(path)
    if size < 24:
        raise CheckpointError(path, "", f"has {size} bytes, too few for a GGUF file")
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return _Walk(data, path, longest).header()
    except (OSError, ValueError) as error:
        raise CheckpointError(path, "", unreadable(error)) from None


class _Walk:
    def __init__(self, data: mmap.mmap, path: Path, longest: int | None) -> None:
        self.data, self.path, self.longest = data, path, longest
        self.at, self.end = 4, min(len(data), HEADER_BYTES)
        self.items = 0

    def header(self) -> RawHeader:
        found = RawHeader(len(self.data))
        num_tensors, num_keys = self._counts()
        for _ in range(num_keys):
            key = self._text("", NAME_BYTES)
            if key in found.metadata:
                raise CheckpointError(self.path, key, "occurs twice in the metadata")
            found.metadata[key] = self._value(key)
        names = set()
        for _ in range(num_tensors):
            found.tensors.append(tensor := self._tensor())
            if tensor.name in names:
                raise CheckpointError(self.path, tensor.name, "occurs twice")
            names.add(tensor.name)
        found.metadata = {key: value for key, value in found.metadata.items() if value is not _LEFT_OUT}
        found.end = self.at
        return found

    def _counts(self) -> tuple[int, int]:
        if self.data[:4] != b"GGUF":
            raise CheckpointError(self.path, "", "is not a GGUF file: it does not start with GGUF")
        if (version := self._number(_U32, "version")) not in VERSIONS:
            what = "is for big-endian machines" if version & 0xFFFF == 0 else f"has GGUF version {version}"
            raise CheckpointError(self.path, "", what, why=f"zoo reads versions {VERSIONS[0]} and {VERSIONS[1]}")
        num_tensors, num_keys = self._number(_U64, "tensor count"), self._number(_U64, "key count")
        # The least that a tensor and a key take in the header.
        self._need(24 * num_tensors + 13 * num_keys, "", f"{num_tensors:,} tensors and {num_keys:,} keys")
        if num_tensors > MAX_TENSORS or num_keys > MAX_KEYS:
            why = f"at most {MAX_TENSORS:,} tensors and {MAX_KEYS:,} keys are read"
            raise CheckpointError(self.path, "", f"has {num_tensors:,} tensors and {num_keys:,} keys", why=why)
        return num_tensors, num_keys

    def _tensor(self) -> RawTensor:
        name = self._text("", NAME_BYTES)
        if (rank := self._number(_U32, name)) > MAX_RANK:
            raise CheckpointError(self.path, name, f"has {rank:,} dimensions, more than {MAX_RANK}")
        dims = tuple(self._number(_U64, name) for _ in range(rank))
        return RawTensor(name, dims, self._number(_U32, name), self._number(_U64, name))

    def _value(self, key: str) -> Any:
        kind = self._number(_U32, key)
        return self._array(key) if kind == _ARRAY else self._item(kind, key)

    def _item(self, kind: int, key: str, *, in_list: bool = False) -> Any:
        if kind == _STRING:
            return self._text(key, HEADER_BYTES)
        if kind not in _SCALARS:
            raise CheckpointError(self.path, key, f"its type {kind} is not a GGUF type")
        value = self._number(_SCALARS[kind], key)
        if kind == _BOOL and value not in (0, 1):
            raise CheckpointError(self.path, key, f"{value} is not a boolean")
        # Lists may have infinity: Gemma 3n's bounds of gates, of layers without one.
        if isinstance(value, float) and not math.isfinite(value) and not (in_list and math.isinf(value)):
            raise CheckpointError(self.path, key, f"{value} is not a number")
        return bool(value) if kind == _BOOL else value

    def _array(self, key: str) -> Any:
        kind, count = self._number(_U32, key), self._number(_U64, key)
        if kind != _STRING and kind not in _SCALARS:
            raise CheckpointError(self.path, key, f"is an array of type {kind}, which zoo does not read")
        least = 8 if kind == _STRING else _SCALARS[kind].size
        self._need(count * least, key, f"{count:,} elements")
        if self.longest is None or (count <= self.longest and not key.startswith("tokenizer.")):
            self.items += count
            if self.longest is not None and self.items > MAX_ITEMS:
                raise CheckpointError(self.path, key, f"the arrays so far have more than {MAX_ITEMS:,} elements")
            return [self._item(kind, key, in_list=True) for _ in range(count)]
        if kind == _STRING:
            self._skip_texts(count, key)
        else:
            self.at += count * least
        return _LEFT_OUT

    def _skip_texts(self, count: int, key: str) -> None:
        read, at, last = _U64.unpack_from, self.at, self.end - 8
        for _ in range(count):
            if at > last:
                break
            at += 8 + read(self.data, at)[0]
        else:
            self._need(at - self.at, key, f"{count:,} strings")
            self.at = at
            return
        self._need(self.end, key, f"{count:,} strings")

    def _text(self, key: str, most: int) -> str:
        length = self._number(_U64, key)
        if length > most:
            raise CheckpointError(self.path, key, f"has a string of {length:,} bytes, more than {most:,}")
        self._need(length, key, f"a string of {length:,} bytes")
        raw = self.data[self.at : self.at + length]
        self.at += length
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError:
            raise CheckpointError(self.path, key, f"{clean(repr(raw))} is not UTF-8 text") from None

    def _number(self, kind: struct.Struct, key: str) -> Any:
        self._need(kind.size, key, "more")
        (value,) = kind.unpack_from(self.data, self.at)
        self.at += kind.size
        return value

    def _need(self, nbytes: int, key: str, what: str) -> None:
        if self.at + nbytes > self.end:
            is_cut = self.end == len(self.data)
            limit = "the file ends" if is_cut else f"the header is over {HEADER_BYTES >> 20} MiB"
            raise CheckpointError(self.path, key, f"the header claims {what}, and {limit} before that")


_LEFT_OUT: Any = object()
