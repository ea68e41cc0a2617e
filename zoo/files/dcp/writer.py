"""Writes a folder of torch.distributed.checkpoint one tensor at a time, in torch's own format, and reads it back."""

from __future__ import annotations

import os
import pickle
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.errors import CheckpointError, ZooError
from zoo.files.dcp.folder import SUFFIX, open_shards, read_folder
from zoo.files.dcp.metadata import METADATA
from zoo.files.regular import sha256_of, size_of
from zoo.files.safetensors_writer import Digest, TensorSpec
from zoo.files.shards import bytes_of, cut
from zoo.progress import progress

if TYPE_CHECKING:
    from torch import Tensor
    from torch.distributed.checkpoint.metadata import Metadata

Stored = tuple[str, int, int]  # of a tensor: the file, where in it, and how many bytes


def write_dcp(
    folder: Path,
    specs: Mapping[str, TensorSpec],
    stream: Iterable[tuple[str, Tensor]],
    *,
    max_shard_size: int,
    second_names: Mapping[str, str],
) -> dict[str, Digest]:
    """Write the tensors of a stream, and `.metadata` last. `second_names` are those that a tensor goes by besides.

    The same tensors give the same bytes. Raises CheckpointError if what is read back is something else.
    """
    parts = enumerate(cut(specs, max_shard_size).values())
    owner = {name: f"__0_{number}{SUFFIX}" for number, part in parts for name in part}
    stored: dict[str, Stored] = {}
    sums: dict[str, int] = {}
    with progress(f"write {folder.name.lstrip('.').rsplit('.', 2)[0]}", sum(map(bytes_of, specs.values()))) as advance:
        for name, tensor in stream:
            if name not in owner or name in stored:
                raise ZooError(f"{name}: this tensor was not expected")
            stored[name] = _append(folder / owner[name], _own(tensor))
            sums[name] = _sum(tensor)
            advance(tensor.nbytes)
    if late := [name for name in specs if name not in stored]:
        raise ZooError(f"{late[0]}: this tensor is missing")
    with (folder / METADATA).open("xb") as file:
        pickle.dump(_metadata(specs, stored, second_names), file, protocol=4)
        file.flush()
        os.fsync(file.fileno())
    _read_back(folder, sums)
    names = (METADATA, *dict.fromkeys(owner.values()))
    return {name: Digest(sha256_of(folder / name), size_of(folder / name)) for name in names}


def _append(path: Path, tensor: Tensor) -> Stored:
    import torch

    with path.open("ab") as file:
        begin = file.tell()
        torch.save(tensor, file)
        file.flush()
        os.fsync(file.fileno())
        return path.name, begin, file.tell() - begin


def _own(tensor: Tensor) -> Tensor:
    """The tensor with a storage of its own: of a view, torch.save writes all that it is a view of."""
    tensor = tensor.detach().cpu().contiguous()
    return tensor if tensor.untyped_storage().nbytes() == tensor.nbytes else tensor.clone()


def _metadata(specs: Mapping[str, TensorSpec], stored: Mapping[str, Stored], second: Mapping[str, str]) -> Metadata:
    import torch
    from torch.distributed.checkpoint import metadata
    from torch.distributed.checkpoint.filesystem import _StorageInfo

    tensors: dict[str, Any] = {}
    places: dict[Any, Any] = {}
    names = {**{name: name for name in specs}, **second}
    for name, of in names.items():
        dtype, shape = specs[of]
        size, begin = torch.Size(shape), torch.Size([0] * len(shape))
        properties = metadata.TensorProperties(dtype=getattr(torch, dtype))
        shard = metadata.ChunkStorageMetadata(offsets=begin, sizes=size)
        tensors[name] = metadata.TensorStorageMetadata(properties, size, [shard])
        places[metadata.MetadataIndex(name, begin, 0)] = _StorageInfo(*stored[of])
    paths = {name: (name,) for name in names}
    return metadata.Metadata(tensors, planner_data=paths, storage_data=places, storage_meta=metadata.StorageMeta())


def _read_back(folder: Path, sums: Mapping[str, int]) -> None:
    found = read_folder(folder)
    with open_shards(found.tensors, found.shards) as tensors:
        for name, expected in sums.items():
            if _sum(tensors[name]) != expected:
                raise CheckpointError(found.tensors[name].file, name, "what was read back is not what was written")


def _sum(tensor: Tensor) -> int:
    import torch

    flat = tensor.detach().cpu().contiguous().reshape(-1)
    data: Any = flat.view(torch.uint8).numpy()
    return zlib.crc32(data)
