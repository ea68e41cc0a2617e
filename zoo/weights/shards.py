"""Checkpoints in several files, put together by their index and never by what else lies in the folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from zoo.errors import CheckpointError
from zoo.weights.files import plain_name
from zoo.weights.json_file import INDEX_BYTES, read_json
from zoo.weights.tensor_info import TensorInfo

MAX_TENSORS = 250_000  # three times as many as the largest released models have

ReadHeader = Callable[[Path], Mapping[str, TensorInfo]]


def read_index(index: Path) -> dict[str, str]:
    """Which file each tensor is in. Raises CheckpointError for a name that leads out of the folder."""
    table = read_json(index, INDEX_BYTES, most=MAX_TENSORS).get("weight_map")
    if not isinstance(table, dict) or not table:
        raise CheckpointError(index, "weight_map", "is not a table of tensors and files")
    return {name: plain_name(file, index, name) for name, file in table.items()}


def read_shards(index: Path, read_header: ReadHeader) -> dict[str, TensorInfo]:
    """Every tensor of the shards that an index names, each exactly where the index says and nowhere else."""
    table = read_index(index)
    tensors: dict[str, TensorInfo] = {}
    for file in dict.fromkeys(table.values()):
        shard = index.parent / file
        if not shard.exists():
            lost = next(name for name in table if table[name] == file)
            raise CheckpointError(shard, lost, f"the file is not there, and {index.name} says that the tensor is in it")
        for name, info in read_header(shard).items():
            if name not in table:
                raise CheckpointError(shard, name, f"{index.name} does not name the tensor")
            if table[name] != file:
                raise CheckpointError(shard, name, f"is here, and {index.name} says it is in {table[name]}")
            tensors[name] = info
    for name, file in table.items():
        if name not in tensors:
            raise CheckpointError(index.parent / file, name, f"is not in the file, and {index.name} says it is")
    return tensors
