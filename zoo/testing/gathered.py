"""Many tensors of several ranks made whole at once: one by one, each would be a word with the other ranks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def wholes(tensors: Mapping[str, Any]) -> dict[str, Tensor]:
    """All of each tensor, for which every rank must ask at the same time, by the same names.

    What is cut along one dimension over all ranks is told in one message for each dtype; anything else by itself.
    """
    from zoo.parallel.gathering import whole

    along = {name: dim for name, tensor in tensors.items() if (dim := _cut_along(tensor)) is not None}
    found: dict[str, Tensor] = {}
    for dtype in dict.fromkeys(tensors[name].dtype for name in along):
        found |= _told({name: tensors[name] for name in along if tensors[name].dtype == dtype}, along)
    return {name: found[name] if name in found else whole(tensor) for name, tensor in tensors.items()}


def _cut_along(tensor: Any) -> int | None:
    """The dimension along which all ranks have a part."""
    from torch.distributed.tensor import DTensor, Shard

    if not isinstance(tensor, DTensor) or tensor.device_mesh.ndim != 1:
        return None
    (place,) = tensor.placements
    is_over_all = tensor.device_mesh.size() == dist.get_world_size()
    return place.dim if type(place) is Shard and is_over_all else None


def _told(tensors: Mapping[str, Any], along: Mapping[str, int]) -> dict[str, Tensor]:
    """What each rank has of each, and no more; of ranks that have less, the message is filled up."""
    count = dist.get_world_size()
    mine = torch.cat([tensor.to_local().detach().reshape(-1) for tensor in tensors.values()])
    shapes = {
        name: [_shape(tensor, along[name], rank, count) for rank in range(count)] for name, tensor in tensors.items()
    }
    lengths = [sum(of_ranks[rank].numel() for of_ranks in shapes.values()) for rank in range(count)]
    assert len(mine) == lengths[dist.get_rank()], "this rank has another part than its place says"
    told = [mine.new_empty(max(lengths)) for _ in range(count)]
    dist.all_gather(told, torch.nn.functional.pad(mine, (0, max(lengths) - len(mine))))
    parts = [
        iter(all_of.narrow(0, 0, length).split([of_ranks[rank].numel() for of_ranks in shapes.values()]))
        for rank, (all_of, length) in enumerate(zip(told, lengths, strict=True))
    ]
    return {
        name: torch.cat([next(part).view(shape) for part, shape in zip(parts, of_ranks, strict=True)], along[name])
        for name, of_ranks in shapes.items()
    }


def _shape(tensor: Any, dim: int, rank: int, count: int) -> torch.Size:
    """Of a rank's part, which is one of torch's chunks."""
    length = tensor.shape[dim]
    each = -(-length // count)
    size = max(0, min(each, length - rank * each))
    return torch.Size([*tensor.shape[:dim], size, *tensor.shape[dim + 1 :]])
