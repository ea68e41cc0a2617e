"""A Stranger, with nothing of zoo.nn in it but the bookkeeping of positions and caches.

Shapes: B batch, T queries, S keys, N heads, H head dim, D hidden, V vocab.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from zoo.anatomy import EQUAL_HEADS, TRUNK
from zoo.nn import NEW, Cache, KVCache, Span

from .config import StrangerConfig


class Attention(nn.Module):
    """Multi-head attention, written out."""

    cuts = EQUAL_HEADS

    def __init__(self, c: StrangerConfig) -> None:
        super().__init__()
        self.num_heads = c.num_heads
        self.q_proj = nn.Linear(c.hidden_size, c.hidden_size)
        self.k_proj = nn.Linear(c.hidden_size, c.hidden_size)
        self.v_proj = nn.Linear(c.hidden_size, c.hidden_size)
        self.o_proj = nn.Linear(c.hidden_size, c.hidden_size)

    def forward(self, x: Tensor, span: Span, cache: KVCache | None) -> Tensor:
        """Attend x [B, T, D] to itself and to what the cache holds."""
        q, k, v = (p(x).unflatten(-1, (self.num_heads, -1)) for p in (self.q_proj, self.k_proj, self.v_proj))
        k, v, keys = (k, v, NEW) if cache is None else cache.append(k, v, span)
        scores = torch.einsum("btnh,bsnh->bnts", q, k) * q.shape[-1] ** -0.5
        at = span.key_positions(keys)[:, None]  # below 0 where there is no key
        allowed = (at >= 0) & (at <= span.positions[:, :, None])
        scores = scores.masked_fill(~allowed[:, None], torch.finfo(scores.dtype).min)
        return self.o_proj(torch.einsum("bnts,bsnh->btnh", scores.softmax(-1), v).flatten(-2))


class Layer(nn.Module):
    """x + attn(norm(x))."""

    def __init__(self, c: StrangerConfig) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(c.hidden_size, c.norm_eps)
        self.attn = Attention(c)

    def forward(self, x: Tensor, span: Span, cache: KVCache | None) -> Tensor:
        """x [B, T, D] to [B, T, D]."""
        return x + self.attn(self.norm(x), span, cache)


class Stranger(nn.Module):
    """Tokens to logits."""

    cuts = TRUNK

    def __init__(self, c: StrangerConfig) -> None:
        super().__init__()
        self.config = c
        self.embed = nn.Embedding(c.vocab_size, c.hidden_size)
        self.position = nn.Embedding(c.max_seq_len, c.hidden_size)
        self.layers = nn.ModuleList(Layer(c) for _ in range(c.num_layers))
        self.lm_head = nn.Linear(c.hidden_size, c.vocab_size, bias=False)
        if c.tie_embeddings:
            self.lm_head.weight = self.embed.weight

    def forward(
        self, tokens: Tensor, *, attention_mask: Tensor | None = None, cache: Cache | None = None, last: bool = False
    ) -> Tensor:
        """Logits [B, T, V] for tokens [B, T]."""
        span = Span(tokens.shape[0], tokens.shape[1], tokens.device, attention_mask=attention_mask, cache=cache)
        x = self.embed(tokens) + self.position(span.positions)
        for i, layer in enumerate(self.layers):
            x = layer(x, span, None if cache is None else cache.layers[i])
        if cache is not None:
            cache.advance(span)
        return self.lm_head(span.last(x) if last else x)

    def new_cache(self, batch_size: int, max_len: int) -> Cache:
        """An empty cache in the dtype and on the device of the weights."""
        weight, heads = self.embed.weight, self.layers[0].attn.num_heads
        like = {"dtype": weight.dtype, "device": weight.device}
        head_dim = self.config.hidden_size // self.config.num_heads
        layers = [KVCache(batch_size, max_len, heads, head_dim, **like) for _ in self.layers]
        return Cache(layers, batch_size, max_len)
