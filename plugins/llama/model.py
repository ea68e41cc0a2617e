"""LLaMA 1, 2 and 3 (arXiv:2302.13971, arXiv:2307.09288, arXiv:2407.21783): the block most decoders since have kept."""

from __future__ import annotations

from torch.nn import functional as F

from zoo.nn import Attention, Decoder, GatedMLP, PreNormLayer, RMSNorm, Rope

from .config import LlamaConfig


class Llama(Decoder):
    """Pre-norm layers of grouped-query attention with rotary positions, and SwiGLU."""

    def __init__(self, c: LlamaConfig) -> None:
        rope = Rope(c.head_dim, c.rope, c.max_seq_len)
        super().__init__(c, (layer(c, rope) for _ in range(c.num_layers)), RMSNorm(c.hidden_size, c.norm_eps))


def layer(c: LlamaConfig, rope: Rope) -> PreNormLayer:
    return PreNormLayer(
        attn=Attention(c.hidden_size, c.num_heads, c.num_kv_heads, c.head_dim, rope=rope, has_bias=c.attention_bias),
        mlp=GatedMLP(c.hidden_size, c.intermediate_size, F.silu, bias=c.mlp_bias),
        attn_norm=RMSNorm(c.hidden_size, c.norm_eps),
        mlp_norm=RMSNorm(c.hidden_size, c.norm_eps),
    )
