"""A layer of Gemma 3n.

Shapes: B batch, T tokens, D hidden, P streams, N heads, H head dim, E channels of an embedding per layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from math import sqrt
from typing import Any, Self

import torch
from torch import Tensor, nn

from zoo.anatomy import GROUPED_HEADS
from zoo.nn import (
    NEW,
    Attend,
    GatedMLP,
    KVCache,
    LateCastRMSNorm,
    LayerCache,
    Mask,
    Rope,
    SlidingKVCache,
    Span,
    at_least_float32,
    computed_by,
    gelu_tanh,
)

from .blocks import AltUp, Laurel, SparseGatedMLP
from .config import Gemma3nConfig


class NanoSpan(Span):
    """A pass in which layers find the embeddings made for them, and the keys and values of layers before them."""

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self.of_layers: Tensor | None = None  # [B, T, L, E]
        self.shared: dict[
            bool, Any
        ] = {}  # of global layers and of local ones: keys, values, where they stand, and Rope

    def moved(self, distance: int) -> Self:
        """The same tokens, `distance` positions later: keys that are there already rotate on."""
        moved = super().moved(distance)
        moved.shared = {}
        for kind, (k, v, keys, rope) in self.shared.items():
            further = rope(torch.full((1, 1), distance, device=k.device), k.dtype)
            moved.shared[kind] = (rope.rotate(k, further) / rope.factor, v, keys, rope)
        return moved


class NanoLayer(nn.Module):
    """Predict the streams, pass the first through the layer, correct them by it, add the layer's embedding."""

    def __init__(self, c: Gemma3nConfig, number: int, rope: Rope, mask: Mask) -> None:
        super().__init__()
        self.number = number
        self.altup = AltUp(c)
        self.laurel = Laurel(c)
        self.attn = SharingAttention(c, number, rope, mask)
        share = c.sparsity_of(number)
        self.mlp = (
            SparseGatedMLP(c.hidden_size, c.width_of(number), share)
            if share
            else GatedMLP(c.hidden_size, c.width_of(number), gelu_tanh)
        )
        norm = partial(LateCastRMSNorm, c.hidden_size, c.norm_eps)
        self.attn_norm, self.attn_post_norm, self.mlp_norm, self.mlp_post_norm = norm(), norm(), norm(), norm()
        self.layer_norm = norm()
        self.layer_gate = nn.Linear(c.hidden_size, c.layer_embed_dim, bias=False)
        self.layer_proj = nn.Linear(c.layer_embed_dim, c.hidden_size, bias=False)

    def forward(self, x: Tensor, span: NanoSpan, cache: Any = None) -> Tensor:
        """x [B, T, P, D] to [B, T, P, D]."""
        predicted = self.altup.predict(x)
        first = predicted[..., 0, :]
        normed = self.attn_norm(first)
        y = first + self.attn_post_norm(self.attn(normed, span, cache))
        y = (y + self.laurel(normed)) / sqrt(2)
        y = y + self.mlp_post_norm(self.mlp(self.mlp_norm(y)))
        corrected = self.altup.correct(predicted, y)
        assert span.of_layers is not None
        gate = gelu_tanh(self.layer_gate(corrected[..., 0, :] * self.altup.scale))
        added = self.layer_norm(self.layer_proj(gate * span.of_layers[:, :, self.number]))
        return torch.cat((corrected[..., :1, :], corrected[..., 1:, :] + added[..., None, :]), -2)

    def new_cache(self, batch_size: int, max_len: int) -> LayerCache:
        """An empty cache; of a layer without keys, one that keeps nothing."""
        return self.attn.new_cache(batch_size, max_len)


class SharingAttention(nn.Module):
    """Attention of unscaled scores, norms on q, k and v; in the last layers with the keys and values of an earlier."""

    cuts = GROUPED_HEADS

    def __init__(self, c: Gemma3nConfig, number: int, rope: Rope, mask: Mask) -> None:
        super().__init__()
        self.head_dim, self.num_kv_heads, self.rope, self.mask, self.eps = (
            c.head_dim,
            c.num_kv_heads,
            rope,
            mask,
            c.norm_eps,
        )
        self.num_heads = c.num_heads
        self.kind, self.is_source = c.is_global(number), c.is_source(number)
        has_own, kv = number < c.first_sharing, c.num_kv_heads * c.head_dim
        self.q_proj = nn.Linear(c.hidden_size, c.num_heads * c.head_dim, bias=False)
        self.k_proj = nn.Linear(c.hidden_size, kv, bias=False) if has_own else None
        self.v_proj = nn.Linear(c.hidden_size, kv, bias=False) if has_own else None
        self.o_proj = nn.Linear(c.num_heads * c.head_dim, c.hidden_size, bias=False)
        self.q_norm = LateCastRMSNorm(c.head_dim, c.norm_eps)
        self.k_norm = LateCastRMSNorm(c.head_dim, c.norm_eps) if has_own else None

    def forward(self, x: Tensor, span: NanoSpan, cache: Any = None) -> Tensor:
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

    def _keys(self, x: Tensor, span: NanoSpan, cache: Any) -> Any:
        """Keys, values and where the keys stand: the layer's own, or those of the last of its kind."""
        if self.k_proj is None or self.v_proj is None or self.k_norm is None:
            return span.shared[self.kind][:3]
        k, v = (p(x).unflatten(-1, (-1, self.head_dim)) for p in (self.k_proj, self.v_proj))
        k = self.rope.rotate(self.k_norm(k), span.rotation(self.rope, k.dtype))
        y = at_least_float32(v)
        v = (y * torch.rsqrt(y.square().mean(-1, keepdim=True) + self.eps)).to(v.dtype)
        found = (k, v, NEW) if cache is None else cache.append(k, v, span)
        if self.is_source:
            span.shared[self.kind] = (*found, self.rope)
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


class NoCache:
    """What a layer keeps that attends to the keys of another: nothing."""

    nbytes = 0

    def reorder(self, index: Tensor) -> None:
        pass

    def rewind(self, length: int, before: int) -> None:
        pass

    def rewind_rows(self, lengths: Sequence[int], before: Sequence[int]) -> None:
        pass
