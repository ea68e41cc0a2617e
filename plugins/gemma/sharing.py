"""Layers that take keys and values from an earlier one, as those of Gemma 3n and Gemma 4 do.

Shapes: B batch, T tokens, D hidden, N heads, H head dim, L layers, E channels of an embedding per layer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor, nn

from zoo.anatomy import GROUPED_HEADS
from zoo.nn import (
    NEW,
    Attend,
    KVCache,
    LateCastRMSNorm,
    LayerCache,
    Mask,
    NoCache,
    Rope,
    SlidingKVCache,
    Span,
    at_least_float32,
    computed_by,
)


@dataclass(frozen=True)
class Sharing:
    """What of its keys and values a layer makes, and who else reads them."""

    is_global: bool  # of the layers that see all tokens; the others are local, and share among themselves
    has_keys: bool = True  # its own; otherwise those of the last of its kind that has
    has_values: bool = True  # of a product of their own; otherwise they are its keys, unnormed and unrotated
    is_source: bool = False  # whether later layers take them


class SharingSpan(Span):
    """A pass in which layers find the embeddings made for them, and the keys and values of layers before them."""

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self.of_layers: Tensor | None = None  # [B, T, L, E]
        self.shared: dict[bool, Any] = {}  # of global layers and of local ones: keys, values, where they stand, Rope

    def moved(self, distance: int) -> Self:
        """The same tokens, `distance` positions later: keys that are there already rotate on."""
        moved = super().moved(distance)
        moved.shared = {}
        for kind, (k, v, keys, rope) in self.shared.items():
            further = rope(torch.full((1, 1), distance, device=k.device), k.dtype)
            moved.shared[kind] = (rope.rotate(k, further) / rope.factor, v, keys, rope)
        return moved


class SharingAttention(nn.Module):
    """Attention of unscaled scores, norms on q, k and v; in the last layers with the keys and values of an earlier."""

    cuts = GROUPED_HEADS
    last_part = "o_proj"

    def __init__(
        self,
        hidden_size: int,
        heads: tuple[int, int, int],
        *,
        rope: Rope,
        mask: Mask,
        eps: float,
        shares: Sharing,
    ) -> None:
        super().__init__()
        (self.num_heads, self.num_kv_heads, self.head_dim), self.shares = heads, shares
        self.rope, self.mask, self.eps = rope, mask, eps
        q, kv, has_own = self.num_heads * self.head_dim, self.num_kv_heads * self.head_dim, shares.has_keys
        self.q_proj = nn.Linear(hidden_size, q, bias=False)
        self.k_proj = nn.Linear(hidden_size, kv, bias=False) if has_own else None
        self.v_proj = nn.Linear(hidden_size, kv, bias=False) if has_own and shares.has_values else None
        self.o_proj = nn.Linear(q, hidden_size, bias=False)
        self.q_norm = LateCastRMSNorm(self.head_dim, eps)
        self.k_norm = LateCastRMSNorm(self.head_dim, eps) if has_own else None

    def forward(self, x: Tensor, span: SharingSpan, cache: Any = None) -> Tensor:
        """x [B, T, D] to [B, T, D]."""
        q = self.q_norm(self.q_proj(x).unflatten(-1, (-1, self.head_dim)))
        q = self.rope.rotate(q, span.rotation(self.rope, q.dtype))
        k, v, keys = self._keys(x, span, cache)
        attend = Attend(1.0)
        if span.is_banded(self.mask, keys):
            out = attend.banded(q, k, v, span, self.mask, keys)
        else:
            out = attend(q, k, v, span.allowed(self.mask, keys), is_causal=span.is_causal(self.mask, keys))
        return self.o_proj(out.flatten(-2))

    def _keys(self, x: Tensor, span: SharingSpan, cache: Any) -> Any:
        """Keys, values and where the keys stand: the layer's own, or those of the last of its kind."""
        if self.k_proj is None or self.k_norm is None:
            return span.shared[self.shares.is_global][:3]
        k = self.k_proj(x).unflatten(-1, (-1, self.head_dim))
        v = k if self.v_proj is None else self.v_proj(x).unflatten(-1, (-1, self.head_dim))
        k = self.rope.rotate(self.k_norm(k), span.rotation(self.rope, k.dtype))
        y = at_least_float32(v)
        v = (y * torch.rsqrt(y.square().mean(-1, keepdim=True) + self.eps)).to(v.dtype)
        found = (k, v, NEW) if cache is None else cache.append(k, v, span)
        if self.shares.is_source:
            span.shared[self.shares.is_global] = (*found, self.rope)
        return found

    def new_cache(self, batch_size: int, max_len: int) -> LayerCache:
        """An empty cache in the dtype and on the device of the weights."""
        if self.k_proj is None:
            return NoCache()
        like = computed_by(self.k_proj, self)
        sizes = batch_size, max_len, self.num_kv_heads, self.head_dim
        return (
            KVCache(*sizes, **like)
            if self.mask.window is None
            else SlidingKVCache(*sizes, window=self.mask.window, **like)
        )
