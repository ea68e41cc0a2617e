"""Whether numbers are finite, read off their bits: NaN and infinity have an exponent of all ones. Needs no torch.

Exact, and nothing is written: read as whole numbers with a sign, those at and above the first pattern that is no finite
number are positive ones; read as numbers without, the negative ones are at the end. So two maxima say it all. Blocks of
512 KiB are still in the cache for the second, and numpy lets other threads run meanwhile.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, NamedTuple, Self

if TYPE_CHECKING:
    from numpy.typing import NDArray

BLOCK = 512 << 10  # bytes


class Pattern(NamedTuple):
    """How a type says that a number is not finite: the least patterns that do, of either sign."""

    width: int  # bytes
    positive: int
    negative: int | None  # None: the type has no sign

    @classmethod
    def of(cls, width: int, least: int) -> Self:
        """That of a type with a sign, by its least pattern of a positive number that is not finite."""
        return cls(width, least, least | 1 << 8 * width - 1)


PATTERNS = {  # torch's name of a type -> how it says NaN or infinity
    "bfloat16": Pattern.of(2, 0x7F80),
    "float16": Pattern.of(2, 0x7C00),
    "float32": Pattern.of(4, 0x7F80_0000),
    "float64": Pattern.of(8, 0x7FF0_0000_0000_0000),
    "float8_e5m2": Pattern.of(1, 0x7C),
    "float8_e4m3fn": Pattern.of(1, 0x7F),  # which has no infinity
    "float8_e8m0fnu": Pattern(1, 0xFF, None),
}


def all_finite(data: bytes | memoryview | NDArray[Any], dtype: str) -> bool:
    """Whether no number of type `dtype` in `data`, whole numbers of it end to end, is NaN or infinite."""
    import numpy as np

    width, positive, negative = PATTERNS[dtype]
    plain = np.frombuffer(data, f"<u{width}")
    signed = plain if negative is None else plain.view(f"<i{width}")
    count, largest = BLOCK // width, np.maximum.reduce
    for at in range(0, len(plain), count):
        if largest(signed[at : at + count]) >= positive:
            return False
        if negative is not None and largest(plain[at : at + count]) >= negative:
            return False
    return True


def are_finite(pieces: Iterable[tuple[NDArray[Any], str]], num_threads: int) -> bool:
    """Whether all numbers of all pieces are, each with its type, looked at by so many threads."""
    left = deque(pieces)  # each thread takes the next: so memory is read from its front to its end

    def look() -> bool:
        while True:
            try:
                data, dtype = left.popleft()
            except IndexError:  # none is left
                return True
            if not all_finite(data, dtype):
                return False

    if (others := min(num_threads, len(left)) - 1) < 1:
        return look()
    with ThreadPoolExecutor(others) as threads:
        looking = [threads.submit(look) for _ in range(others)]
        return all([look(), *(other.result() for other in looking)])
