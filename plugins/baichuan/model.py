"""Baichuan (Baichuan Inc., 2023) and Baichuan 2 (arXiv:2309.10305), after the code released with their weights.

Shapes: B batch, T tokens, D hidden, V vocab.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from torch import Tensor
from torch.nn import functional as F

from zoo.anatomy import TRUNK
from zoo.nn import Alibi, Attention, Decoder, GatedMLP, PreNormLayer, RMSNorm, Rope, linear

from .config import BaichuanConfig


class Baichuan(Decoder):
    """LLaMA's layers of multi-head attention, with rotary positions or with ALiBi."""

    def __init__(self, c: BaichuanConfig) -> None:
        rope = Rope(c.head_dim, c.rope, c.max_seq_len)
        position: dict[str, Any] = {"bias": Alibi(c.num_heads)} if c.has_alibi else {"rope": rope}
        attn = partial(Attention, c.hidden_size, c.num_heads, c.num_kv_heads, c.head_dim, **position)
        mlp, d = partial(GatedMLP, c.hidden_size, c.intermediate_size, F.silu), c.hidden_size
        norm = partial(RMSNorm, eps=c.norm_eps)
        super().__init__(c, (PreNormLayer(attn(), mlp(), norm(d), norm(d)) for _ in range(c.num_layers)), norm(d))
        if c.has_normed_head:  # whose weight is read, and so is whole on every rank
            self.cuts = tuple(cut for cut in TRUNK if cut.part != "lm_head")

    def decode(self, x: Tensor) -> Tensor:
        """Logits [B, T, V] of x [B, T, D]."""
        if not self.config.has_normed_head:
            return self.lm_head(x)
        return linear(x, F.normalize(self.lm_head.weight))
