"""A text of a prefix, all of which sees all of itself, and what is generated after it, from left to right.

Apart from model.py because it is not about layers: it finds the prefix in the tokens, and keeps it in the cache.

Shapes: B batch, T new tokens, S keys.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from zoo.errors import UsageError
from zoo.nn import Cache, Keys, LayerCache, Mask, Places, Span, has_values


@dataclass(frozen=True)
class Marks:
    """The tokens that say where the prefix ends (<sop>) and where in it the generated text belongs."""

    sop: int
    mask: int
    gmask: int


@dataclass(frozen=True)
class Prefix:
    """Per row [B, 1]: how many tokens stand before <sop>, and the position of the mask among them."""

    length: Tensor
    target: Tensor

    def __getitem__(self, index: Tensor | list[int]) -> Prefix:
        return Prefix(self.length[index], self.target[index])


class PrefixCache(Cache):
    """A cache that remembers each row's prefix."""

    needs_whole_prompt = True

    def __init__(self, layers: list[LayerCache], batch_size: int, max_len: int) -> None:
        super().__init__(layers, batch_size, max_len)
        self.prefix: Prefix | None = None

    def advance(self, span: Places) -> None:
        super().advance(span)
        assert isinstance(span, PrefixSpan)
        self.prefix = span.prefix

    def reorder(self, index: Tensor) -> None:
        super().reorder(index)
        self.prefix = None if self.prefix is None else self.prefix[index]

    def joined(self, others: Sequence[Self], index: Sequence[int], *, max_len: int) -> Self:
        whole = super().joined(others, index, max_len=max_len)
        found = [cache.prefix for cache in (self, *others) if cache.prefix is not None]  # of all: each has read one
        whole.prefix = Prefix(torch.cat([p.length for p in found]), torch.cat([p.target for p in found]))[[*index]]
        return whole

    def rewind(self, length: int) -> None:
        """Forget all but the first `length` columns. Raises UsageError for a part of a prefix: it saw the rest."""
        if self.prefix is not None and 0 < length < (kept := int(self.prefix.length.max())):
            raise UsageError(f"a prefix of {kept} tokens that have seen each other cannot be rewound to {length}")
        super().rewind(length)
        self.prefix = self.prefix if length else None

    def rewind_rows(self, lengths: Sequence[int]) -> None:
        """Forget all but the first tokens of each row. Raises UsageError for a part of a prefix: it saw the rest."""
        kept = [0] if self.prefix is None else self.prefix.length.flatten().tolist()
        if any(length < least for length, least in zip(lengths, kept, strict=False)):
            raise UsageError(f"prefixes of {kept} tokens that have seen each other cannot be rewound to {[*lengths]}")
        super().rewind_rows(lengths)


class PrefixSpan(Span):
    """A span in which the tokens before <sop> see one another, and the others them and what is before themselves.

    A token of the prefix has positions (its number, 0); the ones from <sop> on have the position of the mask and 1, 2,
    3... A row without <sop> is all prefix, but not with a cache: a prefix is read in one pass or not at all.
    """

    def __init__(
        self,
        tokens: Tensor,
        marks: Marks,
        *,
        attention_mask: Tensor | None = None,
        cache: PrefixCache | None = None,
        positions: Tensor | None = None,
    ) -> None:
        batch_size, num_new = tokens.shape
        super().__init__(batch_size, num_new, tokens.device, attention_mask=attention_mask, cache=cache)
        held = None if cache is None else cache.prefix
        self.prefix = self._find(tokens, marks, is_kept=cache is not None) if held is None else held
        self.rotary_positions = self._numbers() if positions is None else positions.transpose(1, 2)

    def _find(self, tokens: Tensor, marks: Marks, *, is_kept: bool) -> Prefix:
        at, none = self.positions.expand_as(tokens), self.lengths[:, None].expand(tokens.shape[0], 1)

        def first(token: int) -> Tensor:
            hits = tokens == token if self.padding is None else (tokens == token) & self.padding
            return torch.where(hits, at, none).amin(1, keepdim=True)

        length, mask, gmask = first(marks.sop), first(marks.mask), first(marks.gmask)
        target = torch.where(gmask < length, gmask, mask)
        if has_values(tokens):
            if is_kept and bool((endless := length == none).any()):
                raise UsageError(
                    f"row {int(endless.int().argmax())} of the tokens has no <sop> (token {marks.sop})",
                    why="the tokens before it see each other, so they are read in one pass",
                    hint=f"end the prompt with [gMASK] <sop>, tokens {marks.gmask} and {marks.sop}",
                )
            if bool((aimless := (length < none) & (target >= length)).any()):
                raise UsageError(
                    f"row {int(aimless.int().argmax())} of the tokens has neither [gMASK] (token {marks.gmask}) nor "
                    f"[MASK] (token {marks.mask}) before its <sop>",
                    why="its place is the position of everything that is generated",
                )
        return Prefix(length, target)

    def _numbers(self) -> Tensor:
        """Both positions [B, T, 2] of each token."""
        after = self.positions - self.prefix.length + 1
        first = torch.where(after < 1, self.positions, self.prefix.target)
        return torch.stack((first, after.clamp(min=0)), -1)

    def _needs_no_mask(self, mask: Mask, keys: Keys) -> bool:
        return self.num_new == 1 and super()._needs_no_mask(mask, keys)  # one token more sees everything before it

    def _build(self, mask: Mask, keys: Keys) -> Tensor:
        return super()._build(_OrPrefix(length=self.prefix.length), keys)


@dataclass(frozen=True, eq=False, kw_only=True)
class _OrPrefix(Mask):
    """Causal attention, and attention to all of the prefix."""

    length: Tensor

    def __call__(self, q: Tensor, k: Tensor) -> Tensor:
        return super().__call__(q, k) | (k < self.length[:, :, None])
