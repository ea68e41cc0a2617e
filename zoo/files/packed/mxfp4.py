"""Experts as gpt-oss is released: 4-bit floats in blocks of 32 that share a power of two (OCP MX 1.0).

`x_blocks` [E, out, in / 32, 16] holds two codes in a byte, the first in the lower half; `x_scales` [E, out, in / 32]
the exponents plus 127. `x` is shown as [E, in, out] in bfloat16, as transformers keeps it; every number is exact.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from zoo.errors import CheckpointError, clean
from zoo.files.packed.keys import PackingKeys, excepted
from zoo.files.packed.numbers import fields, fp4, powers
from zoo.files.packed.parts import PartsOfFile, expect, shown_dtype
from zoo.files.packed.record import Encoding, PackedMatrix, Packing
from zoo.files.tensor_info import TensorInfo

if TYPE_CHECKING:
    from torch import Tensor

BLOCKS, SCALES = "_blocks", "_scales"
SIZE = 32


def recognise(keys: PackingKeys, config: Mapping[str, Any], tensors: Mapping[str, TensorInfo]) -> Packing:
    """The packed experts of a checkpoint. Raises CheckpointError for parts that do not fit together."""
    listed = keys.names("modules_to_not_convert")
    keys.pass_over("dequantize")
    keys.check()
    file = PartsOfFile(tensors)
    matrices = {name: _experts(file, name, config) for name in file.ending(BLOCKS)}
    for name in file.ending(SCALES):
        if name not in matrices:
            info = tensors[f"{name}{SCALES}"]
            raise CheckpointError(info.file, info.name, f"scales {clean(name)}{BLOCKS}, which is missing")
    return Packing(frozenset({keys.name}), matrices, notes=tuple(excepted(listed, matrices, keys)))


def _experts(file: PartsOfFile, name: str, config: Mapping[str, Any]) -> PackedMatrix:
    codes, scales = file.take(f"{name}{BLOCKS}", name), file.take(f"{name}{SCALES}", name)
    if codes.dtype != "uint8" or len(codes.shape) != 4 or codes.shape[3] != SIZE // 2:
        what = f"is {codes.dtype} {list(codes.shape)}, not experts of uint8 in blocks of {SIZE // 2} bytes"
        raise CheckpointError(codes.file, codes.name, what)
    expect(scales, ("uint8", "float8_e8m0fnu"), codes.shape[:3], of=f"blocks of {list(codes.shape)}")
    experts, rows, blocks, _ = codes.shape
    words = f"MXFP4, 4 bits, blocks of {SIZE}"
    encoding = Encoding("mxfp4", "fp4", 4, (1, SIZE), words=words)
    parts = {"codes": codes, "scales": scales}
    dtype = shown_dtype(config, "bfloat16")
    lying = PackedMatrix(name, (experts * rows, SIZE * blocks), dtype, encoding, parts, band_of_rows)
    return PackedMatrix(name, (experts, SIZE * blocks, rows), dtype, encoding, parts, band_of_experts, lying)


def band_of_experts(matrix: PackedMatrix, parts: Mapping[str, Tensor], rows: slice) -> Tensor:
    """Experts at a time, turned to [E, in, out]."""
    return _numbers(matrix, parts["codes"][rows], parts["scales"][rows]).transpose(1, 2)


def band_of_rows(matrix: PackedMatrix, parts: Mapping[str, Tensor], rows: slice) -> Tensor:
    """Rows at a time, those of all experts counted through."""
    return _numbers(matrix, *(parts[role].flatten(0, 1)[rows] for role in ("codes", "scales")))


def _numbers(matrix: PackedMatrix, codes: Tensor, scales: Tensor) -> Tensor:
    """4-bit floats times powers of two: codes [..., in / 32, 16] to [..., in]."""
    values = fp4(fields(codes.reshape(-1, SIZE // 2), 4)).reshape(*codes.shape[:-1], SIZE)
    return (values * powers(matrix, scales)[..., None]).flatten(-2)
