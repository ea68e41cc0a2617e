"""Falcon (arXiv:2311.16867), after the released code.

Shapes: B batch, T queries, S keys, N heads.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.nn import MLP, Alibi, Attention, Decoder, Rope, layer_of

from .config import FalconConfig


class Falcon(Decoder):
    """Layers of multi-query or grouped-query attention beside a two-matrix MLP, or before it."""

    def __init__(self, c: FalconConfig) -> None:
        alibi = RoundedAlibi(c.num_heads, c.head_dim**-0.5) if c.has_alibi else None
        rope = None if c.has_alibi else Rope(c.head_dim, c.rope, c.max_seq_len)
        attn = partial(
            Attention,
            c.hidden_size,
            c.num_heads,
            c.num_kv_heads,
            c.head_dim,
            has_bias=c.has_bias,
            rope=rope,
            bias=alibi,
        )
        mlp = partial(MLP, c.hidden_size, c.intermediate_size, F.gelu, bias=c.has_bias)
        norm = partial(nn.LayerNorm, c.hidden_size, c.norm_eps)
        super().__init__(c, (layer_of(c.layout, attn(), mlp(), norm) for _ in range(c.num_layers)), norm())


class RoundedAlibi(Alibi):
    """ALiBi as Falcon was trained with it: of the key's position alone, in bfloat16, and scaled as the scores are."""

    def __init__(self, num_heads: int, scale: float) -> None:
        super().__init__(num_heads)
        self.scale = scale

    def forward(self, q: Tensor, k: Tensor) -> Tensor:
        """Bias [B or 1, N, T, S] of key positions k [B, 1, S], the same for all queries q [B, T, 1]."""
        slopes = self._slopes(self.slopes, torch.float32, k.device).bfloat16()
        bias = (slopes[:, None, None] * k[:, None]).double() * self.scale
        return bias.expand(-1, -1, q.shape[1], -1)
