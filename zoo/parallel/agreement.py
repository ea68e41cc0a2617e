"""What all ranks do together or not at all: an error on one is told on each, and none waits for the others."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch.distributed as dist
from torch.distributed.device_mesh import DeviceMesh

from zoo.errors import UsageError, ZooError, clean, some

T = TypeVar("T")
BLOCKS, BLOCK = 256, 4096  # of each file that are compared: how many, and their bytes


def together(work: Callable[[], T]) -> T:
    """What `work` gives, where it succeeds on every rank. Raises on each what went wrong on some."""
    error: Exception | None = None
    result: Any = None
    try:
        result = work()
    except Exception as caught:
        error = caught
    told: list[tuple[str, int] | None] = [None] * dist.get_world_size()
    mine = None if error is None else (str(error) or type(error).__name__, getattr(error, "exit_code", 1))
    dist.all_gather_object(told, mine)
    failed = [rank for rank, words in enumerate(told) if words is not None]
    if not failed:
        return result
    if error is not None:
        error.__dict__["is_of_rank"] = failed[0]  # all failed alike: the first of them says so
        raise error
    words, code = told[failed[0]] or ("", 1)
    raise OfAnotherRank(f"rank {failed[0]} of {len(told)}: {words}", of_rank=failed[0], exit_code=code)


class OfAnotherRank(ZooError):
    """What went wrong on another rank, which says so itself."""

    def __init__(self, what: str, *, of_rank: int, exit_code: int) -> None:
        super().__init__(what)
        self.is_of_rank, self.exit_code = of_rank, exit_code


def check_alike(what: str, fingerprint: str) -> None:
    """Raise UsageError on every rank unless all have the same fingerprint."""
    told: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(told, fingerprint)
    if other := [rank for rank, mine in enumerate(told) if mine != told[0]]:
        ranks = some([str(rank) for rank in other])
        hint = "give every rank the same words and the same files"
        raise UsageError(f"{what} of rank 0 is not that of rank {ranks}", hint=hint)


def fingerprint_of(config: dict[str, Any], files: list[Path]) -> str:
    """A hash of a config, and of the sizes and 256 evenly spread blocks of each file: whole weights take too long."""
    found = hashlib.sha256(json.dumps(config, sort_keys=True, default=str).encode())
    for file in files:
        size = file.stat().st_size
        found.update(f"{size}".encode())
        with file.open("rb") as data:
            for start in sorted({size * i // BLOCKS for i in range(BLOCKS)}):
                data.seek(start)
                found.update(data.read(BLOCK))
    return found.hexdigest()


def tensor_mesh(mesh: DeviceMesh) -> DeviceMesh | None:
    """The ranks of a mesh that a model is cut over; None: it is whole on each. Raises UsageError for other ways."""
    names = mesh.mesh_dim_names
    if names is None and mesh.ndim == 1:
        return mesh
    known = ("dp", "tp")
    if names is None or (unknown := [name for name in names if name not in known]):
        told = "no names" if names is None else clean(unknown[0])
        raise UsageError(f"a mesh of {told} is not one that zoo loads over", hint=f"name its dimensions {known}")
    return mesh["tp"] if "tp" in names and mesh["tp"].size() > 1 else None
