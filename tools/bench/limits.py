"""What this machine can do at most: bytes read a second, and operations a second of a large matrix product."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch

from zoo.nn import linear
from zoo.nn.halves import is_slow

READ = 1 << 29  # bytes, far more than any cache
SIDE = 2048
REPEATS = 7


def bandwidth() -> float:
    """Bytes a second, of the fastest of some ways to read a large block with as many threads as torch has."""
    numbers = torch.ones(READ // 4)
    matrix, vector = numbers.view(-1, 4096), torch.ones(4096)
    whole = numbers.view(torch.int64)
    return READ / min(_least(lambda: matrix @ vector), _least(whole.sum), _least(numbers.sum))


def gemm(dtype: torch.dtype) -> float:
    """Operations a second of a square product in a type, of the faster of torch's two libraries.

    A multiplication and an addition are two operations. A type that no library multiplies in is widened to float32.
    """
    dtype = torch.float32 if is_slow(dtype) else dtype
    a, b = (torch.ones(SIDE, SIDE, dtype=dtype) for _ in range(2))
    with torch.inference_mode():
        return 2 * SIDE**3 / min(_least(lambda: a @ b), _least(lambda: linear(a, b)))


def _least(action: Callable[[], Any]) -> float:
    """Seconds of the fastest turn."""
    found = []
    action()
    for _ in range(REPEATS):
        start = time.perf_counter()
        action()
        found.append(time.perf_counter() - start)
    return min(found)
