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
from zoo.parallel.layout import CUTS

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


def of_first(work: Callable[[], T]) -> T:
    """What `work` gives on rank 0, told to every rank; on each what went wrong there."""
    found: list[Any] = [together(lambda: work() if dist.get_rank() == 0 else None)]
    dist.broadcast_object_list(found, src=0)
    return found[0]


class OfAnotherRank(ZooError):
    """What went wrong on another rank, which says so itself."""

    is_of_another = True

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


Cuts = tuple[tuple[str, DeviceMesh], ...]  # in which ways, each over which ranks
TOGETHER = ({"tp", "ep"}, {"tp", "pp"}, {"sp", "pp"}, {"ep", "pp"})  # ways in which a model is cut at once


def cut_over(mesh: DeviceMesh) -> Cuts:
    """In which ways, and over which ranks of a mesh, a model is cut; in none, it is whole on each.

    Raises UsageError for other ways, and for those that do not go together.
    """
    names = mesh.mesh_dim_names
    if names is None and mesh.ndim == 1:
        return (("tp", mesh),)
    if names is None or (unknown := [name for name in names if name not in ("dp", *CUTS)]):
        told, known = "no names" if names is None else clean(unknown[0]), ", ".join(("dp", *CUTS))
        raise UsageError(f"a mesh of {told} is not one that zoo loads over", hint=f"name its dimensions {known}")
    found = [name for name in names if name in CUTS and mesh[name].size() > 1]
    has_copies = "dp" in names and mesh["dp"].size() > 1
    is_known = len(found) < 2 or (set(found) in TOGETHER and not has_copies)
    if not is_known or (has_copies and not {"pp", "cp"}.isdisjoint(found)):
        what = f"a mesh of {' and '.join([*(['dp'] if has_copies else []), *found])}: zoo does not cut a model so"
        raise UsageError(
            what, hint="tp (or sp), ep and pp go together two at a time, but not sp and ep; dp goes with tp, sp and ep"
        )
    return tuple((name, mesh[name]) for name in found)
