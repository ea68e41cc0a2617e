"""What passes between ranks that have different tokens, and how gradients come back through it.

Shapes: [..., length, ...] along `dim`, of which each rank has the share that zoo.parallel.shares.bounds gives it.
"""

from __future__ import annotations

from typing import Any, Protocol, cast

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd import Function, Variable
from torch.nn import functional as F

from zoo.parallel.shares import bounds
from zoo.parallel.sums import Ranks


def parted(x: Tensor, ranks: Ranks, dim: int) -> Tensor:
    """This rank's share of an x that all ranks have; the gradients of all shares come back together."""
    return cast(Tensor, _Parted.apply(x, ranks, dim))


def gathered(x: Tensor, ranks: Ranks, dim: int, length: int) -> Tensor:
    """The shares of all ranks, end to end, for ranks that go on alike: each takes the gradient of its own share."""
    return cast(Tensor, _Gathered.apply(x, ranks, dim, length))


def met(xs: tuple[Tensor, ...], ranks: Ranks, dim: int, length: int) -> tuple[Tensor, ...]:
    """The shares of all ranks of each x, end to end, for ranks that go on differently: all gradients are added up."""
    return cast(tuple[Tensor, ...], _Met.apply(ranks, dim, length, *xs))


class Learning(Protocol):
    """What is told when gradients begin to go back, and settles what was learned when they have."""

    def begin(self) -> None:
        """Gradients begin to go back."""
        ...

    def settle(self) -> None:
        """They have gone back."""
        ...


def alike(x: Tensor, whole: Tensor, ranks: Ranks, dim: int) -> Tensor:
    """`whole`, which `met` made of the shares x, for what ranks do alike: each takes the gradient of its own share."""
    return cast(Tensor, _Alike.apply(x, whole.detach(), ranks, dim))


def scattered(x: Tensor, ranks: Ranks, dim: int) -> Tensor:
    """This rank's share of the sum of all ranks' x; the gradients of all shares come back together."""
    return cast(Tensor, _Scattered.apply(x, ranks, dim))


def heard(x: Tensor, learning: Learning, count: int = 1) -> Tensor:
    """x, of which `learning` is told when it is learned from; `count` ranks that compute it alike have equal parts."""
    return cast(Tensor, _Heard.apply(x, count, learning))


def exchanged(x: Tensor, ranks: Ranks, given: list[int], taken: list[int]) -> Tensor:
    """Rows of x [sum of given, ...], in their order so many to each rank, for those that each gives to this one."""
    return cast(Tensor, _Exchanged.apply(x, ranks, given, taken))


def counts_given(given: Tensor, ranks: Ranks) -> Tensor:
    """From each rank what it counts for this one, for given [ranks, ...]."""
    return _swapped(given.contiguous(), ranks, [1] * ranks.count, [1] * ranks.count)


def _share(x: Tensor, ranks: Ranks, dim: int) -> Tensor:
    first, last = bounds(x.shape[dim], ranks.count, ranks.number)
    return x.narrow(dim, first, last - first).contiguous()


def joined_parts(x: Tensor, ranks: Ranks, dim: int, length: int) -> Tensor:
    """The shares of all ranks; the last may be smaller, and are filled up on the way."""
    each = -(-length // ranks.count)
    if x.shape[dim] < each:
        x = F.pad(x, (*[0, 0] * (x.ndim - 1 - dim), 0, each - x.shape[dim]))
    mine = x.contiguous()
    parts = [torch.empty_like(mine) for _ in range(ranks.count)]
    dist.all_gather(parts, mine, group=ranks.mesh.get_group())
    return torch.cat(parts, dim).narrow(dim, 0, length)


def _summed(x: Tensor, ranks: Ranks, dim: int) -> Tensor:
    """This rank's share of the sum of all ranks' x."""
    length, each = x.shape[dim], -(-x.shape[dim] // ranks.count)
    if length < each * ranks.count:
        x = F.pad(x, (*[0, 0] * (x.ndim - 1 - dim), 0, each * ranks.count - length))
    parts = [part.contiguous() for part in x.split(each, dim)]
    out = torch.empty_like(parts[0])
    dist.reduce_scatter(out, parts, group=ranks.mesh.get_group())
    first, last = bounds(length, ranks.count, ranks.number)
    return out.narrow(dim, 0, last - first)


def _swapped(x: Tensor, ranks: Ranks, given: list[int], taken: list[int]) -> Tensor:
    out = x.new_empty(sum(taken), *x.shape[1:])
    dist.all_to_all_single(out, x.contiguous(), taken, given, group=ranks.mesh.get_group())
    return out


class _Parted(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, ranks: Ranks, dim: int) -> Tensor:
        ctx.given = ranks, dim, x.shape[dim]
        return _share(x, ranks, dim)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:  # pyrefly: ignore[bad-override]
        return joined_parts(grad, *ctx.given), None, None


class _Gathered(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, ranks: Ranks, dim: int, length: int) -> Tensor:
        ctx.given = ranks, dim
        return joined_parts(x, ranks, dim, length)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:  # pyrefly: ignore[bad-override]
        return _share(grad, *ctx.given), None, None, None


class _Met(Function):
    @staticmethod
    def forward(ctx: Any, ranks: Ranks, dim: int, length: int, *xs: Tensor) -> tuple[Tensor, ...]:
        ctx.given = ranks, dim
        return tuple(joined_parts(x, ranks, dim, length) for x in xs)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:  # pyrefly: ignore[bad-override]
        ranks, dim = ctx.given
        return None, None, None, *(_summed(grad, ranks, dim) for grad in grads)


class _Alike(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, whole: Tensor, ranks: Ranks, dim: int) -> Tensor:
        ctx.given = ranks, dim
        return whole.view_as(whole)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:  # pyrefly: ignore[bad-override]
        return _share(grad, *ctx.given), None, None, None


class _Scattered(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, ranks: Ranks, dim: int) -> Tensor:
        ctx.given = ranks, dim, x.shape[dim]
        return _summed(x, ranks, dim)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:  # pyrefly: ignore[bad-override]
        return joined_parts(grad, *ctx.given), None, None


class _Heard(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, count: int, learning: Learning) -> Tensor:
        ctx.given = count, learning
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:  # pyrefly: ignore[bad-override]
        count, learning = ctx.given
        learning.begin()
        Variable._execution_engine.queue_callback(learning.settle)
        return grad / count, None, None


class _Exchanged(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, ranks: Ranks, given: list[int], taken: list[int]) -> Tensor:
        ctx.given = ranks, taken, given
        return _swapped(x, ranks, given, taken)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:  # pyrefly: ignore[bad-override]
        return _swapped(grad, *ctx.given), None, None, None
