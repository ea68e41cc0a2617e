"""States handed from one stage of a pipeline to the next, and their gradients handed back."""

from __future__ import annotations

from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd import Function, Variable

from zoo.parallel.sums import Ranks

DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)
MOST_DIMS = 4  # of what is handed on


def sent(x: Tensor, ranks: Ranks, then: int) -> Tensor:
    """Hand x to a rank; what is left is an empty tensor that its gradient comes back through."""
    return cast(Tensor, _Sent.apply(_anchored(x), x, ranks, then))


def received(like: Tensor, ranks: Ranks, before: int) -> Tensor:
    """What a rank handed on, on the device of `like`."""
    return cast(Tensor, _Received.apply(_anchored(like), like, ranks, before))


def told(x: Tensor, ranks: Ranks, by: int, after: Any) -> Tensor:
    """What one rank has as x, on all; `after` is called when gradients have gone back."""
    return cast(Tensor, _Told.apply(_anchored(x), x, ranks, by, after))


def put(x: Tensor, ranks: Ranks, to: int) -> None:
    """Send shape and numbers."""
    group, rank = _place(ranks, to)
    dist.send(_header(x), rank, group)
    dist.send(x.detach().contiguous(), rank, group)


def get(ranks: Ranks, of: int, device: torch.device) -> Tensor:
    """Receive what `put` sent."""
    group, rank = _place(ranks, of)
    header = torch.empty(MOST_DIMS + 2, dtype=torch.long, device=device)
    dist.recv(header, rank, group)
    out = _room(header)
    dist.recv(out, rank, group)
    return out


def spoken(x: Tensor | None, ranks: Ranks, by: int, device: torch.device) -> Tensor:
    """The x of one rank, on all."""
    group, rank = _place(ranks, by)
    header = torch.empty(MOST_DIMS + 2, dtype=torch.long, device=device) if x is None else _header(x)
    dist.broadcast(header, rank, group)
    out = _room(header) if x is None else x.detach().contiguous()
    dist.broadcast(out, rank, group)
    return out


def _place(ranks: Ranks, number: int) -> tuple[Any, int]:
    group = ranks.mesh.get_group()
    return group, dist.get_global_rank(group, number)


def _header(x: Tensor) -> Tensor:
    sizes = [*x.shape, *[0] * (MOST_DIMS - x.ndim)]
    return torch.tensor([DTYPES.index(x.dtype), x.ndim, *sizes], device=x.device)


def _room(header: Tensor) -> Tensor:
    kind, ndim, *sizes = header.tolist()
    return torch.empty(sizes[:ndim], dtype=DTYPES[kind], device=header.device)


def _anchored(x: Tensor) -> Tensor:
    """An empty tensor that learns wherever anything may: all ranks go back through the same steps."""
    return torch.empty(0, dtype=x.dtype, device=x.device, requires_grad=torch.is_grad_enabled())


class _Sent(Function):
    @staticmethod
    def forward(ctx: Any, anchor: Tensor, x: Tensor, ranks: Ranks, then: int) -> Tensor:
        ctx.given = ranks, then, x.device
        put(x, ranks, then)
        return torch.zeros_like(anchor)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None, None]:  # pyrefly: ignore[bad-override]
        return grad, get(*ctx.given), None, None


class _Received(Function):
    @staticmethod
    def forward(ctx: Any, anchor: Tensor, like: Tensor, ranks: Ranks, before: int) -> Tensor:
        ctx.given = ranks, before
        return get(ranks, before, like.device)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:  # pyrefly: ignore[bad-override]
        put(grad, *ctx.given)
        return grad.new_zeros(0), None, None, None


class _Told(Function):
    @staticmethod
    def forward(ctx: Any, anchor: Tensor, x: Tensor, ranks: Ranks, by: int, after: Any) -> Tensor:
        ctx.is_mine, ctx.after, ctx.empty = ranks.number == by, after, x.new_zeros(x.shape if x.numel() == 0 else 0)
        out = spoken(x if ctx.is_mine else None, ranks, by, x.device)
        return out.clone() if out is x else out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:  # pyrefly: ignore[bad-override]
        Variable._execution_engine.queue_callback(ctx.after)
        return grad.new_zeros(0), grad if ctx.is_mine else ctx.empty, None, None, None
