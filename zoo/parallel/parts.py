"""A rank's part of the tokens of each text, as layers see it: its places, and the keys and values of all before it.

Shapes: B batch, t tokens of the part, S keys up to its last, K key/value heads, H head dim.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import Tensor

from zoo.nn.cache import Cache
from zoo.nn.keys import SLOTS, Keys
from zoo.nn.span import Span
from zoo.parallel.exchange import met
from zoo.parallel.sums import Ranks


class TextPart(Span):
    """Some of the tokens of a pass, behind those before them as if a cache held these."""

    def __init__(self, whole: Span, attention_mask: Tensor | None, first: int, end: int) -> None:
        rows = len(whole.positions) if attention_mask is None else len(attention_mask)
        before = Cache([], rows, whole.start + end)
        before.length, before.is_stepwise = whole.start + first, whole.is_stepwise
        mask = None if attention_mask is None else attention_mask[:, first:end].bool()
        if whole.before is not None:
            assert whole.padding is not None
            before.counts = whole.before + whole.padding[:, :first].sum(1)
        super().__init__(rows, end - first, whole.device, attention_mask=mask, cache=before)
        self.whole, self.first, self.end = whole, first, end
        self.rows = rows
        self._found: list[tuple[Tensor, Keys]] = []

    def cache(self, ranks: Ranks, layers: Iterable[Any]) -> Cache:
        """What stands for the caches of the layers, or for none, while this part is read."""
        held: list[Any] = [GatheredKeys(ranks, self, layer) for layer in layers]
        found = Cache(held, self.rows, self.start + self.num_new)
        found.length = self.start
        return found

    def keys_at(self, positions: Tensor) -> Keys:
        """Keys at positions that all layers share, and with them their masks."""
        found = next((keys for held, keys in self._found if held.shape == positions.shape), None)
        if found is None:
            found = Keys(positions)
            self._found.append((positions, found))
        return found

    @property
    def lengths(self) -> Tensor:
        """Those of the whole texts."""
        found = self.whole.lengths
        self.depends_on_length = True
        return found


class GatheredKeys:
    """Keys and values of all ranks, kept in the cache of a layer where there is one."""

    nbytes = 0

    def __init__(self, ranks: Ranks, part: TextPart, cache: Any) -> None:
        self.ranks, self.part, self.cache = ranks, part, cache

    def append(self, k: Tensor, v: Tensor, span: Any) -> tuple[Tensor, Tensor, Keys]:
        """See zoo.nn.KVCache."""
        whole, end = self.part.whole, self.part.end
        k, v = met((k, v), self.ranks, 1, whole.num_new)
        if self.cache is not None:
            held = self.cache.append(k, v, whole)
            if whole.start > 0:
                return held[0], held[1], self.part.keys_at(held[2].positions(whole))
        k, v = k[:, :end], v[:, :end]
        if whole.counts is None:
            return k, v, SLOTS
        assert whole.padding is not None
        return k, v, self.part.keys_at(whole.positions.masked_fill(~whole.padding, -1)[:, :end])
