"""BLOOM (arXiv:2211.05100): a decoder without positions, whose scores fall off with distance (arXiv:2108.12409)."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from zoo.nn import MLP, Alibi, Attention, Decoder, PreNormLayer, Span, gelu_bloom

from .config import BloomConfig


class Bloom(Decoder):
    """Pre-norm layers of multi-head attention with ALiBi; the embedding is normed before it enters them."""

    def __init__(self, c: BloomConfig) -> None:
        alibi = Alibi(c.num_heads)
        kind = NormResidualLayer if c.norm_residual else PreNormLayer
        layers = (
            kind(
                Attention(c.hidden_size, c.num_heads, c.num_heads, c.head_dim, bias=alibi, has_bias=True),
                MLP(c.hidden_size, 4 * c.hidden_size, gelu_bloom),
                nn.LayerNorm(c.hidden_size, c.norm_eps),
                nn.LayerNorm(c.hidden_size, c.norm_eps),
            )
            for _ in range(c.num_layers)
        )
        super().__init__(c, layers, nn.LayerNorm(c.hidden_size, c.norm_eps))
        self.embed_norm = nn.LayerNorm(c.hidden_size, c.norm_eps)

    def encode(self, tokens: Tensor, span: Span) -> Tensor:
        """Normed embeddings [B, T, D]."""
        return self.embed_norm(self.embed(tokens))


class NormResidualLayer(PreNormLayer):
    """A pre-norm layer whose skip branches start after the norms (`apply_residual_connection_post_layernorm`)."""

    is_by_token = True

    def forward(self, x: Tensor, span: Span, cache: Any = None) -> Tensor:
        x = self.attn_norm(x)
        x = self.mlp_norm(x + self.attn(x, span, cache))
        return x + self.mlp(x)
