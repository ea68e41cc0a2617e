"""StableLM 3B-4E1T (Stability AI, 2023) and StableLM 2 (arXiv:2402.17834)."""

from __future__ import annotations

from functools import partial

from torch import nn
from torch.nn import functional as F

from zoo.nn import Attention, Decoder, GatedMLP, HeadLayerNorm, Rope, WholeAttention, layer_of

from .config import StableLMConfig


class StableLM(Decoder):
    """Layers of grouped-query attention and SwiGLU between LayerNorms, one after the other or side by side."""

    def __init__(self, c: StableLMConfig) -> None:
        rope, norm = Rope(c.head_dim, c.rope, c.max_seq_len), partial(nn.LayerNorm, c.hidden_size, c.norm_eps)
        layers = (layer_of(c.layout, attention(c, rope), mlp(c), norm) for _ in range(c.num_layers))
        super().__init__(c, layers, norm())


def attention(c: StableLMConfig, rope: Rope) -> Attention:
    return (WholeAttention if c.has_qk_norm else Attention)(
        c.hidden_size, c.num_heads, c.num_kv_heads, c.head_dim, rope=rope, has_bias=c.attention_bias,
        has_out_bias=False, heads_norm=partial(HeadLayerNorm, eps=c.norm_eps) if c.has_qk_norm else None,
    )  # fmt: skip


def mlp(c: StableLMConfig) -> GatedMLP:
    return GatedMLP(c.hidden_size, c.intermediate_size, F.silu)
