"""ERNIE 4.5 (Baidu, 2025), after transformers' port of the released code."""

from __future__ import annotations

from torch.nn import functional as F

from zoo.nn import Attention, Decoder, GatedMLP, PreNormLayer, RMSNorm, Rope

from .config import Ernie45Config


class Ernie45(Decoder):
    """LLaMA's layers, whose rotary channels pair (0, 1), (2, 3), ..."""

    def __init__(self, c: Ernie45Config) -> None:
        rope = Rope(c.head_dim, c.rope, c.max_seq_len, is_interleaved=True)
        super().__init__(c, (layer(c, rope) for _ in range(c.num_layers)), RMSNorm(c.hidden_size, c.norm_eps))


def layer(c: Ernie45Config, rope: Rope) -> PreNormLayer:
    return PreNormLayer(
        attn=Attention(c.hidden_size, c.num_heads, c.num_kv_heads, c.head_dim, rope=rope, has_bias=c.has_bias),
        mlp=GatedMLP(c.hidden_size, c.intermediate_size, F.silu, bias=c.has_bias),
        attn_norm=RMSNorm(c.hidden_size, c.norm_eps),
        mlp_norm=RMSNorm(c.hidden_size, c.norm_eps),
    )
