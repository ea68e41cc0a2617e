"""PyTorch's files from before 1.6: five pickles in a row, then the bytes of each storage. None of the pickles is run.

The first three say what the file is, the fourth is the state dict, the fifth names the storages in the order in which
they follow, each as its number of elements and these. A tensor is read when it is asked for.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from zoo.errors import CheckpointError, clean
from zoo.files.regular import size_of, unreadable
from zoo.files.restricted_pickle import Pickle, Storages, StoredTensor
from zoo.files.state_dict import Weights, find_weights
from zoo.units import ITEM_BYTES

if TYPE_CHECKING:
    from torch import Tensor

MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
START = b"\x80\x02\x8a\x0a" + MAGIC.to_bytes(10, "little") + b"."  # the pickle of the magic number
PICKLE_BYTES = 100_000_000  # of the pickles, which hold names and shapes: the limit of a safetensors header
_COUNT = struct.Struct("<q")

Place = tuple[int, int]  # where a storage's bytes begin in the file, and how many there are


class Stored(NamedTuple):
    """What a file of torch.save says of itself."""

    weights: Weights[StoredTensor]
    places: Mapping[str, Place]  # of the storages


def is_legacy(path: Path) -> bool:
    """Whether a file begins as PyTorch before 1.6 wrote it."""
    try:
        with path.open("rb") as file:
            return file.read(len(START)) == START
    except OSError as error:
        raise CheckpointError(path, "", unreadable(error)) from None


def read_legacy(path: Path) -> Stored:
    """The tensors of one file, and where their storages lie. Raises CheckpointError for one that is not whole."""
    size = size_of(path)
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ) as data:
            with mmap.mmap(file.fileno(), min(size, PICKLE_BYTES), access=mmap.ACCESS_READ) as stream:
                head = [Pickle(stream, path).value for _ in range(3)]
                _check_head(head, path)
                state, keys = Pickle(stream, path), Pickle(stream, path)
                end = stream.tell()
            places = _places(data, end, keys.value, state.storages, path)
    except (OSError, ValueError) as error:
        raise CheckpointError(path, "", unreadable(error)) from None
    return Stored(find_weights(state.value, StoredTensor, path), places)


def read_tensor(path: Path, stored: StoredTensor, place: Place) -> Tensor:
    """One tensor of a file that `read_legacy` passed."""
    import torch

    dtype, item = getattr(torch, stored.dtype), ITEM_BYTES[stored.dtype]
    if not prod(stored.shape):
        return torch.empty(stored.shape, dtype=dtype)
    last = sum((n - 1) * step for n, step in zip(stored.shape, stored.strides, strict=True))
    buffer = bytearray((last + 1) * item)
    try:
        with path.open("rb") as file:
            file.seek(place[0] + stored.start * item)
            whole = file.readinto(buffer) == len(buffer)
    except OSError as error:
        raise CheckpointError(path, "", unreadable(error)) from None
    if not whole:
        raise CheckpointError(path, "", "changed since its names were read")
    return torch.frombuffer(buffer, dtype=dtype).as_strided(stored.shape, stored.strides)


def _check_head(head: list[Any], path: Path) -> None:
    magic, protocol, system = head
    if magic != MAGIC or protocol != PROTOCOL or not isinstance(system, dict):
        raise CheckpointError(path, "", "is not a checkpoint in PyTorch's format from before 1.6")
    if system.get("little_endian") is not True:
        raise CheckpointError(path, "", "is not little-endian: the file was written on another kind of machine")


def _places(data: mmap.mmap, position: int, keys: object, storages: Storages, path: Path) -> dict[str, Place]:
    """Where each storage lies, all of them one behind the other from `position` on."""
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise CheckpointError(path, "", "does not list its storages")
    places: dict[str, Place] = {}
    for key in keys:
        known = storages.get(key, set())
        if key in places or len(known) != 1:
            raise CheckpointError(path, f"storage {clean(key)}", "is not one that the state dict names once")
        ((dtype, count),) = known
        if position + _COUNT.size > len(data):
            raise CheckpointError(
                path, f"storage {clean(key)}", f"is not in the file, which ends at {len(data):,} bytes"
            )
        (found,) = _COUNT.unpack_from(data, position)
        if found != count:
            told = f"has {found:,} elements, but the state dict says {clean(count)}"
            raise CheckpointError(path, f"storage {clean(key)}", told)
        begin, nbytes = position + _COUNT.size, found * ITEM_BYTES[dtype or "uint8"]
        if begin + nbytes > len(data):
            told = f"ends at byte {begin + nbytes:,}, the file at {len(data):,}: it is cut off"
            raise CheckpointError(path, f"storage {clean(key)}", told)
        places[key], position = (begin, nbytes), begin + nbytes
    return places
