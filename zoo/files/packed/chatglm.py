"""Weights as ChatGLM's releases in int4 and int8 store them: integers with one scale per row, by their own code.

`weight` [out, in] holds int8, or [out, in / 2] two signed numbers of 4 bits in a byte, the first in the higher half;
`weight_scale` [out] is in half precision, and so is the product. config.json says so by `quantization_bit`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from zoo.errors import CheckpointError
from zoo.files.packed.keys import PackingKeys
from zoo.files.packed.numbers import integers
from zoo.files.packed.parts import FLOATS, PartsOfFile, expect, shown_dtype
from zoo.files.packed.record import Encoding, PackedMatrix, Packing
from zoo.files.tensor_info import TensorInfo

if TYPE_CHECKING:
    from torch import Tensor

KEYS = ("quantization_bit", "quantization_embeddings")
SCALE = ".weight_scale"


def recognise(keys: PackingKeys, config: Mapping[str, Any], tensors: Mapping[str, TensorInfo]) -> Packing:
    """The packed matrices of a checkpoint. Raises CheckpointError for parts that do not fit together."""
    bits = keys.number("quantization_bit", None, among=(4, 8))
    keys.flag("quantization_embeddings", False)
    file = PartsOfFile(tensors)
    matrices = {f"{module}.weight": _matrix(file, module, bits, config) for module in file.ending(SCALE)}
    return Packing(frozenset(KEYS) & config.keys(), matrices)


def _matrix(file: PartsOfFile, module: str, bits: int, config: Mapping[str, Any]) -> PackedMatrix:
    name = f"{module}.weight"
    codes, scales = file.take(name, name), file.take(f"{module}{SCALE}", name)
    if codes.dtype != "int8" or len(codes.shape) != 2:
        raise CheckpointError(codes.file, name, f"is {codes.dtype} {list(codes.shape)}, not a matrix of int8")
    shape = (codes.shape[0], codes.shape[1] * 8 // bits)
    expect(scales, FLOATS, shape[:1], of=f"a matrix of {list(shape)} in {bits} bits")
    encoding = Encoding("chatglm", "int", bits, (1, None), words=f"ChatGLM's own, {bits} bits, one scale per row")
    parts = {"codes": codes, "scales": scales}
    return PackedMatrix(name, shape, shown_dtype(config, scales.dtype), encoding, parts, band_of_rows)


def band_of_rows(matrix: PackedMatrix, parts: Mapping[str, Tensor], rows: slice) -> Tensor:
    """Signed numbers times the scale of their row. [R, C]"""
    import torch

    codes = parts["codes"][rows]
    if matrix.encoding.bits == 4:
        codes = torch.stack((codes >> 4, codes << 4 >> 4), -1).flatten(1)  # shifts of int8 keep the sign
    return integers(matrix, parts, rows, codes=codes, zeros=0)
