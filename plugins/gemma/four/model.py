"""Gemma 4, text, after the code in transformers: no paper describes it.

Global layers have wider heads than local ones, rotate a part of their channels and may take their keys for values. In
the small models every token has an embedding for each layer besides, and the last layers have no keys and values of
their own; a large one has experts beside its MLPs.

Shapes: B batch, T tokens, D hidden, L layers, E channels of an embedding per layer.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from zoo.nn import Cache, Decoder, LateCastRMSNorm, Rope, Span, causal, sliding

from ..sharing import SharingSpan
from .config import Gemma4Config
from .layer import Gemma4Layer, ProportionalRope


class Gemma4(Decoder):
    """Scaled embeddings, local layers between global ones, and a head that may be capped."""

    def __init__(self, c: Gemma4Config) -> None:
        local = Rope(c.head_dim, c.local_rope, c.max_seq_len)
        globe = ProportionalRope(c.global_head_dim, c.rope, c.max_seq_len, c.global_rotary)
        layers = (
            Gemma4Layer(c, i, *((globe, causal) if c.is_global(i) else (local, sliding(c.sliding_window))))
            for i in range(c.num_layers)
        )
        super().__init__(c, layers, LateCastRMSNorm(c.hidden_size, c.norm_eps))
        self.softcap = c.final_softcap
        width = c.layer_embed_dim
        self.layer_embed = nn.Embedding(c.vocab_size, c.num_layers * width) if width else None
        self.layer_proj = nn.Linear(c.hidden_size, c.num_layers * width, bias=False) if width else None
        self.layer_norm = LateCastRMSNorm(width, c.norm_eps) if width else None

    def forward(
        self, tokens: Tensor, *, attention_mask: Tensor | None = None, cache: Cache | None = None, last: bool = False
    ) -> Tensor:
        """See Decoder.forward."""
        span = SharingSpan(*tokens.shape, tokens.device, attention_mask=attention_mask, cache=cache)
        return self.read(self.encode(tokens, span), span, cache=cache, last=last)

    def encode(self, tokens: Tensor, span: Span) -> Tensor:
        """Scaled embeddings [B, T, D]; those of each layer go into the span."""
        x = self.scaled(tokens)
        self.lay_out(tokens, x, span)
        return x

    def scaled(self, tokens: Tensor) -> Tensor:
        """Embeddings [B, T, D], times the root of their width."""
        x = self.embed(tokens)
        return x * torch.full((), x.shape[-1] ** 0.5, dtype=x.dtype, device=x.device)

    def lay_out(self, tokens: Tensor, x: Tensor, span: Span) -> None:
        """Put into the span the embeddings of each layer, which come of the tokens and of what enters the stack."""
        if self.layer_embed is not None and self.layer_proj is not None and self.layer_norm is not None:
            assert isinstance(span, SharingSpan)
            width = self.layer_norm.weight.shape[0]
            scale = torch.full((), width**0.5, dtype=x.dtype, device=x.device)
            own = (self.layer_embed(tokens) * scale).unflatten(-1, (-1, width))
            projected = (self.layer_proj(x) * x.shape[-1] ** -0.5).unflatten(-1, (-1, width))
            span.of_layers = (self.layer_norm(projected) + own) * 0.5**0.5  # [B, T, L, E]

    def decode(self, x: Tensor) -> Tensor:
        """Logits, capped where the model is."""
        logits = self.lm_head(x)
        return logits if self.softcap is None else torch.tanh(logits / self.softcap) * self.softcap
