"""Helium 1 (Kyutai, 2025), after transformers' port of the released code."""

from __future__ import annotations

from torch.nn import functional as F

from zoo.nn import Attention, Decoder, GatedMLP, LateCastRMSNorm, PreNormLayer, Rope

from .config import HeliumConfig


class Helium(Decoder):
    """LLaMA's layers, whose rotary channels pair (0, 1), (2, 3), ..."""

    def __init__(self, c: HeliumConfig) -> None:
        rope = Rope(c.head_dim, c.rope, c.max_seq_len, is_interleaved=True)
        super().__init__(c, (layer(c, rope) for _ in range(c.num_layers)), LateCastRMSNorm(c.hidden_size, c.norm_eps))


def layer(c: HeliumConfig, rope: Rope) -> PreNormLayer:
    return PreNormLayer(
        attn=Attention(
            c.hidden_size, c.num_heads, c.num_kv_heads, c.head_dim, rope=rope, has_bias=c.attention_bias,
            has_out_bias=False,
        ),
        mlp=GatedMLP(c.hidden_size, c.intermediate_size, F.silu, bias=c.mlp_bias),
        attn_norm=LateCastRMSNorm(c.hidden_size, c.norm_eps),
        mlp_norm=LateCastRMSNorm(c.hidden_size, c.norm_eps),
    )  # fmt: skip
