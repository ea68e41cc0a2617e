"""Where the tokens of one forward pass stand and whom they see, worked out once and shared by all layers.

Shapes: B batch, T new tokens, S keys.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from typing import Self

import torch
from torch import Tensor

from zoo.nn.cache import Cache
from zoo.nn.keys import NEW, Keys
from zoo.nn.mask import Mask
from zoo.nn.places import Places
from zoo.nn.rope import Rope, Rotation

Bias = Callable[[Tensor, Tensor], Tensor]  # (q [B, T, 1], k [B, 1, S]) -> additive scores [B or 1, N, T, S]


class Span(Places):
    """The places of T new tokens per row, behind those in a cache, and what layers ask of them.

    Rotary embeddings take `rotary_positions` where they are given: those of tokens that stand for images are no single
    numbers. `reach` [B or 1, T], where it is set, is the last position that each token sees under a causal mask, if it
    is a later one. Raises UsageError for an `attention_mask` of another shape than [B, T] and for a cache without room.
    """

    def __init__(
        self,
        batch_size: int,
        num_new: int,
        device: torch.device,
        *,
        attention_mask: Tensor | None = None,
        cache: Cache | None = None,
        rotary_positions: Tensor | None = None,
    ) -> None:
        if cache is not None:
            cache.check(batch_size, num_new)
        start, before = (0, None) if cache is None else (cache.length, cache.counts)
        super().__init__(
            batch_size,
            num_new,
            device,
            attention_mask=attention_mask,
            start=start,
            before=before,
            has_cache=cache is not None,
        )
        self.is_stepwise = cache is not None and cache.is_stepwise and start > 0
        self.rotary_positions = rotary_positions
        self.reach: Tensor | None = None
        self.chosen: dict[int, Tensor] = {}  # [B, T, S] of a layer by its number: keys that later ones read, too
        self._forget()

    def _forget(self) -> None:
        self._rotations: dict[int, Rotation] = {}
        self._biases: dict[tuple[int, Keys], Tensor] = {}
        self._allowed: dict[tuple[Mask, Keys], Tensor] = {}
        self._keys: dict[Keys, Tensor] = {}

    def moved(self, distance: int) -> Self:
        """The same tokens, `distance` positions later."""
        moved = copy(self)
        moved.positions = self.positions + distance
        if self.rotary_positions is not None:
            moved.rotary_positions = self.rotary_positions + distance
        moved._forget()
        return moved

    def own(self, x: Tensor) -> Tensor:
        """What of x [B, T, ...] goes with a layer's states: all, unless ranks have those of a part of the tokens."""
        return x

    def rotation(self, rope: Rope, dtype: torch.dtype) -> Rotation:
        """cos and sin of `rope` at the new positions, computed by the first layer that asks."""
        if id(rope) not in self._rotations:
            lengths = self.lengths if rope.depends_on_length else None
            positions = self.positions if self.rotary_positions is None else self.rotary_positions
            self._rotations[id(rope)] = rope(positions, dtype, lengths)
        return self._rotations[id(rope)]

    def bias(self, bias: Bias, keys: Keys = NEW) -> Tensor:
        """What `bias` adds to the scores of the new queries and these keys, computed by the first layer that asks."""
        key = (id(bias), keys)
        if key not in self._biases:
            self._biases[key] = bias(self.positions[:, :, None], self.key_positions(keys)[:, None, :])
        return self._biases[key]

    def key_positions(self, keys: Keys = NEW) -> Tensor:
        """Positions [B or 1, S] of these keys, below 0 where there is none."""
        if keys not in self._keys:
            self._keys[keys] = keys.positions(self)
        return self._keys[keys]

    def allowed(self, mask: Mask, keys: Keys = NEW) -> Tensor | None:
        """Who may attend to whom, [B or 1, T, S]; None: everyone, to every key or (see `is_causal`) every earlier."""
        if self._needs_no_mask(mask, keys):
            return None
        key = (mask, keys)
        if key not in self._allowed:
            self._allowed[key] = self._build(mask, keys)
        return self._allowed[key]

    def is_causal(self, mask: Mask, keys: Keys = NEW) -> bool:
        """Whether plain causal attention, queries and keys being the same tokens, is what `mask` asks for."""
        return self.num_new > 1 and mask.is_causal and self.allowed(mask, keys) is None

    def is_banded(self, mask: Mask, keys: Keys = NEW) -> bool:
        """Whether keys and queries stand in order, so that a window can be cut out of them by index."""
        if mask.window is None or not mask.is_bounded:
            return False
        if self.reaches(mask) or self.documents is not None:
            return False
        return self.num_new > mask.window and keys.are_consecutive(self)

    def seen(self, mask: Mask, keys: Keys, q: Tensor, k: Tensor) -> Tensor:
        """Who of the queries at q [B or 1, T, 1] sees which of these keys, or of some of them at k [B or 1, 1, S]."""
        allowed = mask(q, k)
        if self.reaches(mask) and self.reach is not None:
            allowed = allowed | ((k > q) & (k <= self.reach[:, :, None]))
        if self.documents is not None:
            allowed = allowed & (self.documents[:, :, None] == self.documents[:, None, :])
        if not keys.are_complete(self):
            allowed = allowed & (k >= 0)
        if self.may_have_padding:
            # A query without a key, which only padding is, sees them all: a row of softmax without keys is NaN.
            allowed = allowed | ~allowed.any(-1, keepdim=True)
        return allowed

    def reaches(self, mask: Mask) -> bool:
        """Whether `reach` counts for layers with this mask."""
        return self.reach is not None and mask.is_causal

    def _needs_no_mask(self, mask: Mask, keys: Keys) -> bool:
        return not self.reaches(mask) and keys.need_no_mask(mask, self)

    def _build(self, mask: Mask, keys: Keys) -> Tensor:
        return self.seen(mask, keys, self.positions[:, :, None], self.key_positions(keys)[:, None, :])


class ColumnSpan(Span):
    """Places that count columns, as encoders with distances do: what is masked within a text takes up room too.

    They are counted from each row's first real token, so that a text stands where it does without padding.
    """

    def _place_rows(self, batch_size: int) -> None:
        super()._place_rows(batch_size)
        assert self.padding is not None
        columns, first = torch.arange(self.num_new, device=self.device), self.padding.long().argmax(1)
        self.positions = (columns - first[:, None]).clamp(min=0)  # [B, T]
