"""Numbers of 16 bits on a CPU where no library multiplies in their type: in float32, a band of the matrix at a time.

Where the processor has no instructions for a type, as most have none for float16, torch multiplies by loops of its own.
They are the fastest for one to three rows; for more it takes down to a tenth of the time to widen the matrix and let a
library multiply in float32. Sums are in float32 either way, and what comes back is rounded once.

Shapes: D inner, R rows of the matrix.
"""

from __future__ import annotations

import platform
from collections.abc import Callable

import torch
from torch import Tensor

HALVES = torch.float16, torch.bfloat16
BAND = 1 << 20  # numbers that are widened at a time: 4 MiB
FEW = 4  # rows from which on it is the faster; of a matrix that lies the other way, as GPT-2's do, one

Multiply = Callable[[Tensor, Tensor, Tensor | None], Tensor]

IS_X86 = platform.machine().lower() in ("x86_64", "amd64")  # others have kernels of their own


def _is_left_to_torch(type_name: str) -> bool:
    is_supported = getattr(torch.ops.mkldnn, f"_is_mkldnn_{type_name}_supported", None)
    return IS_X86 and not (torch.backends.mkldnn.is_available() and is_supported is not None and is_supported())


# Found once: what is compiled takes them for constants.
IS_FLOAT16_SLOW, IS_BFLOAT16_SLOW = _is_left_to_torch("fp16"), _is_left_to_torch("bf16")


def is_slow(dtype: torch.dtype) -> bool:
    """Whether no library multiplies in this type of 16 bits on this processor."""
    return (IS_FLOAT16_SLOW and dtype is torch.float16) or (IS_BFLOAT16_SLOW and dtype is torch.bfloat16)


def is_many(x: Tensor, weight: Tensor, bias: Tensor | None) -> bool:
    """Whether x [..., D] has rows enough, and can be multiplied by weight [R, D]."""
    is_row_of_each = bias is None or bias.shape == weight.shape[:1]
    few = FEW if weight.is_contiguous() else 1
    return x.numel() >= few * max(1, weight.shape[-1]) and x.shape[-1:] == weight.shape[1:] and is_row_of_each


def product(x: Tensor, weight: Tensor, bias: Tensor | None, multiply: Multiply) -> Tensor:
    """x [..., D] times weight [R, D] plus bias [R], where `multiply` does it in float32; in the type of x."""
    rows = x.reshape(-1, x.shape[-1]).float()
    out = x.new_empty(len(rows), len(weight))
    step = max(1, BAND // weight.shape[1])
    for first in range(0, len(weight), step):
        band = slice(first, first + step)
        out[:, band] = multiply(rows, weight[band].float(), None if bias is None else bias[band].float())
    return out.view(*x.shape[:-1], -1)
