"""What a model remembers of the tokens it has read, layer by layer.

Shapes: B batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from typing import Protocol, Self

import torch
from torch import Tensor

from zoo.errors import UsageError
from zoo.nn.places import Places


class LayerCache(Protocol):
    """What one layer remembers; one of keys and values gives them in `append`, as zoo.nn.KVCache does.

    One whose rows can forget different numbers of tokens has `rewind_rows(lengths, before)` besides, with a number for
    each row; one that overwrites old tokens may have `look_ahead(num_tokens)`, which keeps so many longer. One whose
    rows can move to another cache has `joined(others, index, num_slots, used)`: see `Cache.joined`.
    """

    @property
    def nbytes(self) -> int:
        """Bytes allocated."""
        ...

    def reorder(self, index: Tensor) -> None:
        """Keep row index[b] as row b."""
        ...

    def rewind(self, length: int, before: int) -> None:
        """Forget all but the first `length` of `before` tokens. Raises UsageError if they are no longer held."""
        ...


class NoCache:
    """What a layer remembers that keeps nothing: one that reads another's keys, or that another rank has."""

    nbytes = 0

    def reorder(self, index: Tensor) -> None:
        pass

    def rewind(self, length: int, before: int) -> None:
        pass

    def rewind_rows(self, lengths: Sequence[int], before: Sequence[int]) -> None:
        pass

    def joined(self, others: Sequence[Self], index: Sequence[int], num_slots: int, used: int) -> Self:
        return self


class Cache:
    """What a whole model remembers of the tokens it has read; `length` counts columns, padding included."""

    def __init__(self, layers: list[LayerCache], batch_size: int, max_len: int) -> None:
        self.layers, self.batch_size, self.max_len = layers, batch_size, max_len
        self.length = 0
        self.is_stepwise = False  # see look_ahead
        self._device: torch.device | None = None  # of what was read
        self.counts: Tensor | None = None  # [B] real tokens per row; None: `length` in every row
        self.depends_on_length = False  # whether what is kept of a token may depend on how long its text was

    @property
    def nbytes(self) -> int:
        """Bytes allocated over all layers."""
        return sum(layer.nbytes for layer in self.layers)

    def check(self, batch_size: int, num_new: int) -> None:
        """Raise UsageError if `num_new` more tokens of `batch_size` rows do not fit."""
        if batch_size != self.batch_size:
            raise UsageError(f"the cache has {self.batch_size} rows, the tokens have {batch_size}")
        if self.length + num_new > self.max_len:
            raise UsageError(
                f"the cache holds {self.max_len} tokens and has {self.length}; {num_new} more do not fit",
                hint="make it larger: model.new_cache(batch_size, max_len)",
            )

    @property
    def can_rewind(self) -> bool:
        """Whether every layer can forget its last tokens, as drafts need; a state cannot."""
        return all(getattr(layer, "can_rewind", True) for layer in self.layers)

    @property
    def can_rewind_rows(self) -> bool:
        """Whether rows can forget different numbers of tokens, as drafts for a batch need."""
        return self.can_rewind and all(hasattr(layer, "rewind_rows") for layer in self.layers)

    def look_ahead(self, num_tokens: int) -> None:
        """Make room to forget so many tokens at a time, even where old ones are overwritten, before anything is read.

        From then on each token of a pass is taken as the last one of its text where angles or scores depend on the
        length of that: what several at once give is what they give one by one.
        """
        self.is_stepwise = True
        for layer in self.layers:
            if hasattr(layer, "look_ahead"):
                layer.look_ahead(num_tokens)

    def advance(self, span: Places) -> None:
        """Count the tokens of a finished forward pass."""
        self.length += span.num_new
        self.counts, self._device = span.counts, span.device
        self.depends_on_length |= span.depends_on_length

    @property
    def row_lengths(self) -> list[int]:
        """Real tokens of each row."""
        return [self.length] * self.batch_size if self.counts is None else self.counts.tolist()

    def joined(self, others: Sequence[Self], index: Sequence[int], *, max_len: int) -> Self:
        """Rows `index` of this cache and `others`, numbered one after the other, as a cache of `max_len` tokens.

        What is joined are copies; see zoo.nn.joining for which caches can be.
        """
        lengths = [length for cache in (self, *others) for length in cache.row_lengths]
        kept = [lengths[i] for i in index]
        whole = copy(self)
        whole.layers = [
            getattr(layer, "joined")([other.layers[i] for other in others], index, max_len, max(kept))  # noqa: B009
            for i, layer in enumerate(self.layers)
        ]
        whole.batch_size, whole.max_len, whole.length = len(index), max_len, max(kept)
        whole.counts = None if len(index) == 1 else torch.tensor(kept, device=self._device)
        return whole

    def reorder(self, index: Tensor) -> None:
        """Keep row index[b] as row b, as beam search needs."""
        for layer in self.layers:
            layer.reorder(index)
        self.batch_size = len(index)
        if self.counts is not None:
            self.counts = self.counts[index]

    def rewind(self, length: int) -> None:
        """Forget all but the first `length` columns, as a rejected draft needs.

        Raises UsageError for padded rows, for states, and where a ring has already overwritten what it must give back.
        """
        if self.counts is not None or not 0 <= length <= self.length:
            raise UsageError(
                f"a cache of {self.length} tokens cannot be rewound to {length}, and a cache of padded rows never can"
            )
        for layer in self.layers:
            layer.rewind(length, self.length)
        self.length = length

    def rewind_rows(self, lengths: Sequence[int]) -> None:
        """Forget all but the first `lengths[b]` real tokens of row b, padding not counted.

        Raises UsageError for states, and where a ring has already overwritten what it must give back.
        """
        before = self.row_lengths
        if not all(0 <= length <= seen for length, seen in zip(lengths, before, strict=True)):
            raise UsageError(f"a cache of {before} tokens cannot be rewound to {[*lengths]}")
        for layer in self.layers:
            getattr(layer, "rewind_rows", _refuse)(lengths, before)
        self.counts = torch.tensor([*lengths], device=self._device)
        self.length = max(lengths)


def _refuse(lengths: Sequence[int], before: Sequence[int]) -> None:
    raise UsageError("the rows of this cache cannot forget different numbers of tokens", hint="generate without draft=")


class SettledCache(Cache):
    """A cache whose first `settled` columns have seen later ones among them, as those of an image or a prefix do."""

    settled: int = 0
    _settled_rows: list[int] | None = None  # real tokens among them, where rows are padded

    def settle(self) -> None:
        """Let what was read so far be kept whole from now on."""
        self.settled, self._settled_rows = self.length, None if self.counts is None else self.counts.tolist()

    def rewind_rows(self, lengths: Sequence[int]) -> None:
        """Forget all but the first tokens of each row. Raises UsageError for a part of those that belong together."""
        kept = self._settled_rows or [self.settled] * self.batch_size
        if any(length < least for length, least in zip(lengths, kept, strict=True)):
            raise UsageError(f"the cache cannot be rewound to {[*lengths]}: tokens before have seen later ones")
        super().rewind_rows(lengths)

    def joined(self, others: Sequence[Self], index: Sequence[int], *, max_len: int) -> Self:
        """See `Cache.joined`."""
        rows = [kept for cache in (self, *others) for kept in cache._settled_rows or [cache.settled] * cache.batch_size]
        whole = super().joined(others, index, max_len=max_len)
        whole._settled_rows = [rows[i] for i in index]
        whole.settled = max(whole._settled_rows)
        return whole

    def reorder(self, index: Tensor) -> None:
        """Keep row index[b] as row b."""
        super().reorder(index)
        if self._settled_rows is not None:
            self._settled_rows = [self._settled_rows[i] for i in index.tolist()]

    def rewind(self, length: int) -> None:
        """Forget all but the first `length` columns. Raises UsageError for a part of those that belong together."""
        if 0 < length < self.settled:
            raise UsageError(
                f"the cache cannot be rewound to {length}: some of its first {self.settled} tokens have seen later ones"
            )
        super().rewind(length)
        self.settled = self.settled if length else 0
