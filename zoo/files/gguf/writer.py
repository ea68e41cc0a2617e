"""Writes a GGUF file one tensor at a time, and reads it back.

The package `gguf` keeps every tensor in memory, or in a copy on disk, until all are there. Here the header comes first,
which names, types and shapes determine, and each tensor goes to its place as it arrives.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.anatomy.records import Shape
from zoo.errors import CheckpointError, ZooError
from zoo.files.gguf.encoding import NUMBERS, bytes_of_type, encoded
from zoo.progress import progress

if TYPE_CHECKING:
    from torch import Tensor

VERSION, ALIGNMENT = 3, 32
U8, U32, I32, F32, BOOL, STRING, ARRAY, U64 = 0, 4, 5, 6, 7, 8, 9, 10
CODES = {U8: "B", U32: "I", I32: "i", F32: "f", BOOL: "?", U64: "Q"}
Specs = Mapping[str, tuple[str, Shape]]  # the type of each tensor, as the format spells it, and its shape


def write_gguf(path: Path, metadata: Mapping[str, Any], specs: Specs, stream: Iterable[tuple[str, Tensor]]) -> None:
    """Write a new file of `metadata` and the tensors `specs`, which `stream` yields in any order.

    Raises ZooError for a tensor that was not announced, or did not come, and CheckpointError if what was read back is
    something else.
    """
    header, places = _header(metadata, specs)
    left, checksums = set(specs), dict.fromkeys(specs, 0)
    total = sum(bytes_of_type(*spec) for spec in specs.values())
    with path.open("xb") as file, progress(f"write {path.name}", total) as advance:
        file.write(header)
        for name, tensor in stream:
            kind, shape = specs.get(name, ("", ()))
            if name not in left or tuple(tensor.shape) != tuple(shape):
                raise ZooError(f"{name}: got {list(tensor.shape)}, expected {list(shape)}, once")
            file.seek(places[name])
            for part in encoded(name, tensor, kind):
                checksums[name] = zlib.crc32(part, checksums[name])
                file.write(part)
                advance(len(part))
            left.remove(name)
        if left:
            raise ZooError(f"{min(left)}: this tensor is missing")
        file.truncate(max(_padded(file.seek(0, os.SEEK_END)), len(header)))
        file.flush()
        os.fsync(file.fileno())
        if hasattr(os, "posix_fadvise"):  # so that reading back asks the disk and not our own memory
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    _read_back(path, header, {name: (places[name], bytes_of_type(*spec)) for name, spec in specs.items()}, checksums)


def _read_back(path: Path, header: bytes, places: Mapping[str, tuple[int, int]], checksums: Mapping[str, int]) -> None:
    with path.open("rb") as file:
        if file.read(len(header)) != header:
            raise CheckpointError(path, "", "has a different header after writing")
        for name, (place, nbytes) in places.items():
            file.seek(place)
            found = 0
            while nbytes and (chunk := file.read(min(nbytes, 8 << 20))):
                found, nbytes = zlib.crc32(chunk, found), nbytes - len(chunk)
            if nbytes or found != checksums[name]:
                raise CheckpointError(path, name, "has different bytes after writing: is the disk failing?")


def _header(metadata: Mapping[str, Any], specs: Specs) -> tuple[bytes, dict[str, int]]:
    """What stands before the data, and where each tensor begins."""
    out = bytearray(b"GGUF" + struct.pack("<IQQ", VERSION, len(specs), len(metadata)))
    for name, value in metadata.items():
        out += _text(name) + _value(value)
    offsets, at = {}, 0
    for name, (kind, shape) in specs.items():
        offsets[name] = at
        out += _text(name) + struct.pack(f"<I{len(shape)}Q", len(shape), *reversed(shape))
        out += struct.pack("<IQ", NUMBERS[kind], at)
        at = _padded(at + bytes_of_type(kind, shape))
    out += b"\0" * (_padded(len(out)) - len(out))
    return bytes(out), {name: len(out) + offset for name, offset in offsets.items()}


def _value(value: Any) -> bytes:
    """A value of the metadata with its type: the one that llama.cpp expects of such a thing."""
    if isinstance(value, bytes):
        return struct.pack("<IIQ", ARRAY, U8, len(value)) + value
    if isinstance(value, list):
        kind = _kind(value[0], is_item=True) if value else STRING
        items = b"".join(_text(item) if kind == STRING else struct.pack(f"<{CODES[kind]}", item) for item in value)
        return struct.pack("<IIQ", ARRAY, kind, len(value)) + items
    kind = _kind(value)
    return struct.pack("<I", kind) + (_text(value) if kind == STRING else struct.pack(f"<{CODES[kind]}", value))


def _kind(value: Any, *, is_item: bool = False) -> int:
    if isinstance(value, bool):
        return BOOL
    if isinstance(value, int):
        return I32 if is_item or value < 0 else U32 if value < 1 << 32 else U64
    return F32 if isinstance(value, float) else STRING


def _text(value: str) -> bytes:
    raw = value.encode()
    return struct.pack("<Q", len(raw)) + raw


def _padded(offset: int) -> int:
    return -(-offset // ALIGNMENT) * ALIGNMENT
