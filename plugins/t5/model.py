"""T5 (arXiv:1910.10683): encoder and decoder that add a learned bias per distance to scores they do not scale.

The paper shares the bias among all layers of a stack; so does the released code, UMT5 (arXiv:2304.09151) excepted.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from torch import Tensor, nn

from zoo.errors import UsageError
from zoo.nn import (
    ACTIVATIONS,
    MLP,
    Attention,
    CrossAttention,
    DecoderLayer,
    EncoderDecoder,
    GatedMLP,
    PreNormLayer,
    RelativeBias,
    RMSNorm,
    Span,
    causal,
    everything,
)

from .config import T5Config


class T5(EncoderDecoder):
    """Pre-norm stacks; without a decoder, `encode` alone gives something."""

    def __init__(self, c: T5Config) -> None:
        super().__init__(c, encoder_layers(c), decoder_layers(c))
        self.embed = nn.Embedding(c.vocab_size, c.hidden_size)
        self.encoder_norm = RMSNorm(c.hidden_size, c.norm_eps)
        self.scale = c.hidden_size**-0.5 if c.scale_outputs else 1.0
        self.decoder_norm = None if c.num_decoder_layers is None else RMSNorm(c.hidden_size, c.norm_eps)
        self.lm_head = None
        if c.num_decoder_layers is not None:
            self.lm_head = nn.Linear(c.hidden_size, c.vocab_size, bias=False)
            if c.tie_embeddings:
                self.lm_head.weight = self.embed.weight

    def embed_source(self, tokens: Tensor, span: Span) -> Tensor:
        return self.embed(tokens)

    def leave_encoder(self, x: Tensor) -> Tensor:
        return self.encoder_norm(x)

    def logits(self, x: Tensor) -> Tensor:
        """Logits of the decoder's last states. Raises UsageError for an encoder alone."""
        if self.lm_head is None or self.decoder_norm is None:
            raise UsageError("this model is only an encoder", hint="model.encode(tokens, attention_mask)")
        # A tied head is an embedding table, whose rows are too large to project with unscaled.
        return self.lm_head(self.decoder_norm(x) * self.scale)


def encoder_layers(c: T5Config) -> Iterator[nn.Module]:
    bias = biases(c, is_bidirectional=True)
    for _ in range(c.num_layers):
        attn = Attention(
            c.hidden_size, c.num_heads, c.num_heads, c.head_dim, mask=everything, scale=1.0, bias=next(bias)
        )
        yield PreNormLayer(attn, mlp(c), RMSNorm(c.hidden_size, c.norm_eps), RMSNorm(c.hidden_size, c.norm_eps))


def decoder_layers(c: T5Config) -> Iterator[DecoderLayer]:
    bias = biases(c, is_bidirectional=False)
    for _ in range(c.num_decoder_layers or 0):
        attn = Attention(c.hidden_size, c.num_heads, c.num_heads, c.head_dim, mask=causal, scale=1.0, bias=next(bias))
        cross = CrossAttention(c.hidden_size, c.num_heads, c.head_dim, scale=1.0)
        yield DecoderLayer(attn, cross, mlp(c), [RMSNorm(c.hidden_size, c.norm_eps) for _ in range(3)])


def biases(c: T5Config, *, is_bidirectional: bool) -> Iterator[RelativeBias]:
    """The bias of each layer: one for all, or one each."""
    make = partial(RelativeBias, c.num_heads, c.num_buckets, c.max_distance, is_bidirectional=is_bidirectional)
    shared = make()
    while True:
        yield make() if c.has_bias_per_layer else shared


def mlp(c: T5Config) -> nn.Module:
    act = ACTIVATIONS[c.activation]
    if c.is_gated:
        return GatedMLP(c.hidden_size, c.intermediate_size, act)
    return MLP(c.hidden_size, c.intermediate_size, act, bias=False)
