"""The layouts of compressed-tensors, one module at a time: which parts a matrix has, and what its codes mean.

R rows, C columns, G groups; weights are [out, in].
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING

from zoo.anatomy.records import Shape
from zoo.errors import CheckpointError
from zoo.files.packed.numbers import check_finite, fields, fp4, integers, powers, product, rows_of, spread
from zoo.files.packed.parts import FLOATS, PartsOfFile, ceil_div, expect, read_sizes
from zoo.files.packed.record import Encoding, PackedMatrix
from zoo.files.tensor_info import TensorInfo

if TYPE_CHECKING:
    from torch import Tensor

PACKED, SCALE, ZEROS, ORDER = ".weight_packed", ".weight_scale", ".weight_zero_point", ".weight_g_idx"
SUFFIXES = (PACKED, SCALE, ZEROS, ORDER, ".weight_shape", ".weight_global_scale")
FP8 = "float8_e4m3fn"


@dataclass(frozen=True)
class WeightScheme:
    """What one group of the config says of its weights."""

    numbers: str  # int or float
    bits: int
    strategy: str  # tensor, channel, group, tensor_group or block
    size: tuple[int | None, int | None]  # rows and columns that share a scale; None: all of them
    symmetric: bool
    format: str  # what the config calls the layout; empty where it does not say

    def encoding(self, layout: str, numbers: str, *, symmetric: bool = True, ordered: bool = False) -> Encoding:
        """The record of a matrix in this scheme."""
        shared = {
            "tensor": "one scale per tensor", "channel": "one scale per row",
            "block": f"blocks of {self.size[0]} x {self.size[1]}",
        }.get(self.strategy, f"groups of {self.size[1]}")  # fmt: skip
        kind = "floats" if self.numbers == "float" else f"symmetric: {'yes' if symmetric else 'no'}"
        told = ", columns in the order of g_idx" if ordered else ""
        words = f"compressed-tensors {layout}, {self.bits} bits, {shared}, {kind}{told}"
        settings = {"layout": layout, "strategy": self.strategy}
        return Encoding("compressed-tensors", numbers, self.bits, self.size, symmetric, ordered, words, settings)


def matrix_of(file: PartsOfFile, module: str, scheme: WeightScheme, dtype: str) -> PackedMatrix:
    """The matrix of `module`. Raises CheckpointError for parts that its scheme cannot mean."""
    name = f"{module}.weight"
    if f"{module}{PACKED}" not in file.tensors:
        codes = file.take(name, name)
        return _plain_codes(file, codes, scheme, dtype)
    codes = file.take(f"{module}{PACKED}", name)
    return (_packed_integers if scheme.numbers == "int" else _packed_floats)(file, codes, name, scheme, dtype)


def _packed_integers(file: PartsOfFile, codes: TensorInfo, name: str, s: WeightScheme, dtype: str) -> PackedMatrix:
    if s.bits not in (2, 4, 8):
        why = "other numbers of bits have been packed in two ways under one name"
        raise CheckpointError(codes.file, codes.name, f"holds integers of {s.bits} bits, not 2, 4 or 8", why=why)
    layout = _layout(s, codes, "pack-quantized")
    sizes = read_sizes(file.take(f"{name}_shape", name), 2)
    expect(codes, ("int32",), (sizes[0], ceil(sizes[1] * s.bits / 32)), of=f"a matrix of {list(sizes)}")
    parts = {"codes": codes, "sizes": file.tensors[f"{name}_shape"], **_scales(file, name, s, sizes)}
    if zeros := file.maybe(f"{name}_zero_point", name):
        _check_zeros(zeros, parts["scales"], s, name)
        parts["zeros"] = zeros
    elif not s.symmetric:
        raise file.lacking(name, f"{name}_zero_point")
    if order := file.maybe(f"{name}_g_idx", name):
        expect(order, ("int32", "int64"), (sizes[1],), of=f"a matrix of {list(sizes)}")
        parts["order"] = order
    encoding = s.encoding(layout, "int", symmetric=zeros is None, ordered=order is not None)
    return PackedMatrix(name, sizes, dtype, encoding, parts, band_of_packed_integers)


def _plain_codes(file: PartsOfFile, codes: TensorInfo, s: WeightScheme, dtype: str) -> PackedMatrix:
    name, is_int = codes.name, s.numbers == "int"
    layout = _layout(
        s, codes, *(("int-quantized",) if is_int else ("float-quantized", "mxfp8-quantized")), "naive-quantized"
    )
    if s.bits != 8:
        raise CheckpointError(codes.file, name, f"is not packed, but the config says {s.bits} bits")
    expect(codes, ("int8",) if is_int else (FP8,), None, of=f"a weight of 8-bit {s.numbers}s")
    if len(codes.shape) != 2:
        raise CheckpointError(codes.file, name, f"is {list(codes.shape)}, not a matrix")
    parts = {"codes": codes, **_scales(file, name, s, codes.shape, also=("uint8",) if not is_int else ())}
    zeros = file.maybe(f"{name}_zero_point", name) if is_int else None
    if zeros:
        expect(zeros, ("int8",), parts["scales"].shape, of=f"{name}_scale")
        parts["zeros"] = zeros
    elif is_int and not s.symmetric:
        raise file.lacking(name, f"{name}_zero_point")
    encoding = s.encoding(layout, s.numbers if is_int else "fp8", symmetric=zeros is None)
    band = band_of_integers if is_int else band_of_floats
    return PackedMatrix(name, codes.shape, dtype, encoding, parts, band)


def _packed_floats(file: PartsOfFile, codes: TensorInfo, name: str, s: WeightScheme, dtype: str) -> PackedMatrix:
    if s.bits != 4 or s.strategy not in ("group", "tensor_group"):
        what = f"holds floats of {s.bits} bits, one scale per {s.strategy}: zoo reads 4 bits in groups"
        raise CheckpointError(codes.file, codes.name, what)
    expect(codes, ("uint8",), None, of="a weight of 4-bit floats")
    if len(codes.shape) != 2:
        raise CheckpointError(codes.file, codes.name, f"is {list(codes.shape)}, not a matrix")
    sizes = (codes.shape[0], 2 * codes.shape[1])
    is_nv = f"{name}_global_scale" in file.tensors
    layout = _layout(s, codes, "nvfp4-pack-quantized" if is_nv else "mxfp4-pack-quantized")
    parts = {"codes": codes, **_scales(file, name, s, sizes, only=(FP8,) if is_nv else ("uint8", "float8_e8m0fnu"))}
    if is_nv:
        parts["divisor"] = file.take(f"{name}_global_scale", name)
        if parts["divisor"].numel != 1:
            raise CheckpointError(codes.file, f"{name}_global_scale", "is not one number")
        expect(parts["divisor"], FLOATS, None, of="a weight of 4-bit floats")
    return PackedMatrix(name, sizes, dtype, s.encoding(layout, "fp4"), parts, band_of_packed_floats)


def _layout(s: WeightScheme, codes: TensorInfo, *found: str) -> str:
    """What the layout is called, as the config does where it says so. Raises CheckpointError where it says another."""
    if s.format in ("", "mixed-precision", *found):
        return s.format if s.format in found else found[0]
    raise CheckpointError(codes.file, codes.name, f"is {found[0]}, but the config says {s.format}")


def _scales(
    file: PartsOfFile,
    name: str,
    s: WeightScheme,
    sizes: Shape,
    *,
    also: tuple[str, ...] = (),
    only: tuple[str, ...] = (),
) -> dict[str, TensorInfo]:
    info = file.take(f"{name}_scale", name)
    (rows, columns), (down, right) = sizes, s.size
    if right and right > 1 and s.strategy != "block" and columns % right:
        raise CheckpointError(info.file, name, f"its {columns} columns are not whole groups of {right}")
    shape = (1 if down is None else ceil_div(rows, down), 1 if right is None else ceil_div(columns, right))
    flat = info.shape if len(info.shape) > 1 else (info.numel, 1)  # a number, or one of each row
    if flat != shape or info.dtype not in (only or (*FLOATS, *also)):
        expect(info, only or (*FLOATS, *also), shape, of=f"a matrix of {list(sizes)} with scales per {s.strategy}")
    return {"scales": info}


def _check_zeros(zeros: TensorInfo, scales: TensorInfo, s: WeightScheme, name: str) -> None:
    if zeros.dtype == "int32" and len(scales.shape) == 2:
        shape = (ceil(scales.shape[0] * s.bits / 32), scales.shape[1])
        return expect(zeros, ("int32",), shape, of=f"{name}_scale of {list(scales.shape)}")
    return expect(zeros, ("int8",), scales.shape, of=f"{name}_scale")


def band_of_packed_integers(matrix: PackedMatrix, parts: Mapping[str, Tensor], rows: slice) -> Tensor:
    """Codes of 2, 4 or 8 bits in words of 32, from the lowest bits; each is its number plus half the range. [R, C]"""
    import torch

    bits = matrix.encoding.bits
    half = 1 << bits - 1
    codes = fields(parts["codes"][rows], bits)[:, : matrix.shape[1]]
    zeros: Tensor | float = half
    if (stored := parts.get("zeros")) is not None:
        down = matrix.encoding.group[0]
        if stored.dtype == torch.int8:
            zeros = rows_of(stored.reshape(-1, stored.shape[-1]), rows, down).float() + half
        else:
            zeros = rows_of(fields(stored.T, bits).T, rows, down)
    return integers(matrix, parts, rows, codes=codes, zeros=zeros)


def band_of_integers(matrix: PackedMatrix, parts: Mapping[str, Tensor], rows: slice) -> Tensor:
    """Codes that are integers of 8 bits as they are. [R, C]"""
    zeros: Tensor | float = 0
    if (stored := parts.get("zeros")) is not None:
        zeros = rows_of(stored.reshape(-1, stored.shape[-1]), rows, matrix.encoding.group[0])
    return integers(matrix, parts, rows, codes=parts["codes"][rows], zeros=zeros)


def band_of_floats(matrix: PackedMatrix, parts: Mapping[str, Tensor], rows: slice) -> Tensor:
    """8-bit floats times their scales, rounded once to the type of the scales, bfloat16 for powers of two. [R, C]"""
    import torch

    scales = parts["scales"]
    is_power = scales.dtype == torch.uint8
    factors = spread(matrix, powers(matrix, scales) if is_power else scales, rows)
    out = product(matrix, parts["codes"][rows].float(), factors)
    return out.to(torch.bfloat16 if is_power else scales.dtype)


def band_of_packed_floats(matrix: PackedMatrix, parts: Mapping[str, Tensor], rows: slice) -> Tensor:
    """4-bit floats, two in a byte, times scales of 8 bits and one divisor: in float32, then bfloat16. [R, C]"""
    import torch

    scales = parts["scales"]
    factors = spread(matrix, scales if "divisor" in parts else powers(matrix, scales), rows)
    if "divisor" in parts:
        divisor = parts["divisor"].float().reshape(())
        check_finite(matrix, "divisor", divisor)
        if divisor == 0:
            raise matrix.refuse("divisor", "is 0, and the scales are divided by it")
        factors = factors / divisor
    return product(matrix, fp4(fields(parts["codes"][rows], 4)), factors).to(torch.bfloat16)
