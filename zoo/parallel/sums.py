"""What passes between the ranks of one tensor-parallel group, and how gradients come back through it.

What is whole on every rank and used by a rank's share alone goes in unchanged, and its gradients are added up; results
of shares are added up, and their gradients go back unchanged; parts are laid end to end, and each gets its own back.
"""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd import Function
from torch.distributed.device_mesh import DeviceMesh
from torch.nn import functional as F

from zoo.parallel.shares import bounds


@dataclass(frozen=True)
class Ranks:
    """The ranks that one model is cut over, and which of them this process is."""

    mesh: DeviceMesh  # of one dimension

    @property
    def count(self) -> int:
        """How many there are."""
        return self.mesh.size()

    @property
    def number(self) -> int:
        """Which of them this is."""
        return self.mesh.get_local_rank()

    def entered(self, x: Tensor) -> Tensor:
        """x, whose gradients on all ranks are added up."""
        return cast(Tensor, _Entered.apply(x, self)) if _learns(x) else x

    def added(self, x: Tensor) -> Tensor:
        """The sum of all ranks' x, which is not used again."""
        if _learns(x):
            return cast(Tensor, _Added.apply(x, self))
        return self.sum_into(x.contiguous())

    def joined(self, x: Tensor, length: int) -> Tensor:
        """The parts x [..., share of length] of all ranks, end to end."""
        return cast(Tensor, _Joined.apply(x, self, length)) if _learns(x) else self.gather(x, length)

    def sum_into(self, x: Tensor) -> Tensor:
        """The sum over all ranks, in the memory of x."""
        dist.all_reduce(x, group=self.mesh.get_group())
        return x

    def gather(self, x: Tensor, length: int) -> Tensor:
        """The parts of all ranks; the last may be smaller, and are filled up on the way."""
        each = -(-length // self.count)
        mine = F.pad(x, (0, each - x.shape[-1])).contiguous()
        parts = [torch.empty_like(mine) for _ in range(self.count)]
        dist.all_gather(parts, mine, group=self.mesh.get_group())
        return torch.cat(parts, -1)[..., :length]


class SharedInput:
    """The input of several parts of one block: what all of them are given is entered once."""

    def __init__(self, ranks: Ranks) -> None:
        self.ranks = ranks
        self._last: tuple[Any, Any] | None = None

    def __call__(self, x: Tensor) -> Tensor:
        if not _learns(x):
            return x
        if self._last is not None and self._last[0]() is x and (known := self._last[1]()) is not None:
            return known
        out = self.ranks.entered(x)
        self.remember(x, out)
        return out

    def remember(self, x: Tensor, entered: Tensor) -> None:
        """x is `entered`, as long as somebody has both."""
        self._last = weakref.ref(x), weakref.ref(entered)

    def __deepcopy__(self, memo: Any) -> SharedInput:
        return SharedInput(self.ranks)


def _learns(x: Tensor) -> bool:
    return torch.is_grad_enabled() and x.requires_grad


class _Entered(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, ranks: Ranks) -> Tensor:
        ctx.ranks = ranks
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:  # pyrefly: ignore[bad-override]
        return ctx.ranks.sum_into(grad.clone(memory_format=torch.contiguous_format)), None


class _Added(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, ranks: Ranks) -> Tensor:
        return ranks.sum_into(x.clone(memory_format=torch.contiguous_format))

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:  # pyrefly: ignore[bad-override]
        return grad, None


class _Joined(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, ranks: Ranks, length: int) -> Tensor:
        ctx.bounds = bounds(length, ranks.count, ranks.number)
        return ranks.gather(x, length)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:  # pyrefly: ignore[bad-override]
        first, last = ctx.bounds
        return grad[..., first:last], None, None
