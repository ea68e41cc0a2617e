"""Who may attend to whom, as a function of absolute positions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Mask:
    """mask(q, k) tells, True = may attend, for query positions q [B, T, 1] and key positions k [B, 1, S]."""

    is_causal: bool = True
    window: int | None = None  # keys seen, the query's own among them; a two-sided mask sees that far both ways

    @property
    def is_plain(self) -> bool:
        """Whether `is_causal` and `window` tell all of it, so that work can be spared: not where a subclass decides."""
        return type(self).__call__ is Mask.__call__

    @property
    def is_bounded(self) -> bool:
        """Whether all that a token sees is among the last `window`, which are then all that need be kept."""
        return self.is_plain and self.is_causal and self.window is not None

    def hides_none_of(self, length: int) -> bool:
        """Whether in a text of so many tokens nothing is hidden, or later tokens alone where it is causal."""
        return self.is_plain and (self.window is None or self.window >= length)

    def blocks(self, num_new: int, start: int | None) -> Iterator[tuple[int, int, int]]:
        """A bounded mask in pieces: queries from a to b, and how many keys before a they may see.

        `start` is the position of the first query, None where rows differ in it.
        """
        assert self.window is not None
        for a in range(0, num_new, self.window):
            yield a, min(a + self.window, num_new), self.window - 1

    def __call__(self, q: Tensor, k: Tensor) -> Tensor:
        allowed = k <= q if self.is_causal else (k == k) & (q == q)
        if self.window is None:
            return allowed
        allowed = allowed & (k > q - self.window)
        return allowed if self.is_causal else allowed & (k < q + self.window)


causal = Mask()
everything = Mask(is_causal=False)


def sliding(window: int) -> Mask:
    """Causal attention to the last `window` positions, the query's own among them (arXiv:2310.06825)."""
    return Mask(window=window)


@dataclass(frozen=True)
class ChunkMask(Mask):
    """Causal attention within chunks: position p sees those from p - p % window on (the released code of Llama 4)."""

    @property
    def is_bounded(self) -> bool:
        return True

    def hides_none_of(self, length: int) -> bool:
        return self.window is not None and self.window >= length

    def blocks(self, num_new: int, start: int | None) -> Iterator[tuple[int, int, int]]:
        """Whole chunks, which see nothing before them; the first may have begun earlier."""
        if start is None or self.window is None:
            yield from super().blocks(num_new, start)
            return
        a, before = 0, start % self.window
        while a < num_new:
            b = min(a + self.window - before, num_new)
            yield a, b, before
            a, before = b, 0

    def __call__(self, q: Tensor, k: Tensor) -> Tensor:
        assert self.window is not None
        return super().__call__(q, k) & (q // self.window == k // self.window)


def chunked(size: int) -> Mask:
    """Causal attention within chunks of `size` positions, counted from the text's first token."""
    return ChunkMask(window=size)
