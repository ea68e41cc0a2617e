"""Positions other than rotary: sinusoids to add to embeddings, and biases to add to attention scores.

Shapes: B batch, T queries, S keys, N heads, D hidden.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from zoo.anatomy.cuts import BIAS_PER_HEAD, SLOPE_PER_HEAD
from zoo.errors import UsageError
from zoo.nn.constant import Constant

if TYPE_CHECKING:
    from zoo.nn.span import Span


def sinusoids(positions: Tensor, dim: int, dtype: torch.dtype, *, theta: float = 10_000.0) -> Tensor:
    """[sin | cos] of position / theta^(2i/dim) for positions [B, T]: [B, T, dim] (arXiv:1706.03762, halves apart)."""
    exact = torch.float64 if dtype == torch.float64 else torch.float32
    step = theta ** (torch.arange(dim // 2, dtype=exact, device=positions.device) * (-2 / dim))
    angles = positions[..., None].to(exact) * step
    return torch.cat((angles.sin(), angles.cos()), -1).to(dtype)


class LearnedPositions(nn.Embedding):
    """An embedding of each position up to a longest, to add to those of the tokens (arXiv:1705.03122)."""

    def __init__(self, max_seq_len: int, hidden_size: int) -> None:
        super().__init__(max_seq_len, hidden_size)

    def forward(self, span: Span) -> Tensor:  # type: ignore[override]  # positions are the span's
        """[B or 1, T, D] of the new tokens. Raises UsageError beyond the last learned position."""
        self.refuse_beyond(span, self.num_embeddings)
        return super().forward(span.positions)

    @staticmethod
    def refuse_beyond(span: Span, limit: int) -> None:
        """Raise UsageError where a token has a position that was not learned."""
        needed = span.start + span.num_new
        if needed > limit and span.counts is not None:  # padding has no position; only here are the rows asked
            needed = int((span.counts if span.documents is None else span.positions + 1).max())
        if needed > limit:
            raise UsageError(f"model.max_seq_len={limit} positions were learned, but the tokens need {needed}")


class Alibi(nn.Module):
    """A penalty that grows with distance, at a fixed slope per head (arXiv:2108.12409).

    The slopes are 2^(-8/n), 2^(-16/n), ... for n heads, a power of two; other counts take the slopes of the power
    below and every other slope of the power above, as BLOOM's 112 heads do. Holds no tensor.
    """

    cuts = SLOPE_PER_HEAD

    def __init__(self, num_heads: int) -> None:
        super().__init__()
        self.num_heads, self.slopes = num_heads, alibi_slopes(num_heads)
        self._slopes = Constant()

    def forward(self, q: Tensor, k: Tensor) -> Tensor:
        """Bias [B or 1, N, T, S], exact, between query positions q [B, T, 1] and key positions k [B, 1, S]."""
        slopes = self._slopes(self.slopes, torch.float64, q.device)
        return slopes[:, None, None] * (k - q)[:, None]


def alibi_slopes(num_heads: int) -> list[float]:
    """One slope per head."""
    below = 2 ** math.floor(math.log2(num_heads))
    slopes = [2 ** (-8 * (i + 1) / below) for i in range(below)]
    return slopes + [2 ** (-4 * (2 * i + 1) / below) for i in range(num_heads - below)]


class RelativeBias(nn.Module):
    """T5's learned score per head and bucket of distance, half the buckets exact (arXiv:1910.10683)."""

    cuts = BIAS_PER_HEAD

    def __init__(self, num_heads: int, num_buckets: int, max_distance: int, *, is_bidirectional: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(num_buckets, num_heads))
        self.num_heads = num_heads
        self.num_buckets, self.max_distance, self.is_bidirectional = num_buckets, max_distance, is_bidirectional
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.normal_(self.weight, std=0.02)

    def forward(self, q: Tensor, k: Tensor) -> Tensor:
        """Bias [B or 1, N, T, S] between query positions q [B, T, 1] and key positions k [B, 1, S]."""
        return self.weight[self.bucket(k - q)].permute(0, 3, 1, 2)

    def bucket(self, distance: Tensor) -> Tensor:
        """The bucket of key position minus query position; the logarithmic part truncates towards zero."""
        buckets, first = self.num_buckets, torch.zeros_like(distance)
        if self.is_bidirectional:
            buckets //= 2
            first = (distance > 0) * buckets
            distance = distance.abs()
        else:
            distance = (-distance).clamp(min=0)
        exact = buckets // 2
        # float32 as in the reference: a float64 logarithm falls on the other side of some borders
        growth = torch.log(distance.clamp(min=1).float() / exact) / math.log(self.max_distance / exact)
        far = (exact + (growth * (buckets - exact)).long()).clamp(max=buckets - 1)
        return first + torch.where(distance < exact, distance, far)
