"""What keeps the first Qwen going beyond the context of its training (arXiv:2309.16609, and its released code).

Dynamic NTK enlarges the rotary base with the text, and log-n attention sharpens later queries. The base is that of the
prompt and stays while tokens are added: cached keys would not fit another. Padding is never counted as position.

Shapes: B batch, T queries, D hidden, N heads, H head dim, R rotary channels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor, nn

from zoo.anatomy.config import RopeConfig
from zoo.anatomy.cuts import EQUAL_HEADS
from zoo.nn.attend import Attend
from zoo.nn.compute import computed_by
from zoo.nn.keys import NEW
from zoo.nn.kv_cache import KVCache
from zoo.nn.mask import causal
from zoo.nn.rope import Rope, Rotation, paired
from zoo.nn.span import Span

DOUBLINGS = 40  # of the trained context that are told apart: no text is longer


class SteppedRope(Rope):
    """Rotary positions whose base grows with the text's length: by (2^(n + 1) - 1)^(R / (R - 2)) after n doublings.

    n is the least number of times the trained context must double to hold the text; 0 changes nothing.
    """

    def __init__(self, head_dim: int, rope: RopeConfig, trained_seq_len: int) -> None:
        super().__init__(head_dim, rope, trained_seq_len)
        self.depends_on_length = True

    def forward(self, positions: Tensor, dtype: torch.dtype, lengths: Tensor | None = None) -> Rotation:
        assert lengths is not None
        exact = torch.float64 if dtype == torch.float64 else torch.float32
        device = positions.device
        contexts = self.max_seq_len * 2 ** torch.arange(DOUBLINGS, device=device)
        stretch = 2.0 ** ((lengths[:, None] > contexts).sum(1) + 1).to(exact) - 1
        theta = self.rope.theta * stretch ** (self.dim / (self.dim - 2))  # [B or 1]
        exponents = torch.arange(0, self.dim, 2, dtype=exact, device=device) / self.dim
        angles = paired(positions[..., None].to(exact) * (theta[:, None] ** -exponents)[:, None]).unsqueeze(-2)
        return angles.cos().to(dtype), angles.sin().to(dtype)


class LogNAttention(nn.Module):
    """Multi-head attention that multiplies q at position p by log(p + 1) / log(trained_seq_len) beyond that length."""

    cuts = EQUAL_HEADS
    last_part = "o_proj"

    def __init__(
        self,
        hidden_size: int,
        num_heads: int,
        head_dim: int,
        *,
        rope: Rope,
        trained_seq_len: int | None,
        has_out_bias: bool = False,
    ) -> None:
        super().__init__()
        self.num_heads, self.head_dim = num_heads, head_dim
        self.q_proj = nn.Linear(hidden_size, num_heads * head_dim)
        self.k_proj = nn.Linear(hidden_size, num_heads * head_dim)
        self.v_proj = nn.Linear(hidden_size, num_heads * head_dim)
        self.o_proj = nn.Linear(num_heads * head_dim, hidden_size, has_out_bias)
        self.rope, self.trained_seq_len = rope, trained_seq_len
        self.attend = Attend(head_dim**-0.5)

    def forward(self, x: Tensor, span: Span, cache: PromptCache | None = None) -> Tensor:
        """Attend x [B, T, D] to itself and to what `cache` holds; returns [B, T, D]."""
        q, k, v = (p(x).unflatten(-1, (-1, self.head_dim)) for p in (self.q_proj, self.k_proj, self.v_proj))
        rotation = self.rope(span.positions, q.dtype, span.lengths if cache is None else cache.prompt_lengths(span))
        q, k = self.rope.rotate(q, rotation), self.rope.rotate(k, rotation)
        if self.trained_seq_len is not None:
            q = q * self.growth(span.positions, q.dtype, self.trained_seq_len)
        k, v, keys = (k, v, NEW) if cache is None else cache.append(k, v, span)
        allowed, is_causal = span.allowed(causal, keys), span.is_causal(causal, keys)
        return self.o_proj(self.attend(q, k, v, allowed, is_causal=is_causal).flatten(-2))

    def growth(self, positions: Tensor, dtype: torch.dtype, trained_seq_len: int) -> Tensor:
        """The factor on queries at `positions` [B or 1, T]: [B or 1, T, 1, 1], nowhere below 1."""
        exact = torch.float64 if dtype == torch.float64 else torch.float32
        factor = (positions + 1).to(exact).log() / math.log(trained_seq_len)
        return factor.clamp(min=1)[..., None, None].to(dtype)

    def new_cache(self, batch_size: int, max_len: int) -> PromptCache:
        """An empty cache in the dtype and on the device of the weights."""
        like = computed_by(self.k_proj, self)
        return PromptCache(batch_size, max_len, self.num_heads, self.head_dim, **like)


class PromptCache(KVCache):
    """Keys and values, and how long each row was when the first of them came."""

    lengths: Tensor | None = None

    def prompt_lengths(self, span: Span) -> Tensor:
        """Tokens per row after the first pass, [B or 1]."""
        if span.start == 0 or self.lengths is None:
            self.lengths = span.lengths
        return self.lengths

    def joined(self, others: Sequence[Self], index: Sequence[int], num_slots: int, used: int) -> Self:
        whole = super().joined(others, index, num_slots, used)
        held = [(cache.lengths, cache.k.shape[0]) for cache in (self, *others)]
        lengths = torch.cat([x.expand(rows) for x, rows in held if x is not None])  # of all: each has read a prompt
        whole.lengths = lengths[[*index]]
        return whole

    def reorder(self, index: Tensor) -> None:
        super().reorder(index)
        if self.lengths is not None and len(self.lengths) > 1:
            self.lengths = self.lengths[index]
