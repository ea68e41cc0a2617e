"""Command R (Cohere, 2024) and Command A (arXiv:2504.00698), after transformers' port of the released code.

Shapes: B batch, T tokens, D hidden, V vocab.
"""

from __future__ import annotations

from functools import partial

from torch import Tensor, nn
from torch.nn import functional as F

from zoo.nn import Attention, Decoder, GatedMLP, HeadLayerNorm, Mask, ParallelLayer, Rope, WholeAttention

from .config import CohereConfig


class Cohere(Decoder):
    """Layers of attention and SwiGLU side by side; where some have a window, the others know no positions."""

    def __init__(self, c: CohereConfig) -> None:
        rope = Rope(c.head_dim, c.rope, c.max_seq_len, is_interleaved=True)
        norm = partial(nn.LayerNorm, c.hidden_size, c.norm_eps, bias=False)
        layers = (
            ParallelLayer(attention(c, rope, i), GatedMLP(c.hidden_size, c.intermediate_size, F.silu), norm())
            for i in range(c.num_layers)
        )
        super().__init__(c, layers, norm())

    def decode(self, x: Tensor) -> Tensor:
        """Scaled logits [B, T, V] of x [B, T, D]."""
        return self.lm_head(x) * self.config.logit_scale


def attention(c: CohereConfig, rope: Rope, index: int) -> Attention:
    window = c.window_of(index)
    return (WholeAttention if c.has_qk_norm else Attention)(
        c.hidden_size, c.num_heads, c.num_kv_heads, c.head_dim, mask=Mask(window=window), has_bias=c.attention_bias,
        rope=rope if c.sliding_window is None or window is not None else None,
        heads_norm=partial(HeadLayerNorm, eps=c.norm_eps) if c.has_qk_norm else None,
    )  # fmt: skip
