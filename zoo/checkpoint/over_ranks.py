"""A checkpoint read by several ranks, each its own share, and one saved from them as one process would."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh

from zoo.checkpoint.inspection import Ledger
from zoo.parallel.agreement import check_alike, cut_over, fingerprint_of, together
from zoo.parallel.gathering import mesh_of

if TYPE_CHECKING:
    from zoo.models.pretrained import Model
    from zoo.parallel.plans import RankPlan


def realised(ledger: Ledger, mesh: DeviceMesh, one: Callable[..., Model]) -> Model:
    """This rank's share of a ledger's model, which `one` makes of a plan; on every rank or on none.

    Raises UsageError where ranks read different files, and for what is not built over several.
    """
    is_cut = bool(cut_over(mesh))
    files = list(ledger.checkpoint.files)
    check_alike("the checkpoint", together(lambda: fingerprint_of(ledger.config.to_dict(), files)))
    model = together(partial(one, plan=partial(_planned, mesh=mesh) if is_cut else None))
    object.__setattr__(model, "mesh", mesh)
    return model


def _planned(model: nn.Module, mesh: DeviceMesh) -> RankPlan:
    from zoo.parallel.plans import planned  # which takes a second to import, and one process needs none of it

    return planned(model, mesh)


def written(model: nn.Module, write: Callable[[Iterable[tuple[str, Tensor]]], Path], stream: Iterator[Any]) -> Path:
    """What `write` makes of the tensors of a stream: by rank 0 alone, while all ranks gather what is in it."""
    if mesh_of(model) is None:
        return write(stream)

    def work() -> Path | None:
        try:
            return write(stream) if dist.get_rank() == 0 else None
        finally:  # whatever happens to the files, the others wait for this rank's part of each tensor
            for _ in stream:
                pass

    path = together(work)
    told: list[Any] = [path]
    dist.broadcast_object_list(told, src=0)
    return told[0]
