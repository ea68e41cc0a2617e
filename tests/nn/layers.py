"""Attention layers to test, and ways to run them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from zoo.anatomy.config import RopeConfig
from zoo.nn import Attention, Cache, Rope, Span

HIDDEN = 12
CPU = torch.device("cpu")


def attention(num_heads: int = 6, num_kv_heads: int = 2, head_dim: int = 4, **settings: Any) -> Attention:
    """Weights large enough that the softmax is far from flat."""
    attn = Attention(HIDDEN, num_heads, num_kv_heads, head_dim, **settings)
    for parameter in attn.parameters():
        nn.init.normal_(parameter, std=0.6)
    return attn


def rope(**settings: Any) -> Rope:
    return Rope(4, RopeConfig(theta=20.0), 64, **settings)


def run(attn: Attention, x: Tensor, real: Tensor | None = None, chunks: tuple[int, ...] = ()) -> Tensor:
    """What `attn` gives for x [B, T, D]; in `chunks` through a cache if there are any."""
    if not chunks:
        return attn(x, Span(*x.shape[:2], CPU, attention_mask=real))
    batch_size, length = x.shape[:2]
    cache = Cache([attn.new_cache(batch_size, length)], batch_size, length)
    out, at = [], 0
    for size in chunks:
        part = None if real is None else real[:, at : at + size]
        span = Span(batch_size, size, CPU, attention_mask=part, cache=cache)
        out.append(attn(x[:, at : at + size], span, cache.layers[0]))
        cache.advance(span)
        at += size
    return torch.cat(out, 1)


def padded(*drawn: str) -> Tensor:
    return torch.tensor([[cell == "x" for cell in row] for row in drawn])
