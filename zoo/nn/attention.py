"""Attention.

Shapes: B batch, T queries, S keys, D hidden, N query heads, K key/value heads, H head dim.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from zoo.anatomy.cuts import GROUPED_HEADS
from zoo.errors import ConfigError
from zoo.nn.attend import Attend
from zoo.nn.chunk_cache import ChunkKVCache
from zoo.nn.compute import computed_by
from zoo.nn.keys import NEW
from zoo.nn.kv_cache import KVCache, SlidingKVCache
from zoo.nn.mask import ChunkMask, Mask, causal
from zoo.nn.rope import Rope
from zoo.nn.side_by_side import SideBySide, WithSideBySide
from zoo.nn.span import Bias, Span


class Attention(WithSideBySide):
    """Multi-head attention whose key/value heads may be shared (arXiv:1706.03762, arXiv:2305.13245).

    num_kv_heads == num_heads is multi-head, 1 multi-query, anything between grouped-query. `bias` is a learned or
    fixed score per distance, `softcap` bounds the scores (arXiv:2408.00118), `is_upcast` computes them in float32.
    `has_sinks`: each head has a learned score that takes its share of the softmax and gives nothing (arXiv:2309.17453).
    Queries and keys are normed by `qk_norm`, made of a head's width, or by `heads_norm`, made of their number too.
    """

    cuts = GROUPED_HEADS
    last_part = "o_proj"

    def __init__(
        self,
        hidden_size: int,
        num_heads: int,
        num_kv_heads: int,
        head_dim: int,
        *,
        rope: Rope | None = None,
        mask: Mask = causal,
        has_bias: bool = False,
        has_out_bias: bool | None = None,
        scale: float | None = None,
        softcap: float | None = None,
        qk_norm: Callable[[int], nn.Module] | None = None,
        heads_norm: Callable[[int, int], nn.Module] | None = None,
        bias: Bias | None = None,
        is_upcast: bool = False,
        has_sinks: bool = False,
    ) -> None:
        super().__init__()
        if num_heads % num_kv_heads:
            raise ConfigError(f"num_heads={num_heads} is not a multiple of num_kv_heads={num_kv_heads}")
        self.num_heads, self.num_kv_heads, self.head_dim = num_heads, num_kv_heads, head_dim
        self.q_proj = nn.Linear(hidden_size, num_heads * head_dim, has_bias)
        self.k_proj = nn.Linear(hidden_size, num_kv_heads * head_dim, has_bias)
        self.v_proj = nn.Linear(hidden_size, num_kv_heads * head_dim, has_bias)
        self.o_proj = nn.Linear(num_heads * head_dim, hidden_size, has_bias if has_out_bias is None else has_out_bias)
        if qk_norm is not None:
            heads_norm = partial(_of_one_head, qk_norm)
        self.q_norm = heads_norm(num_heads, head_dim) if heads_norm else None
        self.k_norm = heads_norm(num_kv_heads, head_dim) if heads_norm else None
        self.rope, self.mask, self.bias, self.softcap, self.is_upcast = rope, mask, bias, softcap, is_upcast
        self.scale = head_dim**-0.5 if scale is None else scale
        self.sinks = nn.Parameter(torch.zeros(num_heads)) if has_sinks else None
        self.qkv = SideBySide("q_proj", "k_proj", "v_proj")

    def reset_parameters(self) -> None:
        if self.sinks is not None:
            nn.init.zeros_(self.sinks)

    def forward(self, x: Tensor, span: Span, cache: KVCache | None = None) -> Tensor:
        """Attend x [B, T, D] to itself and to what `cache` holds; returns [B, T, D]."""
        return self.o_proj(self.heads(x, span, cache))

    def heads(self, x: Tensor, span: Span, cache: KVCache | None = None) -> Tensor:
        """What the heads give, side by side: [B, T, N * H]."""
        if cache is not None and span.num_new == 1 and hasattr(cache, "take"):
            return self._step(x, span, cache)
        q, k, v = (p(x).unflatten(-1, (-1, self.head_dim)) for p in (self.q_proj, self.k_proj, self.v_proj))
        q, k = self._placed(q, k, span)
        k, v, keys = (k, v, NEW) if cache is None else cache.append(k, v, span)
        attend = self._attend()
        if span.is_banded(self.mask, keys):
            out = attend.banded(q, k, v, span, self.mask, keys, bias=self.bias)
        else:
            allowed, is_causal = span.allowed(self.mask, keys), span.is_causal(self.mask, keys)
            bias = None if self.bias is None else span.bias(self.bias, keys)
            out = attend(q, k, v, allowed, is_causal=is_causal, bias=bias)
        return out.flatten(-2)

    def _placed(self, q: Tensor, k: Tensor, span: Span) -> tuple[Tensor, Tensor]:
        """Queries and keys [B, T, N or K, H], normed and rotated."""
        if self.q_norm is not None and self.k_norm is not None:
            q, k = self.q_norm(q), self.k_norm(k)
        if self.rope is not None:
            rotation = span.rotation(self.rope, q.dtype)
            q, k = self.rope.rotate(q, rotation), self.rope.rotate(k, rotation)
        return q, k

    def _step(self, x: Tensor, span: Span, cache: KVCache) -> Tensor:
        """`heads` for one token of each row. Heads come before tokens, so that nothing has to change its place."""
        q, k, v = self._of_one_token(x, span)
        k, v, keys = cache.take(k, v, span)
        allowed = span.allowed(self.mask, keys)
        bias = None if self.bias is None else span.bias(self.bias, keys)
        out = self._attend().heads_first(q, k, v, None if allowed is None else allowed[:, None], bias=bias)
        return out.reshape(x.shape[0], 1, -1)

    def _of_one_token(self, x: Tensor, span: Span) -> tuple[Tensor, Tensor, Tensor]:
        """Queries [B, N, 1, H], keys and values [B, K, 1, H] of x [B, 1, D]."""
        rows, size, whole = x.shape[0], self.head_dim, self.qkv(self, x)
        if whole is None:
            q, k, v = (p(x).reshape(rows, 1, -1, size) for p in (self.q_proj, self.k_proj, self.v_proj))
        else:
            heads, n, kv = whole.view(rows, -1, 1, size), self.num_heads, self.num_kv_heads
            if self.q_norm is None and type(self)._placed is Attention._placed:  # both are rotated as one
                turned, v = heads[:, : n + kv], heads[:, n + kv :]
                if self.rope is not None:
                    turned = self.rope.rotate(turned, span.rotation(self.rope, turned.dtype))
                return turned[:, :n], turned[:, n:], v
            q, k, v = heads.transpose(1, 2).split([n, kv, kv], 2)
        q, k = self._placed(q, k, span)
        return q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)

    def _attend(self) -> Attend:
        return Attend(self.scale, softcap=self.softcap, is_upcast=self.is_upcast, sinks=self.sinks)

    def new_cache(self, batch_size: int, max_len: int) -> KVCache:
        """An empty cache in the dtype and on the device of the weights."""
        like = computed_by(self.k_proj, self)
        if self.mask.window is not None and self.mask.is_bounded:
            ring = ChunkKVCache if isinstance(self.mask, ChunkMask) else SlidingKVCache
            return ring(batch_size, max_len, self.num_kv_heads, self.head_dim, window=self.mask.window, **like)
        return KVCache(batch_size, max_len, self.num_kv_heads, self.head_dim, **like)


class WholeAttention(Attention):
    """Attention that no rank can have a share of, for its `heads_norm` takes all heads or has weights for each."""

    cuts = ()


def _of_one_head(norm: Callable[[int], nn.Module], num_heads: int, head_dim: int) -> nn.Module:
    """The norm that all heads share."""
    return norm(head_dim)
