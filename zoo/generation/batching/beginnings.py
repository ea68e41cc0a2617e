"""What was kept of prompts that were read, for those that begin in the same way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from zoo.errors import UsageError

LEAST = 16  # tokens: to read fewer again costs less than to copy them


@dataclass(eq=False)
class _Kept:
    tokens: list[int]
    cache: Any


class Beginnings:
    """Caches of the prompts that were read last, within `max_bytes`."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes, self.nbytes, self.num_shared = max_bytes, 0, 0
        self._kept: list[_Kept] = []  # the one used last at the end

    def begin(self, tokens: Sequence[int], max_len: int) -> tuple[Any, int] | None:
        """A cache of `max_len` tokens that has read a beginning of `tokens`, and how many of them; None: none worth it.

        At least one token is left to be read, since what follows it is asked for.
        """
        for kept in sorted(self._kept, key=lambda kept: -common(kept.tokens, tokens)):
            count = min(common(kept.tokens, tokens), len(tokens) - 1)
            if count < LEAST:
                return None
            cache = kept.cache.joined([], [0], max_len=max(max_len, kept.cache.max_len))
            try:
                cache.rewind(count)
            except UsageError:  # a ring has overwritten what it must give back, or a prefix is kept whole
                continue
            self._kept.remove(kept)
            self._kept.append(kept)
            self.num_shared += count
            return cache, count
        return None

    def keep(self, tokens: Sequence[int], cache: Any) -> None:
        """Keep a copy of what has read these tokens and no more, and drop the oldest where there are too many bytes."""
        if len(tokens) < LEAST or any(common(kept.tokens, tokens) == len(tokens) for kept in self._kept):
            return
        copied = cache.joined([], [0], max_len=len(tokens))
        if copied.nbytes > self.max_bytes:
            return
        shorter = [kept for kept in self._kept if common(kept.tokens, tokens) == len(kept.tokens)]
        self._kept = [kept for kept in self._kept if kept not in shorter] + [_Kept(list(tokens), copied)]
        self.nbytes = sum(kept.cache.nbytes for kept in self._kept)
        while self.nbytes > self.max_bytes:
            self.nbytes -= self._kept.pop(0).cache.nbytes

    def clear(self) -> None:
        """Forget all."""
        self._kept, self.nbytes = [], 0


def common(a: Sequence[int], b: Sequence[int]) -> int:
    """Tokens at the beginning that are the same."""
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
