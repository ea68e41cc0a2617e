"""What a decoder keeps of the images it has seen, and how their tokens enter it.

Shapes: B batch, T tokens, D hidden.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor

from zoo.errors import UsageError
from zoo.nn import SettledCache, Span, has_values


class PlaceCache(SettledCache):
    """Remembers besides how far each row's positions are ahead of its number of tokens: `rope_deltas` elsewhere."""

    offsets: Tensor | None = None  # [B]; None: no row has seen an image

    def reorder(self, index: Tensor) -> None:
        super().reorder(index)
        if self.offsets is not None:
            self.offsets = self.offsets[index]

    def joined(self, others: Sequence[Self], index: Sequence[int], *, max_len: int) -> Self:
        whole = super().joined(others, index, max_len=max_len)
        held = [
            torch.zeros(cache.batch_size, dtype=torch.long, device=self._device)
            if cache.offsets is None
            else cache.offsets
            for cache in (self, *others)
        ]
        whole.offsets = torch.cat(held)[[*index]] if any(c.offsets is not None for c in (self, *others)) else None
        return whole

    def rewind(self, length: int) -> None:
        super().rewind(length)
        self.offsets = self.offsets if length else None


class SeeingSpan(Span):
    """A span whose tokens may stand for images; `deep` are states [B, T, D] for the first layers to add there."""

    deep: Sequence[Tensor] = ()


def put(x: Tensor, where: Tensor, states: Tensor) -> Tensor:
    """x [B, T, D] with `states` [n, D] in the n places `where`. Raises UsageError for another number of places."""
    if has_values(x) and (places := int(where.sum())) != len(states):
        raise UsageError(f"the text has {places} places for tokens of images or videos, and there are {len(states)}")
    return x.masked_scatter(where[..., None], states.to(x.dtype))
