"""Gemma 3n, text, after the code in transformers: no paper describes the whole.

Several residual streams run side by side. Of each layer's streams the first passes through attention and MLP, and the
others are predicted and corrected by it (AltUp, arXiv:2301.13310). Every token has a small embedding for each layer
besides. The last layers have no keys and values; they take those of the last layer of their kind before them.

Shapes: B batch, T tokens, D hidden, P streams, L layers, E channels of an embedding per layer.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from zoo.nn import Cache, Decoder, LateCastRMSNorm, Rope, Span, causal, sliding

from ..sharing import SharingSpan
from .config import Gemma3nConfig
from .layer import NanoLayer


class Gemma3n(Decoder):
    """Streams of scaled embeddings, layers, the streams' mean, and a capped head."""

    def __init__(self, c: Gemma3nConfig) -> None:
        globe, local = Rope(c.head_dim, c.rope, c.max_seq_len), Rope(c.head_dim, c.local_rope, c.max_seq_len)
        layers = (
            NanoLayer(c, i, *((globe, causal) if c.is_global(i) else (local, sliding(c.sliding_window))))
            for i in range(c.num_layers)
        )
        super().__init__(c, layers, MeanOfStreams(c))
        self.softcap, self.layer_vocab_size = c.final_softcap, c.layer_vocab_size
        self.layer_embed = nn.Embedding(c.layer_vocab_size, c.num_layers * c.layer_embed_dim)
        self.layer_proj = nn.Linear(c.hidden_size, c.num_layers * c.layer_embed_dim, bias=False)
        self.layer_norm = LateCastRMSNorm(c.layer_embed_dim, c.norm_eps)
        self.streams = _squares(c)

    def forward(
        self, tokens: Tensor, *, attention_mask: Tensor | None = None, cache: Cache | None = None, last: bool = False
    ) -> Tensor:
        """See Decoder.forward."""
        span = SharingSpan(*tokens.shape, tokens.device, attention_mask=attention_mask, cache=cache)
        return self.read(self.encode(tokens, span), span, cache=cache, last=last)

    def encode(self, tokens: Tensor, span: Span) -> Tensor:
        """The streams [B, T, P, D]; each layer's embeddings go into the span."""
        assert isinstance(span, SharingSpan)
        x = _scaled(self.embed(tokens), self.config.hidden_size**0.5)
        width = self.layer_norm.weight.shape[0]
        known = torch.where(tokens < self.layer_vocab_size, tokens, 0)
        own = _scaled(self.layer_embed(known), width**0.5).unflatten(-1, (-1, width))
        projected = _scaled(self.layer_proj(x), x.shape[-1] ** -0.5).unflatten(-1, (-1, width))
        span.of_layers = _scaled(self.layer_norm(projected) + own, 0.5**0.5)  # [B, T, L, E]
        return torch.stack([x, *_as_large(x, [stream(x) for stream in self.streams])], -2)

    def decode(self, x: Tensor) -> Tensor:
        """Logits, capped."""
        logits = self.lm_head(x)
        return torch.tanh(logits / self.softcap) * self.softcap


class MeanOfStreams(nn.Module):
    """The streams' mean, each but the first projected and made as large as that, and normed."""

    def __init__(self, c: Gemma3nConfig) -> None:
        super().__init__()
        self.streams = _squares(c)
        self.norm = LateCastRMSNorm(c.hidden_size, c.norm_eps)

    def forward(self, x: Tensor) -> Tensor:
        """x [B, T, P, D] to [B, T, D]."""
        first, *others = x.unbind(-2)
        projected = [stream(other) for stream, other in zip(self.streams, others, strict=True)]
        return self.norm(torch.stack([first, *_as_large(first, projected)]).mean(0))


def _squares(c: Gemma3nConfig) -> nn.ModuleList:
    return nn.ModuleList(nn.Linear(c.hidden_size, c.hidden_size, bias=False) for _ in range(c.num_streams - 1))


def _as_large(x: Tensor, others: Sequence[Tensor]) -> list[Tensor]:
    """`others` [B, T, D] with the root mean square of x."""
    wanted = x.square().mean(-1, keepdim=True).sqrt()
    return [y * wanted / y.square().mean(-1, keepdim=True).clamp(min=1e-5).sqrt() for y in others]


def _scaled(x: Tensor, by: float) -> Tensor:
    """x times a number that is first rounded to its dtype, as in the released code."""
    return x * torch.full((), by, dtype=x.dtype, device=x.device)
