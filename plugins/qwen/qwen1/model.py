"""The first Qwen (arXiv:2309.16609), as its released code computes it.

Unlike there, padding is never counted as position, and training beyond the trained context is as reading.
"""

from __future__ import annotations

from torch.nn import functional as F

from zoo.nn import Decoder, GatedMLP, LogNAttention, PreNormLayer, RMSNorm, Rope, SteppedRope

from .config import Qwen1Config


class Qwen1(Decoder):
    """Pre-norm layers of multi-head attention with biases on q, k and v, and SwiGLU."""

    def __init__(self, c: Qwen1Config) -> None:
        rope = SteppedRope(c.head_dim, c.rope, c.trained_seq_len) if c.has_dynamic_ntk else None
        rope = rope or Rope(c.head_dim, c.rope, c.max_seq_len)
        super().__init__(c, (layer(c, rope) for _ in range(c.num_layers)), RMSNorm(c.hidden_size, c.norm_eps))


def layer(c: Qwen1Config, rope: Rope) -> PreNormLayer:
    return PreNormLayer(
        attn=LogNAttention(
            c.hidden_size, c.num_heads, c.head_dim, rope=rope, has_out_bias=c.linear_bias,
            trained_seq_len=c.trained_seq_len if c.has_logn else None,
        ),
        mlp=GatedMLP(c.hidden_size, c.intermediate_size, F.silu, bias=c.linear_bias),
        attn_norm=RMSNorm(c.hidden_size, c.norm_eps),
        mlp_norm=RMSNorm(c.hidden_size, c.norm_eps),
    )  # fmt: skip
