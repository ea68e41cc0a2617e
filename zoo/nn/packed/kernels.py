"""torch's own products with packed matrices, in one place: they are private, and may be gone in another torch.

M tokens, N rows, K columns. On CPU they take bfloat16 on both sides, add up in float32 and round the result to bfloat16
once; with float32 activations the same operations take three to nine times as long. On other devices, and in a torch
without them, a layer multiplies by the numbers that its matrix stands for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache

import torch
from torch import Tensor

Kernel = Callable[[Tensor, Mapping[str, Tensor]], Tensor]  # x [M, K] in bfloat16 and parts of a matrix to [M, N]
ROWS = 64  # tokens at once; beyond that it is faster to unpack a matrix once and multiply by it
BLOCK = 64  # rows that the kernel for 4 bits takes together
COLUMNS = 32  # that kernels read at once
LONG = 2048  # columns from which on a row is read as fast as memory gives it
FEW = 4  # tokens for which the kernel waits for memory, not for itself
AHEAD = 1 << 20  # bytes that are read before they are multiplied by: they fit in the cache of a core
NAMES = ("_weight_int8pack_mm", "_weight_int4pack_mm_for_cpu", "_convert_weight_to_int4pack_for_cpu")


@cache
def are_there() -> bool:
    """Whether this torch has the operations, and they do what they are known to do."""
    if not all(hasattr(torch, name) for name in NAMES):
        return False
    try:
        x, ones = torch.ones(1, COLUMNS, dtype=torch.bfloat16), torch.ones(BLOCK, COLUMNS, dtype=torch.int8)
        scales = torch.full((BLOCK,), 2.0, dtype=torch.bfloat16)
        sums = torch._weight_int8pack_mm(x, ones, scales)
        pairs = torch.stack((scales, scales), -1)[None]
        packed = to_kernel_order(torch.full((BLOCK, COLUMNS), 9, dtype=torch.uint8))
        found = torch._weight_int4pack_mm_for_cpu(x, packed, COLUMNS, pairs)
    except (RuntimeError, TypeError):
        return False
    return bool((sums == 2 * COLUMNS).all() and (found == 4 * COLUMNS).all())


def take_int8(codes: Tensor) -> bool:
    """Whether the kernel for 8 bits can multiply by these codes: of other widths it reads what is not theirs."""
    return are_there() and codes.is_contiguous() and codes.shape[1] % COLUMNS == 0 and codes.numel() > 0


def take_int4(rows: int, columns: int, group: int) -> bool:
    """Whether the kernel for 4 bits can multiply by a matrix of this size."""
    return are_there() and rows % BLOCK == 0 and columns % group == 0 and group % COLUMNS == 0 and columns > 0 < rows


def times_int8(x: Tensor, codes: Tensor, scales: Tensor) -> Tensor:
    """x [M, K] in bfloat16 times codes [N, K] with scales [N]: [M, N].

    The kernel takes four rows at once from left to right. Short rows are four streams that end before the processor has
    seen them coming, and it waits for memory: for 576 columns 1.4 times as long as when all is read once in a line, a
    band at a time that stays in the cache, and then multiplied by.
    """
    if codes.shape[1] >= LONG or len(x) > FEW:
        return torch._weight_int8pack_mm(x, codes, scales)
    step = AHEAD // codes.shape[1]
    if len(codes) <= step:
        codes.max()  # for the reading alone
        return torch._weight_int8pack_mm(x, codes, scales)
    out = x.new_empty(len(x), len(codes))
    for start in range(0, len(codes), step):
        rows = slice(start, start + step)
        codes[rows].max()
        out[:, rows] = torch._weight_int8pack_mm(x, codes[rows], scales[rows])
    return out


def times_int4(x: Tensor, packed: Tensor, group: int, pairs: Tensor) -> Tensor:
    """x [M, K] in bfloat16 times (code - 8) * scale + offset: `pairs` [K / group, N, 2] are both. [M, N]"""
    return torch._weight_int4pack_mm_for_cpu(x, packed, group, pairs)


def to_kernel_order(codes: Tensor) -> Tensor:
    """Codes of 4 bits [N, K], one in a byte, as the kernel has them: [N, K / 2], in an order that hangs on the CPU."""
    return torch._convert_weight_to_int4pack_for_cpu(codes.int(), 1)


def from_kernel_order(packed: Tensor, rows: slice) -> Tensor:
    """Codes of 4 bits [rows, K], one in a byte, of what `to_kernel_order` gave; `rows` are whole blocks."""
    columns = 2 * packed.shape[1]
    blocks = packed[rows].reshape(-1, columns, BLOCK // 2)
    both = torch.stack((blocks & 15, blocks >> 4), -1).flatten(2)  # [blocks, K, BLOCK], in the kernel's order
    return both[:, :, _places()].transpose(1, 2).reshape(-1, columns)


@cache
def _places() -> Tensor:
    """Where in a block of the kernel each of its rows is found, by asking it: two digits of each row's number."""
    number = torch.arange(BLOCK, dtype=torch.uint8)[:, None].expand(BLOCK, COLUMNS)
    low, high = (to_kernel_order(digit).reshape(COLUMNS, -1)[0] for digit in (number & 15, number >> 4))
    found = torch.stack((low & 15 | (high & 15) << 4, low >> 4 | high >> 4 << 4), -1).flatten()
    return found.long().argsort()
