"""Attention from a target to a source, and what of it is kept while the target grows.

Shapes: B batch, S source tokens, U target tokens, D hidden, N heads, H head dim.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn

from zoo.anatomy.cuts import EQUAL_HEADS
from zoo.nn.attend import Attend
from zoo.nn.kv_cache import KVCache, SlidingKVCache


@dataclass
class Memory:
    """What the encoder made of the source [B, S, D], and which of it is no padding [B, S] (None: all)."""

    states: Tensor
    is_real: Tensor | None = None


class CrossAttention(nn.Module):
    """Queries from the target, keys and values from the source."""

    cuts = EQUAL_HEADS
    last_part = "o_proj"

    def __init__(
        self, hidden_size: int, num_heads: int, head_dim: int, *, scale: float | None = None, has_bias: bool = False
    ) -> None:
        super().__init__()
        width = num_heads * head_dim
        self.num_heads, self.head_dim = num_heads, head_dim
        self.attend = Attend(head_dim**-0.5 if scale is None else scale)
        self.q_proj = nn.Linear(hidden_size, width, has_bias)
        self.k_proj = nn.Linear(hidden_size, width, has_bias)
        self.v_proj = nn.Linear(hidden_size, width, has_bias)
        self.o_proj = nn.Linear(width, hidden_size, has_bias)

    def keys_and_values(self, memory: Memory) -> CrossCache:
        """Keys and values [B, S, N, H] of the source, which no decoding step changes."""
        k, v = (p(memory.states).unflatten(-1, (-1, self.head_dim)) for p in (self.k_proj, self.v_proj))
        return CrossCache(k, v, memory.is_real)

    def forward(self, x: Tensor, source: CrossCache) -> Tensor:
        """x [B, U, D] to [B, U, D]."""
        q = self.q_proj(x).unflatten(-1, (-1, self.head_dim))
        allowed = None if source.is_real is None else source.is_real[:, None]  # a source of nothing but padding is NaN
        if allowed is not None:
            allowed = allowed | ~allowed.any(-1, keepdim=True)  # so it is read as if it were none
        return self.o_proj(self.attend(q, source.k, source.v, allowed).flatten(-2))


@dataclass
class CrossCache:
    """Keys and values of the source for one layer, computed once."""

    k: Tensor
    v: Tensor
    is_real: Tensor | None

    @property
    def nbytes(self) -> int:
        return self.k.nbytes + self.v.nbytes

    def reorder(self, index: Tensor) -> None:
        self.k, self.v = self.k[index], self.v[index]
        self.is_real = None if self.is_real is None else self.is_real[index]

    def joined(self, others: Sequence[Self], index: Sequence[int], num_slots: int, used: int) -> Self:
        """Rows of this and `others`, whose sources need not be equally long: see `zoo.nn.Cache.joined`."""
        rows = [(cache, row) for cache in (self, *others) for row in range(cache.k.shape[0])]
        chosen = [rows[i] for i in index]
        longest = max(cache.k.shape[1] for cache, _ in chosen)
        k, v = (x.new_zeros(len(index), longest, *x.shape[2:]) for x in (self.k, self.v))
        is_real = torch.zeros(len(index), longest, dtype=torch.bool, device=k.device)
        for at, (cache, row) in enumerate(chosen):
            n = cache.k.shape[1]
            k[at, :n], v[at, :n] = cache.k[row], cache.v[row]
            is_real[at, :n] = True if cache.is_real is None else cache.is_real[row]
        return type(self)(k, v, None if bool(is_real.all()) else is_real)

    def rewind(self, length: int, before: int) -> None:
        pass  # the source stays

    def rewind_rows(self, lengths: Sequence[int], before: Sequence[int]) -> None:
        pass


@dataclass
class DecoderLayerCache:
    """What a decoder layer keeps: its own keys and values, and the source's once they are known."""

    own: KVCache
    source: CrossCache | None = None

    def source_of(self, cross: CrossAttention, memory: Memory) -> CrossCache:
        """Keys and values of the source, computed the first time and never again."""
        if self.source is None:
            self.source = cross.keys_and_values(memory)
        return self.source

    @property
    def nbytes(self) -> int:
        return self.own.nbytes + (0 if self.source is None else self.source.nbytes)

    @property
    def can_join(self) -> bool:
        """Whether its rows can move to another cache: once the source is known."""
        return self.source is not None and self.own.can_join

    def joined(self, others: Sequence[Self], index: Sequence[int], num_slots: int, used: int) -> Self:
        """See `zoo.nn.Cache.joined`."""
        assert self.source is not None
        own = self.own.joined([other.own for other in others], index, num_slots, used)
        sources = [other.source for other in others if other.source is not None]
        return type(self)(own, self.source.joined(sources, index, num_slots, used))

    def reorder(self, index: Tensor) -> None:
        self.own.reorder(index)
        if self.source is not None:
            self.source.reorder(index)

    def rewind(self, length: int, before: int) -> None:
        self.own.rewind(length, before)

    def rewind_rows(self, lengths: Sequence[int], before: Sequence[int]) -> None:
        self.own.rewind_rows(lengths, before)

    def look_ahead(self, num_tokens: int) -> None:
        """See `Cache.look_ahead`."""
        if isinstance(self.own, SlidingKVCache):
            self.own.look_ahead(num_tokens)
