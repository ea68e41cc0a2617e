"""A model beside its cache, which follows rows of tokens as they grow and as guesses are taken back.

Shapes: R rows, T tokens, V vocab.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from zoo.errors import UsageError
from zoo.generation.protocols import LanguageModel, device_of


class Reader:
    """Reads the new tokens of every row in one pass; rows need not have equally many, nor any."""

    def __init__(self, model: LanguageModel, cache: Any, lengths: Sequence[int]) -> None:
        """`lengths` are the real tokens of each row that the cache holds."""
        self.model, self.cache, self.lengths = model, cache, list(lengths)

    @property
    def room(self) -> int:
        """Tokens that still fit, for every row."""
        return self.cache.max_len - max(self.lengths)

    def read(self, new: Sequence[Sequence[int]], *, last: bool = False) -> Tensor:
        """Logits [R, T, V] of the new tokens, which stand on the right; [R, 1, V] with `last`."""
        width = max(map(len, new))
        device = device_of(self.model)
        tokens = torch.tensor([[0] * (width - len(row)) + [*row] for row in new], device=device)
        mask = None
        if any(len(row) < width for row in new):
            counts = torch.tensor([len(row) for row in new], device=device)
            mask = torch.arange(width, device=device) >= width - counts[:, None]
        self.lengths = [held + len(row) for held, row in zip(self.lengths, new, strict=True)]
        return self.model(tokens, attention_mask=mask, cache=self.cache, last=last)

    def rewind(self, lengths: Sequence[int]) -> None:
        """Forget all but the first `lengths[r]` real tokens of row r."""
        is_even = getattr(self.cache, "counts", None) is None and len({*lengths}) == len({*self.lengths}) == 1
        if is_even and lengths[0] != self.lengths[0]:
            self.cache.rewind(lengths[0])
        elif not is_even and (list(lengths) != self.lengths or self.cache.length != max(lengths)):
            self.cache.rewind_rows(list(lengths))
        self.lengths = list(lengths)


def rewindable(cache: Any, num_rows: int, ahead: int) -> Any:
    """An empty cache, made ready for rows to forget `ahead` tokens at a time.

    Raises UsageError for one whose rows cannot, as those of a state of which nothing more is kept.
    """
    if hasattr(cache, "look_ahead"):
        cache.look_ahead(ahead)
    if not hasattr(cache, "rewind") or not getattr(cache, "can_rewind", True):
        raise UsageError(
            "a draft needs a cache that can drop tokens, and the cache of this model cannot",
            hint="generate without draft=",
        )
    if num_rows > 1 and not (hasattr(cache, "rewind_rows") and getattr(cache, "can_rewind_rows", True)):
        raise UsageError(
            f"a draft for {num_rows} texts at once needs a cache whose rows can drop different numbers of tokens, and "
            "the cache of this model cannot",
            hint="give one prompt at a time, or generate without draft=",
        )
    return cache
