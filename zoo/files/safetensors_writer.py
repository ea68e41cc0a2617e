"""Writes a safetensors file one tensor at a time, and reads it back: the bytes that the library would write at once.

The library needs every tensor in memory; here the header, which names and shapes determine, comes first, and each
tensor goes to its place as it arrives.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterator, Mapping
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from zoo.anatomy.records import Shape
from zoo.errors import CheckpointError, ZooError, some
from zoo.files.block_file import BlockFile
from zoo.files.moved import TensorPart
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


class Digest(NamedTuple):
    """What a finished file is known by."""

    sha256: str
    size: int  # bytes


class SafetensorsWriter:
    """A file under construction. Tensors may come in any order; `finish` wants all of them to have come."""

    def __init__(self, path: Path, specs: Mapping[str, TensorSpec]) -> None:
        header, self._infos = _layout(path, specs)
        self._path, self._left = path, {name: info.nbytes for name, info in self._infos.items()}
        size = len(header) + sum(self._left.values())
        self._sha256 = hashlib.sha256()
        self._file = BlockFile(path, size, self._sha256.update)
        self._file.put(0, memoryview(header))

    @property
    def is_complete(self) -> bool:
        """Whether every tensor has come."""
        return not self._left

    def write(self, name: str, value: Tensor | TensorPart) -> None:
        """Put one tensor, or the next part of one, in its place. Raises ZooError for one that was not announced so."""
        info = self._infos[name]
        if isinstance(value, TensorPart):
            self._put(name, value)
            return
        found = f"{str(value.dtype).removeprefix('torch.')} {list(value.shape)}"
        if name not in self._left or found != f"{info.dtype} {list(info.shape)}":
            raise ZooError(f"{name}: got {found}, expected {info.dtype} {list(info.shape)}, once")
        self._put(name, TensorPart(0, _bytes_of(value)))

    def _put(self, name: str, part: TensorPart) -> None:
        """Write the next bytes of a tensor, which go to the disk while others come."""
        info, left = self._infos[name], self._left.get(name)
        if left is None or info.nbytes - left != part.at or len(part.data) > left:
            raise ZooError(f"{name}: got bytes {part.at} to {part.at + len(part.data)} of {info.nbytes}, out of turn")
        assert info.offset is not None
        self._file.put(info.offset + part.at, part.data)
        self._left[name] = left - len(part.data)
        if not self._left[name]:
            del self._left[name]

    def settle(self) -> None:
        """Wait until what came is on its way to the disk, and keep little memory for more."""
        self._file.settle()

    def finish(self) -> Digest:
        """Bring the file to the disk and read it back. Raises CheckpointError if what came back is something else."""
        assert self.is_complete, sorted(self._left)[:3]
        self._file.finish()
        size = self._file.size
        if read_header(self._path).tensors != self._infos:  # its bytes are compared below, with all others
            raise CheckpointError(self._path, "", "has a different header after writing")
        with progress(f"read {self._path.name} back", size) as advance:
            wrong = self._file.wrong(advance)
        if wrong is not None:
            names = some([*self._within(*wrong)])
            raise CheckpointError(self._path, names, "has different bytes after writing: is the disk failing?")
        self.close()
        return Digest(self._sha256.hexdigest(), size)

    def close(self) -> None:
        """Let go of the file, finished or not."""
        self._file.close()

    def _within(self, at: int, nbytes: int) -> Iterator[str]:
        """The tensors that have bytes in a run of them."""
        for name, info in self._infos.items():
            assert info.offset is not None
            if info.offset < at + nbytes and at < info.offset + info.nbytes:
                yield name


def in_order(specs: Mapping[str, TensorSpec]) -> list[str]:
    """The names in the order in which their tensors lie in a file: the widest types first, so that all are aligned."""
    return sorted(specs, key=lambda name: (-_RANK[specs[name][0]], name))


def _layout(path: Path, specs: Mapping[str, TensorSpec]) -> tuple[bytes, dict[str, TensorInfo]]:
    """The header, and each tensor's place."""
    entries: dict[str, object] = {"__metadata__": METADATA}
    places: list[tuple[str, int, int]] = []
    at = 0
    for name in in_order(specs):
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
