"""What `.metadata` of torch.distributed.checkpoint says: it is a pickle, and is read without being run."""

from __future__ import annotations

import io
import pickle
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from zoo.anatomy.records import Shape
from zoo.errors import CheckpointError, clean
from zoo.files.dcp.machine import Made, MetadataMachine, NumberType, sizes, text
from zoo.files.regular import read_bounded

METADATA = ".metadata"
METADATA_BYTES = 100_000_000  # names and shapes: the limit of a safetensors header
DEEPEST = 32  # names that lead to a value

Place = tuple[str, Shape]  # a tensor's name, and where in it a shard begins


class StoredShard(NamedTuple):
    """Where the bytes of one shard lie, or of a value that is no tensor."""

    file: object  # as the metadata has it: not yet known to be the name of a file
    begin: int  # byte
    length: int  # bytes


@dataclass(frozen=True)
class ShardedTensor:
    """What the metadata says of a tensor: the shards that it lies in, each with where it begins and its sizes."""

    name: str  # as the metadata has it
    dtype: str
    shape: Any
    shards: tuple[tuple[Any, Any], ...]


class DistributedState(NamedTuple):
    """What a folder holds: tensors and other values by name, the names that led to each, and the places of shards."""

    values: dict[str, ShardedTensor | None]
    paths: dict[str, tuple[str, ...]]
    places: dict[Place, StoredShard]


def read_metadata(file: Path) -> DistributedState:
    """What `.metadata` says. Raises CheckpointError, by its name, for whatever else a pickle may hold."""
    machine = MetadataMachine(io.BytesIO(read_bounded(file, METADATA_BYTES)), file)
    try:
        return _state(machine.load())
    except (
        pickle.UnpicklingError, EOFError, IndexError, KeyError, TypeError, ValueError, AttributeError,
        OverflowError, MemoryError, RecursionError, struct.error, UnicodeDecodeError,
    ) as error:  # fmt: skip
        reason = clean(error) or type(error).__name__
        raise CheckpointError(file, "", f"is not the metadata of torch.distributed.checkpoint: {reason}") from None


def _state(found: Any) -> DistributedState:
    _expect(found, "Metadata")
    values: dict[str, ShardedTensor | None] = {}
    for name, value in found["state_dict_metadata"].items():
        is_tensor = isinstance(value, Made) and value.kind == "TensorStorageMetadata"
        values[text(name)] = _tensor(name, value) if is_tensor else _nothing(value)
    paths = {text(n): _path(path) for n, path in (found["planner_data"] or {}).items()}
    places = {place: _place(info) for place, info in (found["storage_data"] or {}).items()}
    return DistributedState(values, paths, places)


def _tensor(name: str, value: Made) -> ShardedTensor:
    properties = _expect(value["properties"], "TensorProperties").state
    number = properties.get(0, properties.get("dtype"))
    if not isinstance(number, NumberType):
        raise ValueError(f"no type of {clean(name)}")
    shards = tuple((c["offsets"], c["sizes"]) for c in (_expect(c, "ChunkStorageMetadata") for c in value["chunks"]))
    return ShardedTensor(name, number.dtype, value["size"], shards)


def _nothing(value: Any) -> None:
    _expect(value, "BytesStorageMetadata")


def _place(info: Any) -> StoredShard:
    _expect(info, "_StorageInfo")
    begin, length = sizes((info["offset"], info["length"]))
    if info["transform_descriptors"]:
        raise ValueError(f"shards that were packed by {clean(info['transform_descriptors'])}")
    return StoredShard(info["relative_path"], begin, length)


def _path(names: Any) -> tuple[str, ...]:
    if not isinstance(names, tuple) or len(names) > DEEPEST or not all(isinstance(n, str | int) for n in names):
        raise ValueError("a path that is not made of names")
    return tuple(map(str, names))


def _expect(value: Any, kind: str) -> Made:
    if not isinstance(value, Made) or value.kind != kind:
        raise ValueError(f"{clean(repr(value))[:60]} in the place of a {kind}")
    return value
