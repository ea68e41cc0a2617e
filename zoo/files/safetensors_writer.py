"""Writes a safetensors file one tensor at a time, and reads it back: the bytes that the library would write at once.

The library needs every tensor in memory; here the header, which names and shapes determine, comes first, and each
tensor goes to its place as it arrives.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
import zlib
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from zoo.anatomy.records import Shape
from zoo.errors import CheckpointError, ZooError
from zoo.files.safetensors_file import DTYPES, HEADER_BYTES, read_header
from zoo.files.tensor_info import TensorInfo
from zoo.progress import progress
from zoo.units import ITEM_BYTES

if TYPE_CHECKING:
    from torch import Tensor

TensorSpec = tuple[str, Shape]  # dtype as torch spells it, and shape

METADATA = {"format": "pt"}
_CODES = {name: code for code, name in DTYPES.items()}
_RANK = {name: rank for rank, name in enumerate(DTYPES.values())}
_CHUNK = 8 << 20


class Digest(NamedTuple):
    """What a finished file is known by."""

    sha256: str
    size: int  # bytes


class SafetensorsWriter:
    """A file under construction. Tensors may come in any order; `finish` wants all of them to have come."""

    def __init__(self, path: Path, specs: Mapping[str, TensorSpec]) -> None:
        header, self._infos = _layout(path, specs)
        self._path, self._left = path, set(specs)
        self._checksums: dict[str, int] = {}
        self._beside = ThreadPoolExecutor(2)  # sums are taken while the disk is read or written
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        _write_at(self._fd, memoryview(header), 0)

    @property
    def is_complete(self) -> bool:
        """Whether every tensor has come."""
        return not self._left

    def write(self, name: str, tensor: Tensor) -> None:
        """Put one tensor in its place. Raises ZooError for one that was not announced so."""
        info = self._infos[name]
        found = f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"
        if name not in self._left or found != f"{info.dtype} {list(info.shape)}":
            raise ZooError(f"{name}: got {found}, expected {info.dtype} {list(info.shape)}, once")
        data = _bytes_of(tensor)
        assert info.offset is not None
        for at in range(0, len(data), _CHUNK):
            part = data[at : at + _CHUNK]
            summing = self._beside.submit(zlib.crc32, part, self._checksums.get(name, 0))
            _write_at(self._fd, part, info.offset + at)
            self._checksums[name] = summing.result()
        self._checksums.setdefault(name, 0)
        self._left.remove(name)

    def finish(self) -> Digest:
        """Bring the file to the disk and read it back. Raises CheckpointError if what came back is something else."""
        assert self.is_complete, sorted(self._left)[:3]
        os.fsync(self._fd)
        if hasattr(os, "posix_fadvise"):  # so that reading back asks the disk and not our own memory
            os.posix_fadvise(self._fd, 0, 0, os.POSIX_FADV_DONTNEED)
        if read_header(self._path).tensors != self._infos:
            raise CheckpointError(self._path, "", "has a different header after writing")
        digest = self._read_back()
        self.close()
        return digest

    def close(self) -> None:
        """Let go of the file, finished or not."""
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = -1
        self._beside.shutdown()

    def _read_back(self) -> Digest:
        sha256, size = hashlib.sha256(), os.fstat(self._fd).st_size
        first = next(iter(self._infos.values()), None)
        at = first.offset if first and first.offset is not None else size
        hashing = self._beside.submit(sha256.update, os.pread(self._fd, at, 0))
        with progress(f"read {self._path.name} back", size) as advance:
            for name, info in self._infos.items():
                checksum = 0
                for chunk in _chunks(self._fd, at, info.nbytes):
                    hashing.result()
                    hashing = self._beside.submit(sha256.update, chunk)
                    checksum = zlib.crc32(chunk, checksum)
                    advance(len(chunk))
                if checksum != self._checksums[name]:
                    what = "has different bytes after writing: is the disk failing?"
                    raise CheckpointError(self._path, name, what)
                at += info.nbytes
        hashing.result()
        return Digest(sha256.hexdigest(), at)


def _layout(path: Path, specs: Mapping[str, TensorSpec]) -> tuple[bytes, dict[str, TensorInfo]]:
    """The header, and each tensor's place: the widest types first, so that all are aligned, and then by name."""
    entries: dict[str, object] = {"__metadata__": METADATA}
    places: list[tuple[str, int, int]] = []
    at = 0
    for name in sorted(specs, key=lambda name: (-_RANK[specs[name][0]], name)):
        dtype, shape = specs[name]
        nbytes = prod(shape) * ITEM_BYTES[dtype]
        entries[name] = {"dtype": _CODES[dtype], "shape": list(shape), "data_offsets": [at, at + nbytes]}
        places.append((name, at, nbytes))
        at += nbytes
    text = json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    if len(text) > HEADER_BYTES:
        raise ZooError(
            f"the header of {path.name} would have {len(text):,} bytes, but the format allows {HEADER_BYTES:,}"
        )
    start = 8 + len(text)
    infos = {n: TensorInfo(n, specs[n][0], tuple(specs[n][1]), path, nbytes, start + o) for n, o, nbytes in places}
    return struct.pack("<Q", len(text)) + text, infos


def _bytes_of(tensor: Tensor) -> memoryview:
    import torch

    plain = tensor.detach().cpu().resolve_conj().resolve_neg().contiguous().reshape(-1)
    return plain.view(torch.uint8).numpy().data if plain.numel() else memoryview(b"")


def _write_at(fd: int, data: memoryview, offset: int) -> None:
    while data:
        written = os.pwrite(fd, data, offset)
        data, offset = data[written:], offset + written


def _chunks(fd: int, at: int, nbytes: int) -> Iterator[bytes]:
    end = at + nbytes
    while at < end:
        chunk = os.pread(fd, min(_CHUNK, end - at), at)
        if not chunk:
            raise OSError(f"the file ends at byte {at:,}, not {end:,}")
        yield chunk
        at += len(chunk)
