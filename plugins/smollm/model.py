"""SmolLM3 (Hugging Face, 2025): LLaMA's block, with layers that know no positions."""

from __future__ import annotations

from torch.nn import functional as F

from zoo.nn import Attention, Decoder, GatedMLP, Mask, PreNormLayer, RMSNorm, Rope

from .config import SmolLM3Config


class SmolLM3(Decoder):
    """Pre-norm layers of grouped-query attention and SwiGLU, some of which do not rotate."""

    def __init__(self, c: SmolLM3Config) -> None:
        rope = Rope(c.head_dim, c.rope, c.max_seq_len)
        layers = (
            layer(c, None if i in c.nope_layers else rope, Mask(window=c.window_of(i))) for i in range(c.num_layers)
        )
        super().__init__(c, layers, RMSNorm(c.hidden_size, c.norm_eps))


def layer(c: SmolLM3Config, rope: Rope | None, mask: Mask) -> PreNormLayer:
    return PreNormLayer(
        attn=Attention(
            c.hidden_size, c.num_heads, c.num_kv_heads, c.head_dim, rope=rope, mask=mask, has_bias=c.attention_bias
        ),
        mlp=GatedMLP(c.hidden_size, c.intermediate_size, F.silu, bias=c.mlp_bias),
        attn_norm=RMSNorm(c.hidden_size, c.norm_eps),
        mlp_norm=RMSNorm(c.hidden_size, c.norm_eps),
    )
