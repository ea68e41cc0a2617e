"""Reads tensors out of the files of torch.distributed.checkpoint, where each shard is what torch.save writes of it.

A tensor of one shard is a view of the file, mapped copy-on-write; one of several is put together.
"""

from __future__ import annotations

import io
import mmap
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from zoo.anatomy.records import Shape
from zoo.errors import CheckpointError
from zoo.files.pickle_file import described, read_archive
from zoo.files.regular import unreadable
from zoo.files.restricted_pickle import StoredTensor
from zoo.files.tensor_info import TensorInfo
from zoo.units import ITEM_BYTES

if TYPE_CHECKING:
    from torch import Tensor


class Shard(NamedTuple):
    """A part of a tensor, and the bytes of the archive that holds it."""

    file: Path
    at: int  # byte of the file
    nbytes: int
    dtype: str
    begin: Shape  # where in the tensor
    shape: Shape


class ShardReader:
    """Reads tensors of one folder; each file is mapped once."""

    def __init__(self, tensors: Mapping[str, TensorInfo], shards: Mapping[str, tuple[Shard, ...]]) -> None:
        self._tensors, self._shards = tensors, shards
        self._files: dict[Path, mmap.mmap] = {}

    def __call__(self, name: str) -> Tensor:
        import torch

        info, shards = self._tensors[name], self._shards[name]
        if len(shards) == 1:
            return self._read(name, shards[0])
        whole = torch.empty(info.shape, dtype=getattr(torch, info.dtype))
        for shard in shards:
            there = tuple(slice(b, b + n) for b, n in zip(shard.begin, shard.shape, strict=True))
            whole[there] = self._read(name, shard)
        return whole

    def close(self) -> None:
        """Let go of the files; tensors that were read keep what they need."""
        self._files.clear()

    def _read(self, name: str, shard: Shard) -> Tensor:
        import torch

        data = self._map(shard.file)
        if shard.at + shard.nbytes > len(data):
            raise CheckpointError(shard.file, name, "changed since its metadata was read")
        stored, places = read_archive(io.BufferedReader(_Window(data, shard)), shard.nbytes, shard.file)
        if not isinstance(stored, StoredTensor):
            raise CheckpointError(shard.file, name, "is not a tensor in the file")
        info = described(name, stored, places, shard.file)
        if (info.dtype, info.shape) != (shard.dtype, shard.shape):
            found = f"is {info.dtype} {list(info.shape)} in the file"
            what = f"the shard at {list(shard.begin)} {found}, and {shard.dtype} {list(shard.shape)} in the metadata"
            raise CheckpointError(shard.file, name, what)
        last = sum((n - 1) * step for n, step in zip(stored.shape, stored.strides, strict=True))
        begin = shard.at + places[stored.storage][0] + stored.start * ITEM_BYTES[stored.dtype]
        flat = torch.frombuffer(data, dtype=getattr(torch, stored.dtype), count=last + 1, offset=begin)
        return flat.as_strided(stored.shape, stored.strides)

    def _map(self, path: Path) -> mmap.mmap:
        if path not in self._files:
            try:
                with path.open("rb") as file:
                    self._files[path] = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
            except (OSError, ValueError) as error:
                raise CheckpointError(path, "", unreadable(error)) from None
        return self._files[path]


class _Window(io.RawIOBase):
    """A part of a mapped file as a file of its own, for what reads archives."""

    def __init__(self, data: mmap.mmap, shard: Shard) -> None:
        self._data, self._begin, self._size, self._place = data, shard.at, shard.nbytes, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._size}[whence]
        if start + offset < 0:
            raise ValueError("before the beginning of the shard")
        self._place = start + offset
        return self._place

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        count = max(0, min(len(buffer), self._size - self._place))
        at = self._begin + self._place
        buffer[:count] = self._data[at : at + count]
        self._place += count
        return count
