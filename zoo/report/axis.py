"""Axes with round ticks."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from zoo.units import human_bytes, human_length


@dataclass(frozen=True)
class Axis:
    """Values from `low` to `high` on pixels from `start` to `end`, and where it is labelled."""

    low: float
    high: float
    start: float
    end: float
    ticks: tuple[tuple[float, str], ...]
    is_log: bool = True

    def __call__(self, value: float) -> float:
        """The pixel of a value."""
        low, high = (math.log(self.low), math.log(self.high)) if self.is_log else (self.low, self.high)
        at = math.log(value) if self.is_log else value
        return self.start + (at - low) / ((high - low) or 1) * (self.end - self.start)


def powers(
    low: float, high: float, start: float, end: float, base: int, show: Callable[[float], str], most: int = 6
) -> Axis:
    """A logarithmic axis that begins and ends at whole powers of `base`, and has at most `most` ticks at such."""
    first, last = math.floor(_log(low, base)), math.ceil(_log(high, base))
    last = max(last, first + 1)
    step = math.ceil((last - first) / (most - 1))
    last = first + math.ceil((last - first) / step) * step
    ticks = tuple((float(base**i), show(float(base**i))) for i in range(first, last + 1, step))
    return Axis(float(base**first), float(base**last), start, end, ticks)


def bytes_axis(low: float, high: float, start: float, end: float) -> Axis:
    """Powers of four bytes: 1 MiB, 4 MiB, 16 MiB, ..."""
    return powers(low, high, start, end, 4, human_bytes)


def lengths_axis(low: int, high: int, start: float, end: float, most: int = 9) -> Axis:
    """Powers of two tokens: 512, 1k, 2k, ..."""
    return powers(low, high, start, end, 2, lambda tokens: human_length(int(tokens)), most)


def decades(low: float, high: float, start: float, end: float) -> Axis:
    """Powers of ten tokens: 1, 10, 100, 1k, ..."""
    return powers(low, high, start, end, 10, _decimal)


def counted(high: int, start: float, end: float, most: int = 6) -> Axis:
    """A plain axis from 0 with ticks at multiples of 1, 2, 4, 8, ... that are at most `most`."""
    step = 1
    while high / step > most - 1:
        step *= 2
    ticks = tuple((float(i), f"{i:,}") for i in range(0, high + 1, step))
    return Axis(0.0, float(max(high, 1)), start, end, ticks, is_log=False)


def fractions(low: float, high: float, start: float, end: float, most: int = 6) -> Axis:
    """A plain axis over any values, with at most `most` ticks at multiples of 1, 2 or 5 times a power of ten."""
    room = (high - low) or abs(high) or 1.0
    unit = 10.0 ** math.floor(math.log10(room / (most - 1)))
    step = next(unit * i for i in (1, 2, 5, 10, 20) if room / (unit * i) <= most - 2)
    first, last = math.floor(low / step), math.ceil(high / step)
    last = max(last, first + 1)
    ticks = tuple((i * step, f"{i * step:.10g}") for i in range(first, last + 1))
    return Axis(first * step, last * step, start, end, ticks, is_log=False)


def _log(value: float, base: int) -> float:
    exact = math.log(value) / math.log(base)
    return round(exact) if abs(exact - round(exact)) < 1e-9 else exact


def _decimal(value: float) -> str:
    for unit, size in (("B", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= size:
            return f"{value / size:g}{unit}"
    return f"{value:g}"
