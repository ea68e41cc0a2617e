"""How a run is divided: ranks of `dp` read a part of each pass each, ranks of `tp` hold a part of the model each.

Every rank makes the batch of one process, as the seed and the step have it, and keeps its own rows of that.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor

from zoo.parallel.layout import Layout
from zoo.parallel.sharding import shard
from zoo.training.losses import IGNORED
from zoo.training.objectives.batch import Microbatch

WAYS = ("dp", "tp")  # the dimensions of the mesh, in this order


@dataclass(frozen=True)
class Division:
    """The ranks of a run, and which of them this is."""

    mesh: DeviceMesh  # of WAYS; in place of tp it may have sp

    @property
    def layout(self) -> Layout:
        """How many ranks there are in each way."""
        return Layout(dp=self.mesh["dp"].size(), tp=self.within.size(), sp="sp" in (self.mesh.mesh_dim_names or ()))

    @property
    def within(self) -> DeviceMesh:
        """The ranks that a model is cut over."""
        return self.mesh["sp" if "sp" in (self.mesh.mesh_dim_names or ()) else "tp"]

    @property
    def count(self) -> int:
        """Into how many parts the rows of a pass are divided."""
        return self.mesh["dp"].size()

    @property
    def number(self) -> int:
        """Which of these parts is ours."""
        return self.mesh["dp"].get_local_rank()

    @property
    def rank(self) -> int:
        """Which of all ranks this is."""
        return dist.get_rank()

    @property
    def is_first(self) -> bool:
        """Whether this is the rank that writes what is written once."""
        return self.rank == 0

    def spread(self, model: nn.Module) -> nn.Module:
        """Let FSDP2 spread a model over `dp`."""
        # What it warns of is an in-place sum with a model's output, and no objective takes one.
        warnings.filterwarnings("ignore", message="FSDP2-wrapped module", category=UserWarning)
        return shard(model, self.mesh) if self.count > 1 else model

    def part_again(self, model: nn.Module) -> None:
        """Give back what a pass without gradients has left gathered, as a backward pass does."""
        if self.count > 1:
            cast(FSDPModule, model).reshard()

    def part(self, batch: Microbatch) -> Microbatch:
        """Our rows of a batch. Where there are too few for all, one row of which nothing is predicted."""
        whole = len(batch.labels)
        each = whole // batch.blocks
        first, last = (each * i // self.count for i in (self.number, self.number + 1))
        rows = torch.arange(first, last) if last > first else torch.zeros(1, dtype=torch.long)
        index = torch.cat([rows + each * block for block in range(batch.blocks)])

        def taken(tensor: Tensor) -> Tensor:
            return tensor[index] if tensor.ndim and len(tensor) == whole else tensor

        labels = taken(batch.labels)
        if last == first:
            labels = torch.full_like(labels, IGNORED) if batch.blocks == 1 else labels
            weight = 0
        else:
            weight = len(rows) if batch.blocks > 1 else int((labels != IGNORED).sum())
        kwargs, extra = ({key: taken(value) for key, value in of.items()} for of in (batch.kwargs, batch.extra))
        args = tuple(map(taken, batch.args))
        return replace(batch, args=args, labels=labels, weight=weight, kwargs=kwargs, extra=extra)

    def summed(self, values: Sequence[float], device: torch.device) -> list[float]:
        """Each of these numbers, added up over the parts."""
        numbers = torch.tensor(values, dtype=torch.float64, device=device)
        dist.all_reduce(numbers, group=self.mesh["dp"].get_group())
        return numbers.tolist()

    def norm(self, gradients: Sequence[Tensor]) -> float:
        """The norm of all gradients, of which each rank has its parts; what is whole on all counts once."""
        device = _local(gradients[0]).device
        squares = torch.zeros(4, dtype=torch.float64, device=device)  # cut in no way, over dp, over tp, over both
        for gradient in gradients:
            ways = _ways(gradient)
            squares[("dp" in ways) + 2 * (not ways.isdisjoint(("tp", "sp")))] += _square(_local(gradient))
        dist.all_reduce(over_dp := squares[[1, 3]], group=self.mesh["dp"].get_group())
        dist.all_reduce(over_tp := torch.stack((squares[2], over_dp[1])), group=self.within.get_group())
        return float((squares[0] + over_dp[0] + over_tp.sum()).sqrt())

    def clip(self, gradients: Sequence[Tensor], most: float, norm: float) -> None:
        """Scale gradients of this norm down to `most`, as torch's clip_grads_with_norm_ does."""
        share = min(1.0, most / (norm + 1e-6))
        for gradient in map(_local, gradients):
            gradient.mul_(share)


def _ways(tensor: Tensor) -> set[str]:
    """The dimensions of the mesh that a tensor is cut over."""
    if not isinstance(tensor, DTensor):
        return set()
    names: Any = tensor.device_mesh.mesh_dim_names
    return {name for name, placed in zip(names, tensor.placements, strict=True) if not placed.is_replicate()}


def _local(tensor: Tensor) -> Tensor:
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def _square(tensor: Tensor) -> Tensor:
    """The sum of the squares, in float64."""
    return torch.linalg.vector_norm(tensor, dtype=torch.float64).square() if tensor.numel() else torch.zeros(())
