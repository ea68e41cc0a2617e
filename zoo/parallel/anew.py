"""A product with the tokens of all ranks, which are gathered once more on the way back in place of being kept.

Shapes: B batch, T tokens of a text, t those of this rank, D hidden, F rows of a rank.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor
from torch.autograd import Function

from zoo.nn.products import linear
from zoo.parallel.exchange import joined_parts
from zoo.parallel.sums import Ranks


class Anew:
    """All tokens `whole` [B, T, D] of the parts [B, t, D] that the ranks have."""

    def __init__(self, whole: Tensor, part: Tensor, ranks: Ranks, length: int) -> None:
        self.whole, self.part = whole, part
        self.back = _Back(ranks, length)


class _Back:
    """What several products of one input share on the way back: all tokens, gathered for the first of them."""

    def __init__(self, ranks: Ranks, length: int) -> None:
        self.ranks, self.length, self.users = ranks, length, 0
        self._left, self._whole = 0, torch.empty(0)

    def gather(self, part: Tensor) -> Tensor:
        if not self._left:
            self._whole, self._left = joined_parts(part, self.ranks, 1, self.length), self.users
        self._left -= 1
        found = self._whole
        if not self._left:
            self._whole = torch.empty(0)
        return found


def rows_of(anew: Anew, weight: Tensor, bias: Tensor | None) -> Tensor:
    """`whole` [B, T, D] times weight [F, D]."""
    x = anew.whole
    if not (torch.is_grad_enabled() and weight.requires_grad) or torch.is_autocast_enabled(x.device.type):
        return linear(x, weight, bias)
    anew.back.users += 1
    return cast(Tensor, _Rows.apply(x, anew.part.detach(), weight, bias, anew.back))


class _Rows(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, part: Tensor, weight: Tensor, bias: Tensor | None, back: _Back) -> Tensor:
        ctx.save_for_backward(part, weight)
        ctx.back = back
        return linear(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # pyrefly: ignore[bad-override]
        part, weight = ctx.saved_tensors
        flat = grad.flatten(0, -2)
        of_x = grad @ weight if ctx.needs_input_grad[0] else None
        of_bias = flat.sum(0) if ctx.needs_input_grad[3] else None
        return of_x, None, flat.mT @ ctx.back.gather(part).flatten(0, -2), of_bias, None
