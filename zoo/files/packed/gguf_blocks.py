"""The blocks of a quantised GGUF file, as packed matrices: rows of bytes that the package `gguf` turns to numbers."""

from __future__ import annotations

from collections.abc import Mapping
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


def _matrix(info: TensorInfo) -> PackedMatrix:
    rows = prod(info.shape[:-1])
    blocks = TensorInfo(info.name, "uint8", (rows, info.nbytes // rows), info.file, info.nbytes, info.offset)
    bits = round(8 * info.nbytes / info.numel)
    words = f"GGUF {info.dtype}, {8 * info.nbytes / info.numel:.2f} bits a number"
    encoding = Encoding("gguf", "int", bits, words=words, settings={"type": info.dtype})
    return PackedMatrix(info.name, (rows, info.shape[-1]), "float32", encoding, {"blocks": blocks}, _band)


def _band(matrix: PackedMatrix, parts: Mapping[str, Tensor], rows: slice) -> Tensor:
    """The numbers of some rows: those of the common types by torch, all others by the package. [R, C]"""
    import numpy as np
    import torch
    from gguf import GGMLQuantizationType, dequantize

    from zoo.files.packed.gguf_numbers import NUMBERS

    name = str(matrix.encoding.settings["type"])
    if name in NUMBERS:
        return NUMBERS[name](parts["blocks"][rows]).reshape(-1, matrix.shape[1])
    try:
        values = dequantize(parts["blocks"][rows].cpu().numpy(), GGMLQuantizationType[name])
    except NotImplementedError:
        why = "the gguf package cannot convert this type to numbers"
        raise matrix.refuse("blocks", f"is quantised as {name}", why=why) from None
    found = torch.from_numpy(np.ascontiguousarray(values, np.float32)).reshape(-1, matrix.shape[1])
    return found.to(parts["blocks"].device)
