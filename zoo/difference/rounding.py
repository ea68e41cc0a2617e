"""Whether one weight is another rounded, and what of their difference rounding does not explain.

Rounding to nearest leaves errors of up to half a step, whose root mean square is step / sqrt(12); a calibrated rounding
leaves up to some times that, evenly spread. What is swapped, permuted or wrongly scaled leaves more, or leaves it in
some rows, columns or groups only, or has numbers that follow the original's by another factor than 1.
N rows, K columns.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from zoo.difference.grid import Grid

if TYPE_CHECKING:
    from torch import Tensor

BAND = 1 << 21  # numbers at a time
MOST = 3.0  # times the error of rounding to nearest: calibration moves numbers further than that from no matrix
NEAREST = 1.5  # up to here in times: rounded to nearest
UNEVEN = 2.5  # rows, columns and groups may err by so many times as much as the whole
FEW = 2.2  # times the error of rounding to nearest that a row may have by chance
HALF = 0.6  # of a float's step: a half, and what a second rounding to 16 bits adds
LOWEST_COSINE = 0.4  # of a row or column with its original: two bits leave 0.8
SHORTEST = 16  # numbers of a row or column whose cosine says something
SIGMAS = 6.0
CLIPPED = 4e-3  # of a row: a scale that was rounded to 8 bits of mantissa cuts its largest number off by so much
CUT = 1.0  # of an error: codes of one sign reach a step further than those of the other, which cuts some off
CLEAR = 4.0  # times the energy of its rounding that a row or column has, so that its cosine says something


@dataclass(frozen=True)
class Fit:
    """How B's numbers lie about A's: in times of what rounding to nearest leaves, and what is beyond any rounding."""

    words: str  # of the rounding
    relative: float  # |B - A| / |A|
    times: float  # of the error that rounding to nearest leaves
    beyond: tuple[str, ...] = ()
    is_float: bool = False

    @property
    def is_nearest(self) -> bool:
        """Whether it may have been rounded to nearest."""
        return self.times <= NEAREST


@dataclass
class _Sums:
    """Sums along one direction of a matrix: of each row, or of each column."""

    gap: Tensor  # of (b - a)^2
    left: Tensor  # of step^2 / 12
    a: Tensor  # of a^2
    b: Tensor
    dot: Tensor
    count: int  # numbers of each

    def times(self) -> Tensor:
        return (self.gap / self.left.clamp(min=1e-300)).sqrt()

    def factors(self, share: float = 0.0) -> tuple[Tensor, Tensor]:
        """By which factor b follows a, and whether that is further from 1 than rounding and chance explain.

        Numbers that are alike are rounded alike: `share` of the error of rounding to nearest may go one way.
        """
        import torch

        error = torch.minimum(self.gap, FEW**2 * self.left) / self.a.clamp(min=1e-300)
        factor = self.dot / self.a.clamp(min=1e-300)
        near = 2 * error + SIGMAS * (error / self.count).sqrt() + CLIPPED
        near = near + share * (self.left / self.a.clamp(min=1e-300)).sqrt()
        return factor, (factor - 1 > near) | (1 - factor > near + CUT * error.sqrt())

    def cosines(self) -> Tensor:
        return self.dot / (self.a * self.b).sqrt().clamp(min=1e-300)


@dataclass
class _Extremes:
    """The worst single group and number, in steps."""

    group: float = 0.0
    where_group: str = ""
    number: float = 0.0
    where_number: str = ""
    beyond_half: int = 0
    rows: list[_Sums] = field(default_factory=list)


def fit(a: Tensor, b: Tensor, grid: Grid) -> Fit:
    """Hold b to a, of one shape, as numbers that were rounded to a grid."""
    import torch

    width = a.shape[-1] if a.ndim > 1 else a.numel()
    flat_a, flat_b = a.reshape(-1, width), b.reshape(-1, width)
    found, columns = _Extremes(), None
    step = max(1, BAND // max(1, width))
    for start in range(0, len(flat_a), step):
        x, y = flat_a[start : start + step].double(), flat_b[start : start + step].double()
        across = _band(x, y, grid, found, start)
        columns = across if columns is None else _added(columns, across)
    if columns is None or not a.numel():
        return Fit(grid.words, 0.0, 0.0, (), grid.is_float)
    parts = {name: torch.cat([getattr(s, name) for s in found.rows]) for name in ("gap", "left", "a", "b", "dot")}
    rows = _Sums(**parts, count=width)
    whole = _Sums(*(x.sum()[None] for x in parts.values()), count=a.numel())
    relative, times = (whole.gap / whole.a.clamp(min=1e-300)).sqrt().item(), whole.times().item()
    if grid.is_float:
        beyond = _of_float(found, relative)
    else:
        beyond = _of_whole(relative, times, whole) or _of_parts(times, rows, columns, found)
    return Fit(grid.words, relative, times, tuple(beyond), grid.is_float)


def _band(x: Tensor, y: Tensor, grid: Grid, found: _Extremes, start: int) -> _Sums:
    """Take in some rows; their sums down the columns."""
    steps = grid.steps(x)
    gap, left = (y - x).square(), steps.square() / 12
    squares = (gap, left, x.square(), y.square(), x * y)
    found.rows.append(_Sums(*(s.sum(1) for s in squares), count=x.shape[1]))
    apart = gap.sqrt() / steps.clamp(min=1e-300)
    found.beyond_half += int((apart > HALF).sum())
    if (worst := apart.max().item()) > found.number:
        row, column = divmod(int(apart.argmax()), x.shape[1])
        found.number, found.where_number = worst, f"row {start + row}, column {column}"
    if not grid.is_float and grid.group and grid.group < x.shape[1]:
        _worst_group(gap, left, grid.group, found, start)
    return _Sums(*(s.sum(0) for s in squares), count=len(x))


def _worst_group(gap: Tensor, left: Tensor, width: int, found: _Extremes, start: int) -> None:
    from torch.nn import functional as F

    short = -gap.shape[1] % width
    sums = [F.pad(t, (0, short)).unflatten(1, (-1, width)).sum(-1) for t in (gap, left)]
    times = (sums[0] / sums[1].clamp(min=1e-300)).sqrt()
    if (worst := times.max().item()) > found.group:
        row, group = divmod(int(times.argmax()), times.shape[1])
        found.group, found.where_group = worst, f"row {start + row}, columns {group * width} on"


def _added(one: _Sums, other: _Sums) -> _Sums:
    names = ("gap", "left", "a", "b", "dot")
    return _Sums(*(getattr(one, n) + getattr(other, n) for n in names), count=one.count + other.count)


def _of_float(found: _Extremes, relative: float) -> list[str]:
    if not found.beyond_half:
        return []
    count, where = found.beyond_half, found.where_number
    return [f"{count:,} numbers are more than half a step away, the worst {_many(found.number)} steps ({where}), "
            f"{relative:.2g} in all"]  # fmt: skip


def _of_whole(relative: float, times: float, whole: _Sums) -> list[str]:
    """What is wrong with all of a matrix."""
    factor, is_other = (t.item() for t in whole.factors())
    cosine = whole.cosines().item()
    if not math.isfinite(relative):
        return ["its numbers are not finite"]
    if cosine < LOWEST_COSINE:
        return [f"its numbers are unlike the original's: cosine {cosine:.2f}"]
    if is_other:
        return [f"its numbers are {factor:.4g} times the original's"]
    if times > MOST:
        return [f"relative error {relative:.2g}, {_many(times)} times that of rounding to nearest"]
    return []


def _of_parts(times: float, rows: _Sums, columns: _Sums, found: _Extremes) -> list[str]:
    """What is wrong with some rows, columns, groups or numbers."""
    beyond: list[str] = []
    for name, sums, uneven, share in (("row", rows, UNEVEN, 0.25), ("column", columns, 2 * UNEVEN, 1.5)):
        wrong = sums.times() > max(FEW, uneven * times)
        factors, is_other = sums.factors(share * max(1.0, times))
        if sums.count >= SHORTEST:
            wrong |= (sums.cosines() < LOWEST_COSINE) & (sums.a > CLEAR * max(1.0, times) ** 2 * sums.left)
            wrong |= is_other
        if bool(wrong.any()):
            first = int(wrong.nonzero()[0])
            error = (sums.gap / sums.a.clamp(min=1e-300)).sqrt()[first].item()
            told = f"{int(wrong.sum()):,} of {len(wrong):,} {name}s, the first {first}: relative error {error:.2g}, "
            beyond.append(told + f"{factors[first].item():.3g} times the original's")
    if not beyond and found.group > UNEVEN * max(1.0, times):
        beyond.append(f"a group has {_many(found.group)} times the error of rounding to nearest ({found.where_group})")
    if not beyond and found.number > max(3.0, SIGMAS * times):
        beyond.append(f"a number is {_many(found.number)} steps away ({found.where_number})")
    return beyond


def _many(value: float) -> str:
    return f"{value:.2g}" if value < 100 else f"{value:,.0f}"
