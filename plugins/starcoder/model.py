"""StarCoder2 (arXiv:2402.19173): LayerNorms and a plain MLP with biases, rotary positions, few key/value heads."""

from __future__ import annotations

from torch import nn

from zoo.nn import MLP, Attention, Decoder, Mask, PreNormLayer, Rope, gelu_tanh

from .config import StarCoder2Config


class StarCoder2(Decoder):
    """Pre-norm layers of grouped-query attention, which may see a window, and a two-matrix MLP."""

    def __init__(self, c: StarCoder2Config) -> None:
        rope = Rope(c.head_dim, c.rope, c.max_seq_len)
        super().__init__(c, (layer(c, rope) for _ in range(c.num_layers)), nn.LayerNorm(c.hidden_size, c.norm_eps))


def layer(c: StarCoder2Config, rope: Rope) -> PreNormLayer:
    mask = Mask(window=c.sliding_window)
    return PreNormLayer(
        Attention(c.hidden_size, c.num_heads, c.num_kv_heads, c.head_dim, rope=rope, mask=mask, has_bias=c.has_bias),
        MLP(c.hidden_size, c.intermediate_size, gelu_tanh, bias=c.has_bias),
        nn.LayerNorm(c.hidden_size, c.norm_eps),
        nn.LayerNorm(c.hidden_size, c.norm_eps),
    )
