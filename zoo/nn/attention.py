"""Attention.

Shapes: B batch, T queries, S keys, D hidden, N query heads, K key/value heads, H head dim.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.anatomy.cuts import GROUPED_HEADS
from zoo.errors import ConfigError
from zoo.nn.compute import computed_by
from zoo.nn.keys import NEW, Keys
from zoo.nn.kv_cache import KVCache, SlidingKVCache
from zoo.nn.mask import Mask, causal
from zoo.nn.norm import at_least_float32
from zoo.nn.rope import Rope
from zoo.nn.span import Bias, Span


class Attention(nn.Module):
    """Multi-head attention whose key/value heads may be shared (arXiv:1706.03762, arXiv:2305.13245).

    num_kv_heads == num_heads is multi-head, 1 multi-query, anything between grouped-query. `bias` is a learned or
    fixed score per distance, `softcap` bounds the scores (arXiv:2408.00118), `is_upcast` computes them in float32.
    `has_sinks`: each head has a learned score that takes its share of the softmax and gives nothing (arXiv:2309.17453).
    Queries and keys are normed by `qk_norm`, made of a head's width, or by `heads_norm`, made of their number too.
    """

    cuts = GROUPED_HEADS

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

    def reset_parameters(self) -> None:
        if self.sinks is not None:
            nn.init.zeros_(self.sinks)

    def forward(self, x: Tensor, span: Span, cache: KVCache | None = None) -> Tensor:
        """Attend x [B, T, D] to itself and to what `cache` holds; returns [B, T, D]."""
        return self.o_proj(self.heads(x, span, cache))

    def heads(self, x: Tensor, span: Span, cache: KVCache | None = None) -> Tensor:
        """What the heads give, side by side: [B, T, N * H]."""
        q, k, v = (p(x).unflatten(-1, (-1, self.head_dim)) for p in (self.q_proj, self.k_proj, self.v_proj))
        if self.q_norm is not None and self.k_norm is not None:
            q, k = self.q_norm(q), self.k_norm(k)
        if self.rope is not None:
            rotation = span.rotation(self.rope, q.dtype)
            q, k = self.rope.rotate(q, rotation), self.rope.rotate(k, rotation)
        k, v, keys = (k, v, NEW) if cache is None else cache.append(k, v, span)
        attend = Attend(self.scale, softcap=self.softcap, is_upcast=self.is_upcast, sinks=self.sinks)
        if span.is_banded(self.mask, keys):
            out = attend.banded(q, k, v, span, self.mask, keys, bias=self.bias)
        else:
            allowed, is_causal = span.allowed(self.mask, keys), span.is_causal(self.mask, keys)
            bias = None if self.bias is None else span.bias(self.bias, keys)
            out = attend(q, k, v, allowed, is_causal=is_causal, bias=bias)
        return out.flatten(-2)

    def new_cache(self, batch_size: int, max_len: int) -> KVCache:
        """An empty cache in the dtype and on the device of the weights."""
        like = computed_by(self.k_proj, self)
        if self.mask.window is not None and self.mask.is_causal and self.mask.is_plain:
            return SlidingKVCache(
                batch_size, max_len, self.num_kv_heads, self.head_dim, window=self.mask.window, **like
            )
        return KVCache(batch_size, max_len, self.num_kv_heads, self.head_dim, **like)


class WholeAttention(Attention):
    """Attention that no rank can have a share of, for its `heads_norm` takes all heads or has weights for each."""

    cuts = ()


def _of_one_head(norm: Callable[[int], nn.Module], num_heads: int, head_dim: int) -> nn.Module:
    """The norm that all heads share."""
    return norm(head_dim)


class Attend:
    """softmax(scale * q k^T + bias) v, by the fastest way that computes just that; `sinks` [N] are one more score."""

    def __init__(
        self, scale: float, *, softcap: float | None = None, is_upcast: bool = False, sinks: Tensor | None = None
    ) -> None:
        self.scale, self.softcap, self.is_upcast, self.sinks = scale, softcap, is_upcast, sinks

    def __call__(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        allowed: Tensor | None = None,
        *,
        is_causal: bool = False,
        bias: Tensor | None = None,
    ) -> Tensor:
        """q [B, T, N, H], k [B, S, K, H], v [B, S, K, V]; allowed [B or 1, T, S]; returns [B, T, N, V]."""
        q, k, v = (x.transpose(1, 2) for x in (q, k, v))  # [B, N, T, H]
        mask = None if allowed is None else allowed[:, None]
        if self.softcap is not None or self.is_upcast or self.sinks is not None:
            return self._by_hand(q, k, v, mask, is_causal, bias).transpose(1, 2)
        if bias is not None:
            mask, is_causal = self._added(bias, mask, is_causal).to(q.dtype), False
        groups = q.shape[1] // k.shape[1]
        if q.shape[2] == 1 and groups > 1 and bias is None:
            # One query: the heads that share a key are as many queries of one head. Spares a copy of the keys.
            q = q.reshape(q.shape[0], k.shape[1], groups, q.shape[-1])
            out = F.scaled_dot_product_attention(q, k, v, mask, scale=self.scale)
            return out.reshape(out.shape[0], 1, -1, out.shape[-1])
        out = F.scaled_dot_product_attention(
            q, k, v, mask, is_causal=is_causal, scale=self.scale, enable_gqa=groups > 1
        )
        return out.transpose(1, 2)

    def banded(
        self, q: Tensor, k: Tensor, v: Tensor, span: Span, mask: Mask, keys: Keys, *, bias: Bias | None = None
    ) -> Tensor:
        """Causal attention within a window of W in O(T * W): W queries at a time, each block with the keys it sees."""
        assert mask.window is not None
        window, before = mask.window, k.shape[1] - q.shape[1]
        positions = span.key_positions(keys)
        out = []
        for a in range(0, q.shape[1], window):
            b = min(a + window, q.shape[1])
            low, high = max(0, before + a - window + 1), before + b
            at = span.positions[:, a:b, None], positions[:, None, low:high]
            allowed = span.seen(mask, keys, *at)
            added = None if bias is None else bias(*at)
            out.append(self(q[:, a:b], k[:, low:high], v[:, low:high], allowed, bias=added))
        return torch.cat(out, 1)

    def _by_hand(
        self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, is_causal: bool, bias: Tensor | None
    ) -> Tensor:
        dtype = q.dtype
        if self.is_upcast:
            q, k = at_least_float32(q), at_least_float32(k)
        groups = q.shape[1] // k.shape[1]
        scores = q.unflatten(1, (-1, groups)) @ k[:, :, None].mT * self.scale  # [B, K, G, T, S]
        scores = scores.flatten(1, 2)
        if self.softcap is not None:
            scores = self.softcap * torch.tanh(scores / self.softcap)
        if bias is not None or mask is not None or is_causal:
            scores = scores + self._added(bias, mask, is_causal, like=scores).to(scores.dtype)
        weights = self._softmax(at_least_float32(scores)).to(dtype)
        return (weights.unflatten(1, (-1, groups)) @ v[:, :, None]).flatten(1, 2)

    def _softmax(self, scores: Tensor) -> Tensor:
        """Weights [B, N, T, S] of the keys; what the sinks take is left out."""
        if self.sinks is None:
            return scores.softmax(-1)
        sinks = self.sinks.to(scores.dtype)[:, None, None].expand(*scores.shape[:-1], 1)
        return torch.cat((scores, sinks), -1).softmax(-1)[..., :-1]

    def _added(self, bias: Tensor | None, mask: Tensor | None, is_causal: bool, like: Tensor | None = None) -> Tensor:
        """What is added to the scores: the bias, and -inf where attention is not allowed."""
        shape = bias if bias is not None else like
        assert shape is not None
        if is_causal:
            size = shape.shape[-2:]
            mask = torch.ones(size, dtype=torch.bool, device=shape.device).tril()
        base = torch.zeros((), dtype=shape.dtype, device=shape.device) if bias is None else bias
        return base if mask is None else torch.where(mask, base, float("-inf"))
