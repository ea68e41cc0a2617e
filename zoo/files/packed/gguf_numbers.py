"""The numbers in blocks of llama.cpp's common types, by a few operations on whole rows. R rows, B blocks in a row.

They are, bit for bit, what the package `gguf` gives, which goes over each block in numpy with many more passes. Codes
are taken several bytes in one word, because an operation on a word of 8 bytes costs what one on a byte does.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor

LOW4, LOW2, LOW1 = 0x0F0F0F0F0F0F0F0F, 0x0303030303030303, 0x0101010101010101  # of each byte in a word


def _q8_0(rows: Tensor) -> Tensor:
    blocks = rows.view(torch.int16).unflatten(1, (-1, 17))
    return blocks[..., 1:].contiguous().view(torch.int8).float().mul_(_halves(blocks[..., :1]))


def _q4_0(rows: Tensor) -> Tensor:
    blocks = rows.view(torch.int16).unflatten(1, (-1, 9))
    return _floats(_nibbles(_words(blocks[..., 1:]))).sub_(8).mul_(_halves(blocks[..., :1]))


def _q4_1(rows: Tensor) -> Tensor:
    blocks = rows.view(torch.int32).unflatten(1, (-1, 5))
    ends = _halves(blocks[..., :1])
    return _floats(_nibbles(_words(blocks[..., 1:]))).mul_(ends[..., :1]).add_(ends[..., 1:])


def _q5_0(rows: Tensor) -> Tensor:
    blocks = rows.unflatten(1, (-1, 22))
    codes = _floats(_nibbles(_words(blocks[..., 6:])).flatten(2) | _fifth(blocks[..., 2:6]))
    return codes.sub_(16).mul_(_halves(blocks[..., :2]))


def _q5_1(rows: Tensor) -> Tensor:
    blocks = rows.unflatten(1, (-1, 24))
    codes = _floats(_nibbles(_words(blocks[..., 8:])).flatten(2) | _fifth(blocks[..., 4:8]))
    ends = _halves(blocks[..., :4])
    return codes.mul_(ends[..., :1]).add_(ends[..., 1:])


def _q4_k(rows: Tensor) -> Tensor:
    blocks = rows.view(torch.int32).unflatten(1, (-1, 36))
    codes = _nibbles(_words(blocks[..., 4:]).unflatten(2, (4, 4)))  # [R, B, 4, 2, 4]
    return _between(codes, blocks[..., :1], blocks[..., 1:4])


def _q5_k(rows: Tensor) -> Tensor:
    blocks = rows.view(torch.int32).unflatten(1, (-1, 44))
    codes = _nibbles(_words(blocks[..., 12:]).unflatten(2, (4, 4)))
    high = _words(blocks[..., 4:12])  # bit s of a byte belongs to the number of group s at its place
    bits = torch.stack([(high >> s & LOW1) << 4 for s in range(8)], 2)
    return _between(codes | bits.view_as(codes), blocks[..., :1], blocks[..., 1:4])


def _q6_k(rows: Tensor) -> Tensor:
    blocks = rows.unflatten(1, (-1, 210))
    low = _nibbles(_words(blocks[..., :128]).unflatten(2, (2, 8)))  # [R, B, half, low or high, 2 * 4]
    high = _words(blocks[..., 128:192]).unflatten(2, (2, 4))
    bits = torch.stack([(high >> s & LOW2) << 4 for s in (0, 2, 4, 6)], 3)
    codes = _floats(low.view_as(bits.flatten(3)) | bits.flatten(3)).sub_(32)
    scales = blocks[..., 192:208].contiguous().view(torch.int8).float() * _halves(blocks[..., 208:])
    return codes.unflatten(2, (16, 16)).mul_(scales[..., None])


NUMBERS: dict[str, Callable[[Tensor], Tensor]] = {
    "Q8_0": _q8_0, "Q4_0": _q4_0, "Q4_1": _q4_1, "Q5_0": _q5_0, "Q5_1": _q5_1, "Q4_K": _q4_k, "Q5_K": _q5_k,
    "Q6_K": _q6_k,
}  # fmt: skip


def _halves(part: Tensor) -> Tensor:
    """Every float16 of a part of each block, as float32 [R, B, halves]."""
    return part.contiguous().view(torch.float16).float()


def _words(part: Tensor) -> Tensor:
    """A part of each block in words of 8 bytes, [R, B, words]."""
    return part.contiguous().view(torch.int64)


def _nibbles(words: Tensor) -> Tensor:
    """The lower halves of the bytes of words [..., W], then the upper ones: [..., 2, W]."""
    return torch.stack((words, words >> 4), -2).bitwise_and_(LOW4)


def _floats(words: Tensor) -> Tensor:
    """The bytes of words [R, B, ...], as float32 [R, B, bytes]."""
    return words.flatten(2).view(torch.uint8).float()


def _fifth(part: Tensor) -> Tensor:
    """The fifth bits of 32 codes in 4 bytes [R, B, 4], each in the byte of its code: [R, B, 4] words."""
    return _spread().to(part.device)[part.int()]


@cache
def _spread() -> Tensor:
    """For each byte the word whose bytes have 16 for its bits, the lowest first. [256]"""
    on = {"dtype": torch.uint8, "device": "cpu"}  # kept, whatever the default is at the first call
    bits = torch.arange(256, **on)[:, None] >> torch.arange(8, **on) & 1
    return (bits << 4).view(torch.int64)[:, 0]


def _between(codes: Tensor, ends: Tensor, small: Tensor) -> Tensor:
    """Numbers of 8 groups of 32 codes with scales and offsets of 6 bits, whose own scales are the two `ends`."""
    first, second, third = small.contiguous().view(torch.uint8).unflatten(2, (3, 4)).unbind(2)
    scales = torch.cat((first & 63, third & 15 | first >> 6 << 4), -1).float()
    offsets = torch.cat((second & 63, third >> 4 | second >> 6 << 4), -1).float()
    both = _halves(ends)
    scales, offsets = scales * both[..., :1], offsets * both[..., 1:]
    return _floats(codes).unflatten(2, (8, 32)).mul_(scales[..., None]).sub_(offsets[..., None])
