"""The Transformer (arXiv:1706.03762): encoder and decoder with a norm after each addition and sinusoidal positions.

The paper puts the sine and cosine of one frequency side by side; its released code (tensor2tensor) and Marian's put all
sines first, which is the same up to the order of channels, and so do we. The paper has no biases in attention.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from zoo.nn import (
    ACTIVATIONS,
    MLP,
    Attention,
    CrossAttention,
    DecoderLayer,
    EncoderDecoder,
    Mask,
    PostNormLayer,
    Span,
    causal,
    everything,
    initialise,
    sinusoids,
)

from .config import TransformerConfig


class Transformer(EncoderDecoder):
    """Post-norm stacks on scaled embeddings, without final norms."""

    def __init__(self, c: TransformerConfig) -> None:
        super().__init__(c, encoder_layers(c), decoder_layers(c))
        self.embed = nn.Embedding(c.vocab_size, c.hidden_size)
        self.source_embed = None
        if c.source_vocab_size is not None:
            self.source_embed = nn.Embedding(c.source_vocab_size, c.hidden_size)
        self.scale = c.hidden_size**0.5 if c.scale_embeddings else 1.0
        self.lm_head = nn.Linear(c.hidden_size, c.vocab_size, bias=c.head_bias)
        if c.tie_embeddings:
            self.lm_head.weight = self.embed.weight

    def embed_source(self, tokens: Tensor, span: Span) -> Tensor:
        return self._enter(self.embed if self.source_embed is None else self.source_embed, tokens, span)

    def embed_target(self, tokens: Tensor, span: Span) -> Tensor:
        return self._enter(self.embed, tokens, span)

    def logits(self, x: Tensor) -> Tensor:
        return self.lm_head(x)

    def _enter(self, embed: nn.Module, tokens: Tensor, span: Span) -> Tensor:
        x = embed(tokens) * self.scale
        # Released models read their positions from a float32 table whose angles were computed in float64.
        table = sinusoids(span.positions, x.shape[-1], torch.float64).float()
        return x + table.to(x.dtype)

    def reset_parameters(self) -> None:
        """Random weights from the current generator; embeddings, which are scaled up again, N(0, hidden_size^-0.5)."""
        initialise(self)
        for embed in (self.embed, self.source_embed):
            if embed is not None:
                nn.init.normal_(embed.weight, std=1 / self.config.hidden_size**0.5)


def encoder_layers(c: TransformerConfig) -> Iterator[PostNormLayer]:
    for _ in range(c.num_layers):
        yield PostNormLayer(attention(c, everything), mlp(c), norm(c), norm(c))


def decoder_layers(c: TransformerConfig) -> Iterator[DecoderLayer]:
    for _ in range(c.num_decoder_layers):
        cross = CrossAttention(c.hidden_size, c.num_heads, c.head_dim, has_bias=c.attention_bias)
        norms = [norm(c) for _ in range(3)]
        yield DecoderLayer(attention(c, causal), cross, mlp(c), norms, is_post_norm=True)


def attention(c: TransformerConfig, mask: Mask) -> Attention:
    return Attention(c.hidden_size, c.num_heads, c.num_heads, c.head_dim, mask=mask, has_bias=c.attention_bias)


def mlp(c: TransformerConfig) -> MLP:
    return MLP(c.hidden_size, c.intermediate_size, ACTIVATIONS[c.activation])


def norm(c: TransformerConfig) -> nn.LayerNorm:
    return nn.LayerNorm(c.hidden_size, c.norm_eps)
