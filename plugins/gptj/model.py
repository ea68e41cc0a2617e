"""GPT-J (Wang and Komatsuzaki, 2021), after transformers' port of Mesh Transformer JAX."""

from __future__ import annotations

from torch import nn

from zoo.nn import ACTIVATIONS, MLP, Attention, Decoder, ParallelLayer, Rope

from .config import GPTJConfig


class GPTJ(Decoder):
    """Layers of attention without biases beside an MLP with them, one norm for both; the head has a bias."""

    def __init__(self, c: GPTJConfig) -> None:
        # Channels rotate with their neighbour, not with one of the other half.
        rope = Rope(c.head_dim, c.rope, c.max_seq_len, is_interleaved=True)
        super().__init__(c, (layer(c, rope) for _ in range(c.num_layers)), norm(c), head_bias=True)


def layer(c: GPTJConfig, rope: Rope) -> ParallelLayer:
    return ParallelLayer(
        Attention(c.hidden_size, c.num_heads, c.num_kv_heads, c.head_dim, rope=rope),
        MLP(c.hidden_size, c.intermediate_size, ACTIVATIONS[c.activation]),
        norm(c),
    )


def norm(c: GPTJConfig) -> nn.LayerNorm:
    return nn.LayerNorm(c.hidden_size, c.norm_eps)
