"""Integers with scales: how a matrix is rounded to them, what they stand for, and their product.

M tokens, N rows, K columns, G groups of columns that share a scale. Scales are rounded to bfloat16 before the codes are
chosen, so that the numbers are the same to every kernel.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from zoo.nn.packed import kernels
from zoo.nn.packed.kernels import Kernel

Buffers = Mapping[str, Tensor]
BAND = 1 << 17  # numbers that are rounded at a time


@dataclass(frozen=True)
class Int8Rows:
    """codes [N, K] in -128..127, one scale for each row: scales [N]."""

    @classmethod
    def rounded(cls, weight: Tensor) -> tuple[Int8Rows, dict[str, Tensor]]:
        """The nearest codes to weight [N, K]."""
        codes = torch.empty_like(weight, dtype=torch.int8, memory_format=torch.contiguous_format)
        scales = weight.new_empty(len(weight), dtype=torch.bfloat16)
        for rows in _bands(*weight.shape):
            numbers = weight[rows].float()
            share = (numbers.abs().amax(1) / 127).to(torch.bfloat16)
            scales[rows] = torch.where(share == 0, torch.ones_like(share), share)
            codes[rows] = (numbers / scales[rows, None].float()).round_().clamp_(-128, 127).to(torch.int8)
        return cls(), {"codes": codes, "scales": scales}

    def dequantise(self, parts: Buffers, rows: slice) -> Tensor:
        """The numbers of some rows, in float32."""
        return parts["codes"][rows].float() * parts["scales"][rows, None].float()

    def look_up(self, parts: Buffers, rows: Tensor) -> Tensor:
        """The numbers of rows by number, in any shape, in float32: [..., K]."""
        return parts["codes"][rows].float() * parts["scales"][rows][..., None].float()

    def takes(self, rows: int, columns: int) -> bool:
        """Whether the kernel for 8 bits takes such a matrix."""
        return kernels.are_there() and columns % kernels.COLUMNS == 0 and columns > 0 < rows

    def part(self, parts: Buffers, rows: slice, columns: slice) -> tuple[Int8Rows, dict[str, Tensor]]:
        """Some rows and columns."""
        return self, {"codes": parts["codes"][rows, columns].contiguous(), "scales": parts["scales"][rows].clone()}

    def ordered(self, parts: dict[str, Tensor]) -> tuple[Int8Rows, dict[str, Tensor]]:
        """As the kernel wants it: as it is."""
        return self, parts

    def kernel(self, parts: Buffers) -> Kernel | None:
        """The kernel for 8 bits, where it takes these codes."""
        if not kernels.take_int8(parts["codes"]):
            return None
        return _by_kernel if parts["scales"].dtype == torch.bfloat16 else self._product

    def _product(self, x: Tensor, parts: Buffers) -> Tensor:
        ones = torch.ones_like(parts["scales"], dtype=torch.bfloat16)  # a file's scales are not rounded
        return (kernels.times_int8(x, parts["codes"], ones).float() * parts["scales"].float()).to(x.dtype)


def _by_kernel(x: Tensor, parts: Buffers) -> Tensor:
    return kernels.times_int8(x, parts["codes"], parts["scales"])


@dataclass(frozen=True)
class Int4Groups:
    """codes in 0..15, two in a byte [N, K / 2], the even column low; (code - 8) * scale + offset.

    `pairs` [G, N, 2] are scales and offsets. In `is_ordered` codes are as the kernel of this CPU has them.
    """

    columns: int
    group: int
    is_ordered: bool = False

    @classmethod
    def rounded(cls, weight: Tensor, group: int) -> tuple[Int4Groups, dict[str, Tensor]]:
        """The nearest codes to weight [N, K], between the least and the greatest number of each group."""
        height, columns = weight.shape
        codes = weight.new_empty((height, -(-columns // 2)), dtype=torch.uint8)
        pairs = weight.new_empty((-(-columns // group), height, 2), dtype=torch.bfloat16)
        for rows in _bands(*weight.shape):
            groups = _groups(weight[rows].float(), group)  # [N, G, group]
            least, most = groups.amin(-1, keepdim=True), groups.amax(-1, keepdim=True)
            scales = ((most - least) / 15).to(torch.bfloat16)
            scales = torch.where(scales == 0, torch.ones_like(scales), scales)
            offsets = (least + 8 * scales.float()).to(torch.bfloat16)
            found = ((groups - offsets.float()) / scales.float()).round_().add_(8).clamp_(0, 15)
            codes[rows] = in_bytes(found.flatten(1)[:, :columns].to(torch.uint8))
            pairs[:, rows] = torch.cat((scales, offsets), -1).transpose(0, 1)
        return cls(columns, group), {"codes": codes, "pairs": pairs}

    def dequantise(self, parts: Buffers, rows: slice) -> Tensor:
        """The numbers of some rows, in float32."""
        first, last, _ = rows.indices(len(parts["codes"]))
        if self.is_ordered:
            start = first // kernels.BLOCK * kernels.BLOCK
            block = slice(start, -(-last // kernels.BLOCK) * kernels.BLOCK)
            codes = kernels.from_kernel_order(parts["codes"], block)[first - start : last - start]
        else:
            codes = out_of_bytes(parts["codes"][first:last], self.columns)
        scales, offsets = (
            p.T.repeat_interleave(self.group, 1)[:, : self.columns]
            for p in parts["pairs"][:, first:last].float().unbind(-1)
        )
        return (codes.float() - 8) * scales + offsets

    def takes(self, rows: int, columns: int) -> bool:
        """Whether the kernel for 4 bits takes such a matrix."""
        return kernels.take_int4(rows, columns, self.group)

    def part(self, parts: Buffers, rows: slice, columns: slice) -> tuple[Int4Groups, dict[str, Tensor]]:
        """Some rows, and columns that begin and end where groups do, of codes in plain order."""
        first, last, _ = columns.indices(self.columns)
        codes = parts["codes"][rows, first // 2 : -(-last // 2)].clone()
        pairs = parts["pairs"][first // self.group : -(-last // self.group), rows].clone()
        return Int4Groups(last - first, self.group), {"codes": codes, "pairs": pairs}

    def ordered(self, parts: dict[str, Tensor]) -> tuple[Int4Groups, dict[str, Tensor]]:
        """As the kernel of this CPU wants it, where it takes this size."""
        if self.is_ordered or not kernels.take_int4(len(parts["codes"]), self.columns, self.group):
            return self, parts
        codes = torch.empty_like(parts["codes"], memory_format=torch.contiguous_format)
        for rows in _bands(len(codes), self.columns, kernels.BLOCK):  # each number is 4 bytes wide on the way
            codes[rows] = kernels.to_kernel_order(out_of_bytes(parts["codes"][rows], self.columns))
        return Int4Groups(self.columns, self.group, is_ordered=True), parts | {"codes": codes}

    def plain(self, parts: dict[str, Tensor]) -> tuple[Int4Groups, dict[str, Tensor]]:
        """As every machine understands it."""
        if not self.is_ordered:
            return self, parts
        codes = in_bytes(kernels.from_kernel_order(parts["codes"], slice(None)))
        return Int4Groups(self.columns, self.group), parts | {"codes": codes}

    def kernel(self, parts: Buffers) -> Kernel | None:
        """The kernel for 4 bits, where the codes are as it has them."""
        return self._product if self.is_ordered else None

    def _product(self, x: Tensor, parts: Buffers) -> Tensor:
        return kernels.times_int4(x, parts["codes"], self.group, parts["pairs"])


def in_bytes(codes: Tensor) -> Tensor:
    """Codes of 4 bits [N, K], one in a byte, two in a byte: the even column low. [N, K / 2, rounded up]"""
    even, odd = F.pad(codes, (0, codes.shape[1] % 2)).unflatten(1, (-1, 2)).unbind(-1)
    return even | odd << 4


def out_of_bytes(packed: Tensor, columns: int) -> Tensor:
    """What `in_bytes` was given, [N, columns]."""
    return torch.stack((packed & 15, packed >> 4), -1).flatten(1)[:, :columns]


def _bands(rows: int, columns: int, whole: int = 1) -> Iterator[slice]:
    """Some rows at a time, in whole blocks of so many: what is widened on the way is small."""
    step = max(1, BAND // max(1, columns) // whole) * whole
    return (slice(start, min(start + step, rows)) for start in range(0, rows, step))


def _groups(weight: Tensor, group: int) -> Tensor:
    """weight [N, K] as [N, G, group]; a last group that is not full repeats its last column: no extreme changes."""
    short = -weight.shape[1] % group
    full = torch.cat((weight, weight[:, -1:].expand(-1, short)), 1) if short else weight
    return full.unflatten(1, (-1, group))
