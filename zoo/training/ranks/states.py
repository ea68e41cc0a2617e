"""The state of a run over several ranks as a folder of torch.distributed.checkpoint, of which each rank writes a part.

It is read under the same layout, under another one, or in one process. Its metadata are a pickle: nothing but the
records that torch writes there is made of it, and no code of a stranger runs.
"""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch import Tensor
from torch.distributed.checkpoint import metadata as records
from torch.distributed.checkpoint.filesystem import FileSystemReader
from torch.distributed.checkpoint.metadata import Metadata, StorageMeta, TensorStorageMetadata
from torch.distributed.tensor import DTensor
from torch.distributed.tensor._utils import compute_local_shape_and_global_offset

from zoo.errors import CheckpointError, clean

METADATA = ".metadata"

Wanted = Callable[[str, torch.Size, torch.dtype], Tensor | None]  # where a tensor of this name goes; None: nowhere

_OTHERS = {  # beside the records of torch.distributed.checkpoint.metadata
    ("torch.distributed.checkpoint.filesystem", "_StorageInfo"), ("torch", "Size"), ("collections", "OrderedDict"),
    ("torch.serialization", "_get_layout"), ("pathlib", "PosixPath"), ("pathlib._local", "PosixPath"),
}  # fmt: skip


def write_states(tensors: Mapping[str, Tensor], folder: Path) -> None:
    """Write what all ranks hold; each must call it. Raises OSError on every rank where the disk refuses one."""
    try:
        with _quietly():
            dcp.save(dict(tensors), checkpoint_id=str(folder))
    except dcp.CheckpointException as error:
        causes = [cause[0] for cause in error.failures.values()]
        found = next((cause for cause in causes if isinstance(cause, OSError)), None)
        raise found or OSError(None, clean(causes[0], 200)) from error


def read_states(folder: Path, wanted: Wanted) -> dict[str, Tensor]:
    """The tensors that are wanted, each in the place that it was given; over ranks all of them call it.

    Raises CheckpointError for a folder that is not what torch writes, and for a tensor of another shape.
    """
    reader = _Reader(str(folder))
    try:
        with _quietly():
            places: dict[str, Tensor] = {}
            for name, told in reader.read_metadata().state_dict_metadata.items():
                if not isinstance(told, TensorStorageMetadata):
                    raise CheckpointError(folder / METADATA, name, "is not a tensor")
                if (place := wanted(name, told.size, told.properties.dtype)) is None:
                    continue
                if place.shape != told.size:
                    what = f"{list(told.size)} beside a parameter of {list(place.shape)}"
                    raise CheckpointError(folder / METADATA, name, what)
                places[name] = place
            dcp.load(dict(places), storage_reader=reader, no_dist=not dist.is_initialized())
    except (dcp.CheckpointException, OSError, EOFError, ValueError, RuntimeError, pickle.UnpicklingError) as error:
        raise CheckpointError(folder, "", f"is not whole: {clean(error, 200)}") from None
    return places


def own_part(whole: Tensor, like: Tensor) -> Tensor:
    """A whole tensor cut as a parameter is: what this rank holds of it."""
    if not isinstance(like, DTensor) or whole.shape != like.shape:
        return whole
    lengths, begins = compute_local_shape_and_global_offset(like.shape, like.device_mesh, like.placements)
    found: Any = torch.zeros_like(like, dtype=whole.dtype)
    place = tuple(slice(begin, begin + length) for begin, length in zip(begins, lengths, strict=True))
    found.to_local().copy_(whole[place])
    return found


class _Reader(FileSystemReader):
    """Reads the metadata as records alone."""

    def read_metadata(self, *args: Any, **kwargs: Any) -> Metadata:
        with Path(self.path, METADATA).open("rb") as file:
            found: Any = _Records(file).load()
        if not isinstance(found, Metadata):
            raise pickle.UnpicklingError(f"{METADATA} holds a {type(found).__name__}")
        found.storage_meta = getattr(found, "storage_meta", None) or StorageMeta()
        found.storage_meta.load_id = self.load_id
        return found


class _Records(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        is_record = module == records.__name__ and "." not in name and hasattr(records, name)
        is_dtype = module == "torch" and isinstance(getattr(torch, name, None), torch.dtype)
        if (is_record and getattr(records, name).__module__ == module) or is_dtype or (module, name) in _OTHERS:
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"{METADATA} names {clean(module)}.{clean(name)}, which is none of its records")


@contextmanager
def _quietly() -> Any:
    """Without what torch says of how it saves."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
