"""Attention of queries to keys, by the fastest way that computes just what is asked for.

Shapes: B batch, T queries, S keys, N query heads, K key/value heads, H head dim, V value dim.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from zoo.nn.halves import HALVES, is_slow
from zoo.nn.keys import Keys
from zoo.nn.mask import Mask
from zoo.nn.norm import at_least_float32
from zoo.nn.span import Bias, Span


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
        mask = None if allowed is None else allowed[:, None]
        q, k, v = (x.transpose(1, 2) for x in (q, k, v))
        return self.heads_first(q, k, v, mask, is_causal=is_causal, bias=bias).transpose(1, 2)

    def heads_first(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        mask: Tensor | None = None,
        *,
        is_causal: bool = False,
        bias: Tensor | None = None,
    ) -> Tensor:
        """The same for q [B, N, T, H], k [B, K, S, H], v [B, K, S, V] and mask [B or 1, 1, T, S]: [B, N, T, V]."""
        is_by_hand = self.softcap is not None or self.is_upcast or self.sinks is not None
        if q.dtype in HALVES and q.device.type == "cpu" and _is_faster_in_float32(q, k, is_by_hand=is_by_hand):
            out = self.heads_first(q.float(), k.float(), v.float(), mask, is_causal=is_causal, bias=bias)
            return out.to(q.dtype)
        if is_by_hand:
            return self._by_hand(q, k, v, mask, is_causal, bias)
        if bias is not None:
            mask, is_causal = self._added(bias, mask, is_causal).to(q.dtype), False
        groups = q.shape[1] // k.shape[1]
        if q.shape[2] == 1 and groups > 1 and bias is None:
            # One query: the heads that share a key are as many queries of one head. Spares a copy of the keys.
            q = q.reshape(q.shape[0], k.shape[1], groups, q.shape[-1])
            out = F.scaled_dot_product_attention(q, k, v, mask, scale=self.scale)
            return out.reshape(out.shape[0], -1, 1, out.shape[-1])
        width = v.shape[-1]
        if q.shape[2] > 1 and width < q.shape[-1]:
            # torch's kernels that hold no scores for all keys want one width: twice as fast on a CPU.
            v = F.pad(v, (0, q.shape[-1] - width))
        # Apart: in a graph compiled for all sizes a comparison is no bool, which enable_gqa has to be.
        grouped = {"enable_gqa": True} if groups > 1 else {}
        out = F.scaled_dot_product_attention(q, k, v, mask, is_causal=is_causal, scale=self.scale, **grouped)
        return out[..., :width]

    def banded(
        self, q: Tensor, k: Tensor, v: Tensor, span: Span, mask: Mask, keys: Keys, *, bias: Bias | None = None
    ) -> Tensor:
        """Causal attention within a window of W in O(T * W): W queries at a time, each block with the keys it sees."""
        before = k.shape[1] - q.shape[1]
        positions = span.key_positions(keys)
        out = []
        for a, b, seen in mask.blocks(q.shape[1], span.start if span.counts is None else None):
            low, high = max(0, before + a - seen), before + b
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


def _is_faster_in_float32(q: Tensor, k: Tensor, *, is_by_hand: bool) -> bool:
    """Whether numbers of 16 bits take longer on a CPU than to widen them, too.

    So it is where no library multiplies them, and for torch's kernel of a single query of each key's head: in bfloat16
    that took three to five times as long, of 12 heads and 64 to 1,024 keys.
    """
    is_single = q.dtype is torch.bfloat16 and q.shape[2] == 1 and q.shape[1] == k.shape[1] and not is_by_hand
    return is_single or is_slow(q.dtype)
