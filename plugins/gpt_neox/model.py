"""GPT-NeoX-20B (arXiv:2204.06745): two branches side by side, and rotary positions in part of each head."""

from __future__ import annotations

from torch import nn

from zoo.nn import ACTIVATIONS, MLP, Attention, Decoder, Rope, layer_of

from .config import GPTNeoXConfig


class GPTNeoX(Decoder):
    """Layers of multi-head attention beside a two-matrix MLP, or before it; the head is no embedding."""

    def __init__(self, c: GPTNeoXConfig) -> None:
        rope = Rope(c.head_dim, c.rope, c.max_seq_len)
        super().__init__(c, (layer(c, rope) for _ in range(c.num_layers)), norm(c))


def layer(c: GPTNeoXConfig, rope: Rope) -> nn.Module:
    return layer_of(
        c.layout,
        Attention(c.hidden_size, c.num_heads, c.num_kv_heads, c.head_dim, rope=rope, has_bias=c.attention_bias),
        MLP(c.hidden_size, c.intermediate_size, ACTIVATIONS[c.activation]),
        lambda: norm(c),
    )


def norm(c: GPTNeoXConfig) -> nn.LayerNorm:
    return nn.LayerNorm(c.hidden_size, c.norm_eps)
