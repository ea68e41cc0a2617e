"""Rows with padding for layers that carry a state, which knows no gaps.

Shapes: B batch, T tokens, D channels.
"""

from __future__ import annotations

import torch
from torch import Tensor


class RealFirst:
    """Rows packed so that each begins with its real tokens, in their order; `padding` [B, T] is True for these."""

    def __init__(self, padding: Tensor) -> None:
        self._order = (~padding).long().argsort(dim=1, stable=True)  # [B, T]
        self._back = self._order.argsort(1)
        self.is_real = padding.gather(1, self._order)
        self._counts = padding.sum(1)

    def pack(self, x: Tensor) -> Tensor:
        """x [B, T, D] with the real tokens first."""
        return _taken(x, self._order)

    def unpack(self, x: Tensor) -> Tensor:
        """What `pack` gave, in the order before."""
        return _taken(x, self._back)

    def last(self, seen: Tensor, kept: int) -> Tensor:
        """The last `kept` real ones of packed tokens [B, kept + T, D] that follow `kept` earlier ones."""
        return last_of(seen, self._counts, kept)


def last_of(seen: Tensor, counts: Tensor, kept: int) -> Tensor:
    """The `kept` tokens up to the end of each row's first `counts` [B] of those in seen [B, kept + T, D], which follow
    `kept` earlier ones."""
    return _taken(seen, counts[:, None] + torch.arange(kept, device=seen.device))


def _taken(x: Tensor, index: Tensor) -> Tensor:
    """x [B, S, D] at index [B, K] of its second dimension."""
    return x.gather(1, index[..., None].expand(-1, -1, x.shape[-1]))
