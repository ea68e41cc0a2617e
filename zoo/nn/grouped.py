"""Products of rows that are sorted by the matrix that each is multiplied by, in one call.

Shapes: M rows, E matrices of N rows and K columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from zoo.nn.products import goes_to_onednn

GROUPED_PRODUCT: Any = getattr(F, "grouped_mm", None)


class Grouped:
    """Matrices [E, N, K] each of which multiplies rows of its own, those before its end [E]: x @ grouped.mT."""

    def __init__(self, stack: Tensor, ends: Tensor) -> None:
        self.mT, self._stack, self._ends = self, stack, ends

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Tensor:
        x, grouped = args
        return GROUPED_PRODUCT(x, grouped._stack.mT, offs=grouped._ends)


def can_group(x: Tensor, stacks: Sequence[Tensor]) -> bool:
    """Whether torch has grouped products of x and these."""
    if GROUPED_PRODUCT is None or torch.is_grad_enabled():
        return False
    if x.dtype != torch.bfloat16 and (x.is_cuda or x.dtype != torch.float32):
        return False
    # Rows of 16 bytes, or multiples of that, are what its kernels read.
    can = all(isinstance(s, Tensor) and s.ndim == 3 and s.dtype == x.dtype and not s.shape[1] * s.itemsize % 16
              and not s.shape[2] * s.itemsize % 16 for s in stacks)  # fmt: skip
    return can and not goes_to_onednn(x, stacks[0][0])
