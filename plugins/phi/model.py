"""Phi-3 (arXiv:2404.14219) and Phi-4 (arXiv:2412.08905): LLaMA's block, trained on filtered and written texts."""

from __future__ import annotations

from torch.nn import functional as F

from zoo.nn import Attention, Decoder, GatedMLP, Mask, PreNormLayer, RMSNorm, Rope

from .config import Phi3Config


class Phi3(Decoder):
    """Pre-norm layers of grouped-query attention and SwiGLU; a share of each head's channels may rotate alone."""

    def __init__(self, c: Phi3Config) -> None:
        rope = Rope(c.head_dim, c.rope, c.max_seq_len)
        super().__init__(c, (layer(c, rope) for _ in range(c.num_layers)), RMSNorm(c.hidden_size, c.norm_eps))


def layer(c: Phi3Config, rope: Rope) -> PreNormLayer:
    mask = Mask(window=c.sliding_window)
    return PreNormLayer(
        attn=Attention(c.hidden_size, c.num_heads, c.num_kv_heads, c.head_dim, rope=rope, mask=mask),
        mlp=GatedMLP(c.hidden_size, c.intermediate_size, F.silu),
        attn_norm=RMSNorm(c.hidden_size, c.norm_eps),
        mlp_norm=RMSNorm(c.hidden_size, c.norm_eps),
    )
