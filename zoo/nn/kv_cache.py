"""Preallocated memories of keys and values.

Shapes: B batch, T new tokens, S keys, K key/value heads, H head dim, W window.
A row's token number p (padding not counted) lives in slot p, or in a ring in p modulo its slots: a slot's number is its
position, so padding is never stored and left- and right-padded batches cost the same.
What was taken back stays in its slot until it is overwritten: a ring then takes it for a token that is a turn older,
which is further back than W and so is hidden.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from typing import Any, Self

import torch
from torch import Tensor

from zoo.errors import UsageError
from zoo.nn.keys import NEW, SLOTS, Keys, LatestKeys, RingKeys, TracedKeys
from zoo.nn.places import Places
from zoo.nn.unwritten import Unwritten, room


class KVCache:
    """Keys [B, K, S, H] and values of one layer that attends to everything before it."""

    def __init__(
        self,
        batch_size: int,
        max_len: int,
        num_kv_heads: int,
        head_dim: int,
        *,
        v_dim: int | None = None,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
        is_guess: bool = False,
    ) -> None:
        self._is_guess = is_guess  # of dtype and device, which the first keys then decide
        self.k: Any = room(batch_size, num_kv_heads, max_len, head_dim, dtype=dtype, device=device)
        self.v: Any = room(batch_size, num_kv_heads, max_len, v_dim or head_dim, dtype=dtype, device=device)

    @property
    def nbytes(self) -> int:
        return self.k.nbytes + self.v.nbytes

    def reorder(self, index: Tensor) -> None:
        self.k, self.v = self.k.index_select(0, index), self.v.index_select(0, index)

    def rewind(self, length: int, before: int) -> None:
        pass  # later slots are overwritten before they are read

    def rewind_rows(self, lengths: Sequence[int], before: Sequence[int]) -> None:
        pass  # nor does it matter how far each row goes back

    @property
    def can_join(self) -> bool:
        """Whether its rows can move to another cache as they are: not where they are rounded."""
        return isinstance(self.k, Tensor)

    def joined(self, others: Sequence[Self], index: Sequence[int], num_slots: int, used: int) -> Self:
        """See `Cache.joined`; of every row, the first `used` slots hold all that there is."""
        rows = [(cache, row) for cache in (self, *others) for row in range(cache.k.shape[0])]
        whole = copy(self)
        whole.k, whole.v = (x.new_zeros(len(index), x.shape[1], num_slots, x.shape[3]) for x in (self.k, self.v))
        for at, (cache, row) in enumerate(rows[i] for i in index):
            n = min(used, num_slots, cache.k.shape[2])
            whole.k[at, :, :n], whole.v[at, :, :n] = cache.k[row, :, :n], cache.v[row, :, :n]
        return whole

    def be_like(self, k: Tensor, v: Tensor) -> None:
        """Take the dtype and device of the first keys and values, where those of the cache were guessed."""
        if isinstance(self.k, Unwritten):
            self.k, self.v = self.k.zeros(), self.v.zeros()
        if self._is_guess:
            self.k, self.v, self._is_guess = self.k.to(k), self.v.to(v), False

    def append(self, k: Tensor, v: Tensor, span: Places) -> tuple[Tensor, Tensor, Keys]:
        """Store k, v [B, T, K, H]; give all keys and values to attend to [B, S, K, H], and where the keys stand."""
        k, v, keys = self.take(k.transpose(1, 2), v.transpose(1, 2), span)
        return k.transpose(1, 2), v.transpose(1, 2), keys

    def take(self, k: Tensor, v: Tensor, span: Places) -> tuple[Tensor, Tensor, Keys]:
        """The same with heads before tokens, as they are kept: k, v [B, K, T, H] to [B, K, S, H]."""
        self.be_like(k, v)
        end = span.start + span.num_new
        for held, new in ((self.k, k), (self.v, v)):
            if span.counts is None:
                held[:, :, span.start : end] = new
            else:
                row, column = span.stored(None)
                held[row, :, span.stood(None)] = new[row, :, column].to(held.dtype)  # autocast makes others
        return self.k[:, :, :end], self.v[:, :, :end], SLOTS


class SlidingKVCache(KVCache):
    """A ring of the last W tokens, for a layer that sees no further; `like` is what KVCache takes besides.

    After `look_ahead` it has more slots than W: so many tokens may be taken back at a time after it has turned.
    """

    def __init__(
        self,
        batch_size: int,
        max_len: int,
        num_kv_heads: int,
        head_dim: int,
        *,
        window: int,
        v_dim: int | None = None,
        **like: Any,
    ) -> None:
        self.window, self.max_len, self._sight = min(window, max_len), max_len, window
        super().__init__(batch_size, self.window, num_kv_heads, head_dim, **like)
        self._highest: list[int] | None = None  # tokens that rows had before they were first rewound, or later
        self._name_keys()

    def look_ahead(self, num_tokens: int) -> None:
        """Take slots for tokens that may be taken back again; only while nothing is stored."""
        slots = min(self.window + num_tokens, self.max_len)
        self.k, self.v = (x.new_zeros(*x.shape[:2], slots, x.shape[3]) for x in (self.k, self.v))
        self._name_keys()

    @property
    def can_join(self) -> bool:
        """Whether its rows can move to another cache as they are; a ring with slots to spare stands by itself."""
        return super().can_join and self._size == self.window

    def joined(self, others: Sequence[Self], index: Sequence[int], num_slots: int, used: int) -> Self:
        """See `Cache.joined`: rings that have turned are as large as they may be, and so equally large."""
        slots = min(self._sight, num_slots)
        whole = super().joined(others, index, slots, slots)
        whole.window, whole.max_len, whole._highest = slots, num_slots, None
        whole._name_keys()
        return whole

    def _name_keys(self) -> None:
        self._size = self.k.shape[2]
        spare = self._size - self.window
        self._ring, self._latest = RingKeys(self.window, spare), LatestKeys(self.window, spare)

    def reorder(self, index: Tensor) -> None:
        super().reorder(index)
        if self._highest is not None and len(self._highest) > 1:
            self._highest = [self._highest[i] for i in index.tolist()]

    def rewind(self, length: int, before: int) -> None:
        self.rewind_rows([length], [before])

    def rewind_rows(self, lengths: Sequence[int], before: Sequence[int]) -> None:
        held = self._highest or [0]
        held = held if len(held) == len(before) else [max(held)] * len(before)
        highest = [max(pair) if length else 0 for *pair, length in zip(held, before, lengths, strict=True)]
        for length, seen in zip(lengths, highest, strict=True):
            if seen > self._size and seen - length > self._size - self.window:
                raise UsageError(
                    f"a ring of {self._size} tokens that has seen {seen} cannot be rewound to {length}",
                    hint="generate without draft=",
                )
        self._highest = highest

    def take(self, k: Tensor, v: Tensor, span: Places) -> tuple[Tensor, Tensor, Keys]:
        self.be_like(k, v)
        if span.num_new == 1 and span.counts is None:
            if torch.compiler.is_compiling():
                self._store(k, v, span)
                return self.k, self.v, TracedKeys(self._size)
            slot = span.start % self._size
            self.k[:, :, slot : slot + 1], self.v[:, :, slot : slot + 1] = k, v
            seen = min(span.start + 1, self._size)  # the ring's order does not matter to one query
            return self.k[:, :, :seen], self.v[:, :, :seen], self._latest
        if span.start == 0:
            self._store(k, v, span)
            return _as_kept(k, self.k), _as_kept(v, self.v), NEW
        past = slice(None) if span.counts is not None else span.ring_order(self.window, self._size)
        keys = torch.cat((self.k[:, :, past], _as_kept(k, self.k)), 2)
        values = torch.cat((self.v[:, :, past], _as_kept(v, self.v)), 2)
        self._store(k, v, span)
        return keys, values, self._ring

    def _store(self, k: Tensor, v: Tensor, span: Places) -> None:
        for held, new in ((self.k, k), (self.v, v)):
            if span.counts is None:
                last = new[:, :, -self._size :].to(held.dtype)
                end = span.start + span.num_new
                slots = torch.arange(end - last.shape[2], end, device=new.device) % self._size
                held[:, :, slots] = last
            else:
                row, column = span.stored(self._size)
                held[row, :, span.stood(self._size) % self._size] = new[row, :, column].to(held.dtype)


def _as_kept(new: Tensor, held: Any) -> Tensor:
    """New keys or values as they will be read later: in fewer bits where they are rounded, whatever the pass."""
    return new if isinstance(held, Tensor) else held.rounded(new)
