"""Checkpoints in several files: cut to a size, put together by their index and never by what else is in the folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod
from pathlib import Path
from typing import Any

from zoo.errors import CheckpointError, ZooError, clean
from zoo.files.json_file import INDEX_BYTES, read_json
from zoo.files.regular import plain_name
from zoo.files.safetensors_writer import TensorSpec, in_order
from zoo.files.tensor_info import TensorInfo
from zoo.units import ITEM_BYTES

SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
PICKLE, PICKLE_INDEX = "pytorch_model.bin", "pytorch_model.bin.index.json"
MAX_SHARD_SIZE = 5_000_000_000  # bytes, as the tools of the hub cut

MAX_TENSORS = 250_000  # three times as many as the largest released models have

ReadHeader = Callable[[Path], Mapping[str, TensorInfo]]


def read_index(index: Path) -> dict[str, str]:
    """Which file each tensor is in. Raises CheckpointError for a name that leads out of the folder."""
    table = read_json(index, INDEX_BYTES, most=MAX_TENSORS).get("weight_map")
    if not isinstance(table, dict) or not table:
        raise CheckpointError(index, "weight_map", "is not a table of tensors and files")
    return {name: plain_name(file, index, name) for name, file in table.items()}


def wrong_size(index: Path, tensors: Mapping[str, TensorInfo]) -> tuple[str, ...]:
    """What is to be said of an index whose total_size is not what its tensors take; none need say it."""
    metadata = read_json(index, INDEX_BYTES).get("metadata")
    told = metadata.get("total_size") if isinstance(metadata, dict) else None
    found = sum(info.nbytes for info in tensors.values())
    if told in (None, found):
        return ()
    return (f"{index.name} says total_size {clean(told)}, its tensors take {found} bytes",)


def read_shards(index: Path, read_header: ReadHeader) -> dict[str, TensorInfo]:
    """Every tensor of the shards that an index names, each exactly where the index says and nowhere else."""
    table = read_index(index)
    tensors: dict[str, TensorInfo] = {}
    for file in dict.fromkeys(table.values()):
        shard = index.parent / file
        if not shard.exists():
            lost = next(name for name in table if table[name] == file)
            raise CheckpointError(shard, lost, f"the file is missing, but {index.name} says that the tensor is in it")
        for name, info in read_header(shard).items():
            if name not in table:
                raise CheckpointError(shard, name, f"{index.name} does not name the tensor")
            if table[name] != file:
                raise CheckpointError(shard, name, f"is here, but {index.name} says it is in {table[name]}")
            tensors[name] = info
    for name, file in table.items():
        if name not in tensors:
            raise CheckpointError(index.parent / file, name, f"is not in the file, but {index.name} says it is")
    return tensors


def cut(tensors: Mapping[str, TensorSpec], max_shard_size: int) -> dict[str, dict[str, TensorSpec]]:
    """Files of at most `max_shard_size` bytes of tensors, filled in order; a larger tensor has a file of its own."""
    shards: list[dict[str, TensorSpec]] = []
    current: dict[str, TensorSpec] = {}
    room = max_shard_size
    for name, spec in tensors.items():
        nbytes = bytes_of(spec)
        if nbytes > max_shard_size:
            shards.append({name: spec})
            continue
        if nbytes > room:
            shards.append(current)
            current, room = {}, max_shard_size
        current[name] = spec
        room -= nbytes
    shards += [current] if current else []
    if len(shards) < 2:
        return {SINGLE: shards[0] if shards else {}}
    return {f"model-{i:05}-of-{len(shards):05}.safetensors": shard for i, shard in enumerate(shards, 1)}


def as_they_lie(tensors: Mapping[str, TensorSpec], max_shard_size: int) -> list[str]:
    """The names in the order in which their tensors lie in the files, one file after the other."""
    return [name for shard in cut(tensors, max_shard_size).values() for name in in_order(shard)]


def bytes_of(spec: TensorSpec) -> int:
    """Bytes that a tensor takes."""
    dtype, shape = spec
    if dtype not in ITEM_BYTES:
        raise ZooError(f"safetensors has no dtype {dtype!r}", why=f"it has: {', '.join(ITEM_BYTES)}")
    return prod(shape) * ITEM_BYTES[dtype]


def index_of(shards: Mapping[str, Mapping[str, TensorSpec]]) -> dict[str, Any]:
    """What an index says: which file each tensor is in."""
    total = sum(bytes_of(spec) for specs in shards.values() for spec in specs.values())
    where = {name: file for file, specs in shards.items() for name in specs}
    return {"metadata": {"total_size": total}, "weight_map": dict(sorted(where.items()))}
