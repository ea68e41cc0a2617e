"""How far two tensors are apart, summed block by block in float64. Needs no torch until tensors are given."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

BLOCK = 1 << 22  # elements that are widened to float64 at a time: three arrays of 32 MiB


@dataclass(frozen=True)
class Tally:
    """Sums over pairs of elements, A's and B's; NaN and infinity are counted and stay out of the sums."""

    numel: int = 0
    changed: int = 0  # elements whose values differ
    not_finite: int = 0  # of these: NaN or infinity on a side
    gap: float = 0.0  # sum of (b - a)^2
    of_a: float = 0.0  # sum of a^2
    of_b: float = 0.0
    dot: float = 0.0  # sum of a * b
    largest: float = 0.0  # |b - a|

    def __add__(self, other: Tally) -> Tally:
        sums = (self.gap + other.gap, self.of_a + other.of_a, self.of_b + other.of_b, self.dot + other.dot)
        counts = (self.numel + other.numel, self.changed + other.changed, self.not_finite + other.not_finite)
        return Tally(*counts, *sums, max(self.largest, other.largest))

    @property
    def relative(self) -> float | None:
        """|B - A| / |A| in the Frobenius norm; None where A is all zeros and B is not, or a sum overflows."""
        if self.gap == 0:
            return 0.0
        share = math.sqrt(self.gap / self.of_a) if self.of_a and math.isfinite(self.gap + self.of_a) else math.inf
        return share if math.isfinite(share) else None

    @property
    def cosine(self) -> float | None:
        """Of the angle between A and B as vectors; None where one of them is all zeros."""
        norm = math.sqrt(self.of_a) * math.sqrt(self.of_b)
        if not self.gap:
            return 1.0 if norm else None
        return max(-1.0, min(1.0, self.dot / norm)) if norm and math.isfinite(self.dot / norm) else None


def measure(a: Tensor, b: Tensor) -> tuple[bool, Tally]:
    """Whether two tensors of one shape hold the same bits in one dtype, and how far apart their values are."""
    has_same_bits, total = a.dtype == b.dtype, Tally()
    for x, y in _blocks(a, b):
        is_same = a.dtype == b.dtype and _same_bits(x, y)
        has_same_bits = has_same_bits and is_same
        total += _alone(x) if is_same else _tally(x, y)
    return has_same_bits, total


def _blocks(a: Tensor, b: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    if a.numel() <= BLOCK or a.ndim == 0:
        yield a, b
        return
    row = a.numel() // len(a)
    if row > BLOCK and a.ndim > 1:
        for x, y in zip(a, b, strict=True):
            yield from _blocks(x, y)
    else:
        yield from zip(a.split(max(1, BLOCK // row)), b.split(max(1, BLOCK // row)), strict=True)


def _same_bits(a: Tensor, b: Tensor) -> bool:
    import torch

    if not a.numel():
        return True
    whole = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}[a.element_size()]
    return torch.equal(a.contiguous().view(whole), b.contiguous().view(whole))


def _alone(a: Tensor) -> Tally:
    """The tally of a tensor and its like."""
    x = a.double().flatten()
    x = x[x.isfinite()]
    square = float(x @ x)
    return Tally(a.numel(), of_a=square, of_b=square, dot=square)


def _tally(a: Tensor, b: Tensor) -> Tally:
    x, y = a.double().flatten(), b.double().flatten()
    gap, count, odd = y - x, a.numel(), 0
    if not (fine := gap.isfinite()).all():
        alike = (x == y) | (x.isnan() & y.isnan())
        odd = int((~fine & ~alike).sum())
        x, y, gap = x[fine], y[fine], gap[fine]
    changed = int(gap.count_nonzero()) + odd
    largest = float(gap.abs().max()) if changed and gap.numel() else 0.0
    return Tally(count, changed, odd, float(gap @ gap), float(x @ x), float(y @ y), float(x @ y), largest)
