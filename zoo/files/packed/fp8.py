"""Weights stored as 8-bit floats with one scale per block, as DeepSeek-V3 releases them (arXiv:2412.19437, 3.3.2).

Beside `x.weight` stands `x.weight_scale_inv`, the factor of each block, 128 x 128 but for the edges. Numbers are shown
as bfloat16, rounded once from their product in float32, as the released code does it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from zoo.errors import CheckpointError, clean
from zoo.files.packed.keys import PackingKeys
from zoo.files.packed.numbers import band_of_floats
from zoo.files.packed.parts import FLOATS, PartsOfFile, ceil_div, expect
from zoo.files.packed.record import Encoding, PackedMatrix, Packing
from zoo.files.tensor_info import TensorInfo

SCALE = "_scale_inv"
FP8 = "float8_e4m3fn"


def recognise(keys: PackingKeys, config: Mapping[str, Any], tensors: Mapping[str, TensorInfo]) -> Packing:
    """The matrices with scales per block. Raises CheckpointError for a weight and a scale that do not fit."""
    block = block_size(keys)
    file = PartsOfFile(tensors)
    matrices: dict[str, PackedMatrix] = {}
    for name in file.ending(SCALE):
        if name not in tensors:
            raise CheckpointError(
                tensors[f"{name}{SCALE}"].file, f"{name}{SCALE}", f"scales {clean(name)}, which is missing"
            )
        matrices[name] = _matrix(file, name, block)
    for name, info in tensors.items():
        if info.dtype == FP8 and name not in matrices:
            raise CheckpointError(info.file, name, f"is {FP8} without {clean(name)}{SCALE}, its scale")
    return Packing(frozenset({keys.name}), matrices)


def block_size(keys: PackingKeys) -> tuple[int, int]:
    """Rows and columns of a block, 128 by 128 where the config does not say."""
    block = keys.raw.get("weight_block_size", [128, 128])
    if isinstance(block, list) and len(block) == 2 and all(type(n) is int and 0 < n <= 1 << 20 for n in block):
        return block[0], block[1]
    why = "zoo reads 8-bit floats with one scale per block"
    raise keys.refuse("weight_block_size", f"{clean(repr(block))} is not a pair of sizes", why=why)


def _matrix(file: PartsOfFile, name: str, block: tuple[int, int]) -> PackedMatrix:
    weight, scale = file.take(name, name), file.take(f"{name}{SCALE}", name)
    if weight.dtype != FP8 or len(weight.shape) != 2:
        what = f"is {weight.dtype} {list(weight.shape)}, not a matrix of {FP8}"
        raise CheckpointError(weight.file, weight.name, what)
    rows, columns = (ceil_div(size, step) for size, step in zip(weight.shape, block, strict=True))
    expect(scale, FLOATS, (rows, columns), of=f"a weight of {list(weight.shape)} in blocks of {list(block)}")
    words = f"8-bit floats, blocks of {block[0]} x {block[1]}"
    encoding = Encoding("fp8", "fp8", 8, block, words=words)
    return PackedMatrix(name, weight.shape, "bfloat16", encoding, {"codes": weight, "scales": scale}, band_of_floats)
