"""Gemma 1 (arXiv:2403.08295), 2 (arXiv:2408.00118) and 3 (arXiv:2503.19786), after google/gemma_pytorch.

Embeddings are multiplied by sqrt(hidden_size), a number that the released code first rounds to their dtype.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from zoo.nn import (
    Attention,
    Decoder,
    GatedMLP,
    PreNormLayer,
    Rope,
    SandwichLayer,
    Span,
    UnitOffsetRMSNorm,
    causal,
    gelu_tanh,
    sliding,
)

from .config import GemmaConfig


class Gemma(Decoder):
    """Local layers between global ones from Gemma 2 on; capped scores and logits in Gemma 2."""

    def __init__(self, c: GemmaConfig) -> None:
        globe, local = Rope(c.head_dim, c.rope, c.max_seq_len), Rope(c.head_dim, c.local_rope, c.max_seq_len)
        layers = (
            layer(c, window, globe if window is None else local) for window in map(c.window_of, range(c.num_layers))
        )
        super().__init__(c, layers, UnitOffsetRMSNorm(c.hidden_size, c.norm_eps))
        self.softcap = c.final_softcap

    def encode(self, tokens: Tensor, span: Span) -> Tensor:
        """Scaled embeddings [B, T, D]."""
        x = self.embed(tokens)
        return x * torch.full((), x.shape[-1] ** 0.5, dtype=x.dtype, device=x.device)

    def decode(self, x: Tensor) -> Tensor:
        """Logits, capped where the model is."""
        logits = self.lm_head(x)
        return logits if self.softcap is None else torch.tanh(logits / self.softcap) * self.softcap


def layer(c: GemmaConfig, window: int | None, rope: Rope) -> nn.Module:
    norm = partial(UnitOffsetRMSNorm, eps=c.norm_eps)
    attn = Attention(
        c.hidden_size, c.num_heads, c.num_kv_heads, c.head_dim,
        rope=rope,
        mask=causal if window is None else sliding(window),
        scale=c.query_pre_attn_scalar**-0.5,
        softcap=c.attn_softcap,
        qk_norm=norm if c.generation == 3 else None,
    )  # fmt: skip
    mlp = GatedMLP(c.hidden_size, c.intermediate_size, gelu_tanh)
    if c.generation == 1:
        return PreNormLayer(attn, mlp, norm(c.hidden_size), norm(c.hidden_size))
    return SandwichLayer(attn, mlp, partial(norm, c.hidden_size))
