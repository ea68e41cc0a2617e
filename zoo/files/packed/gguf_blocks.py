"""The blocks of a quantised GGUF file, as packed matrices: rows of bytes that the package `gguf` turns to numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod
from typing import TYPE_CHECKING

from zoo.files.packed.record import Encoding, PackedMatrix, Packing
from zoo.files.tensor_info import TensorInfo
from zoo.units import ITEM_BYTES

if TYPE_CHECKING:
    from torch import Tensor


def blocks_of(tensors: Mapping[str, TensorInfo]) -> Packing:
    """The matrices of a GGUF file whose numbers are quantised; a stack of experts is the rows of all of them."""
    matrices = {
        name: _matrix(info)
        for name, info in tensors.items()
        if info.dtype not in ITEM_BYTES
        and len(info.shape) > 1
        and info.numel
        and info.nbytes % prod(info.shape[:-1]) == 0
    }
    return Packing(frozenset(), matrices)


def _q8_0(rows: Tensor) -> Tensor:
    import torch

    blocks = rows.unflatten(1, (-1, 34))
    return blocks[..., 2:].contiguous().view(torch.int8).float() * _half(blocks, 0)


def _q4_0(rows: Tensor) -> Tensor:
    blocks = rows.unflatten(1, (-1, 18))
    return (_nibbles(blocks[..., 2:]) - 8) * _half(blocks, 0)


def _q4_1(rows: Tensor) -> Tensor:
    blocks = rows.unflatten(1, (-1, 20))
    return _nibbles(blocks[..., 4:]) * _half(blocks, 0) + _half(blocks, 2)


def _half(blocks: Tensor, at: int) -> Tensor:
    """The float16 at a byte of each block [R, B, bytes], as float32 [R, B, 1]."""
    import torch

    return blocks[..., at : at + 2].contiguous().view(torch.float16).float()


def _nibbles(codes: Tensor) -> Tensor:
    """The 32 codes in 16 bytes: the low halves first."""
    import torch

    return torch.cat((codes & 15, codes >> 4), -1).float()


PLAIN: dict[str, Callable[[Tensor], Tensor]] = {"Q8_0": _q8_0, "Q4_0": _q4_0, "Q4_1": _q4_1}


def _matrix(info: TensorInfo) -> PackedMatrix:
    rows = prod(info.shape[:-1])
    blocks = TensorInfo(info.name, "uint8", (rows, info.nbytes // rows), info.file, info.nbytes, info.offset)
    bits = round(8 * info.nbytes / info.numel)
    words = f"GGUF {info.dtype}, {8 * info.nbytes / info.numel:.2f} bits a number"
    encoding = Encoding("gguf", "int", bits, words=words, settings={"type": info.dtype})
    return PackedMatrix(info.name, (rows, info.shape[-1]), "float32", encoding, {"blocks": blocks}, _band)


def _band(matrix: PackedMatrix, parts: Mapping[str, Tensor], rows: slice) -> Tensor:
    """The numbers of some rows: those of the plainest types by torch, all others by the package. [R, C]"""
    import numpy as np
    import torch
    from gguf import GGMLQuantizationType, dequantize

    if (plain := PLAIN.get(str(matrix.encoding.settings["type"]))) is not None:
        return plain(parts["blocks"][rows]).reshape(-1, matrix.shape[1])
    kind = GGMLQuantizationType[str(matrix.encoding.settings["type"])]
    values = dequantize(parts["blocks"][rows].cpu().numpy(), kind)
    return torch.from_numpy(np.ascontiguousarray(values, np.float32)).reshape(-1, matrix.shape[1])
