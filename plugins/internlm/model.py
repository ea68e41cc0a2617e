"""InternLM 2 (arXiv:2403.17297) and 3: LLaMA's block."""

from __future__ import annotations

from torch.nn import functional as F

from zoo.nn import Attention, Decoder, GatedMLP, PreNormLayer, RMSNorm, Rope

from .config import InternLM2Config, InternLM3Config


class InternLM2(Decoder):
    """Pre-norm layers of grouped-query attention and SwiGLU."""

    def __init__(self, c: InternLM2Config) -> None:
        rope = Rope(c.head_dim, c.rope, c.max_seq_len)
        layers = (layer(c, rope, out_bias=c.attention_bias, mlp_bias=False) for _ in range(c.num_layers))
        super().__init__(c, layers, RMSNorm(c.hidden_size, c.norm_eps))


class InternLM3(Decoder):
    """The same, with biases in two groups."""

    def __init__(self, c: InternLM3Config) -> None:
        rope = Rope(c.head_dim, c.rope, c.max_seq_len)
        layers = (layer(c, rope, out_bias=c.has_bias, mlp_bias=c.has_bias) for _ in range(c.num_layers))
        super().__init__(c, layers, RMSNorm(c.hidden_size, c.norm_eps))


def layer(c: InternLM2Config | InternLM3Config, rope: Rope, *, out_bias: bool, mlp_bias: bool) -> PreNormLayer:
    return PreNormLayer(
        Attention(
            c.hidden_size, c.num_heads, c.num_kv_heads, c.head_dim, rope=rope, has_bias=c.attention_bias,
            has_out_bias=out_bias,
        ),
        GatedMLP(c.hidden_size, c.intermediate_size, F.silu, bias=mlp_bias),
        RMSNorm(c.hidden_size, c.norm_eps),
        RMSNorm(c.hidden_size, c.norm_eps),
    )  # fmt: skip
