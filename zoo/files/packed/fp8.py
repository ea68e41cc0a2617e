"""Weights stored as floats of 8 bits beside their scales: by block, by row or by tensor.

`x.weight_scale_inv` is the factor of each block, 128 x 128 but for the edges, as DeepSeek-V3 is released
(arXiv:2412.19437, 3.3.2); `x.weight_scale` that of a row (FBGEMM) or of all (vLLM, AutoFP8). Both are factors, whatever
the name says. Numbers are rounded once from their product in float32, as the released code does it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from zoo.errors import CheckpointError, clean
from zoo.files.packed.keys import PackingKeys, excepted
from zoo.files.packed.numbers import across, check_finite, powers, product, rows_of
from zoo.files.packed.parts import FLOATS, PartsOfFile, ceil_div, shown_dtype
from zoo.files.packed.record import Encoding, PackedMatrix, Packing
from zoo.files.tensor_info import TensorInfo

if TYPE_CHECKING:
    from torch import Tensor

INVERSE, SCALE = "_scale_inv", "_scale"
FP8 = ("float8_e4m3fn", "float8_e5m2")
POWERS = ("uint8", "float8_e8m0fnu")  # scales that are exponents
ACTIVATIONS = (
    ".activation_scale", ".input_scale", ".input_scale_ub", ".output_scale", ".q_scale", ".k_scale", ".v_scale",
    ".kv_scale",
)  # fmt: skip
LEFT = "they are for activations or the cache, which zoo keeps as they are"
WITHOUT_EFFECT = (
    "fmt dequantize scale_fmt is_checkpoint_fp8_serialized activation_scale_ub modules_to_convert kv_cache_scheme "
    "expert_dtype"
).split()


def recognise(keys: PackingKeys, config: Mapping[str, Any], tensors: Mapping[str, TensorInfo]) -> Packing:
    """The matrices of 8-bit floats. Raises CheckpointError for a weight and a scale that do not fit."""
    block = block_size(keys)
    keys.word("activation_scheme", "dynamic", among=("dynamic", "static"))
    listed = keys.names("modules_to_not_convert", "ignored_layers")
    keys.pass_over("weight_block_size", *WITHOUT_EFFECT)
    keys.check()
    file = PartsOfFile(tensors)
    matrices = scaled_floats(file, config, block)
    unused = {name: LEFT for name in tensors if name.endswith(ACTIVATIONS)}
    notes = ("its owner computes with activations of 8 bits; zoo does not round them",) if matrices else ()
    return Packing(frozenset({keys.name}), matrices, unused, (*notes, *excepted(listed, matrices, keys)))


def block_size(keys: PackingKeys) -> tuple[int, int] | None:
    """Rows and columns of a block, 128 by 128 where the config does not say; None where it says that there are none."""
    block = keys.raw.get("weight_block_size", [128, 128])
    if block is None:
        return None
    if isinstance(block, list) and len(block) == 2 and all(type(n) is int and 0 < n <= 1 << 20 for n in block):
        return block[0], block[1]
    raise keys.refuse("weight_block_size", f"{clean(repr(block))} is not a pair of sizes")


def scaled_floats(
    file: PartsOfFile, config: Mapping[str, Any], block: tuple[int, int] | None
) -> dict[str, PackedMatrix]:
    """Every weight of 8-bit floats in `file` with its scale. Raises CheckpointError for one without the other."""
    matrices: dict[str, PackedMatrix] = {}
    for suffix in (INVERSE, SCALE):
        for name in [n for n in file.ending(suffix) if not f"{n}{suffix}".endswith(ACTIVATIONS)]:
            info = file.tensors[f"{name}{suffix}"]
            if name not in file.tensors:
                if suffix == SCALE and not name.endswith(".weight"):
                    continue  # a weight of a model that is called so
                raise CheckpointError(info.file, info.name, f"scales {clean(name)}, which is missing")
            if name in matrices:
                raise CheckpointError(info.file, info.name, f"is a second scale of {clean(name)}")
            matrices[name] = _matrix(file, name, suffix, block, config)
    for name, info in file.tensors.items():
        if info.dtype in FP8 and name not in matrices and not name.endswith(SCALE):
            raise CheckpointError(info.file, name, f"is {info.dtype} without {clean(name)}{INVERSE}, its scale")
    return matrices


def _matrix(
    file: PartsOfFile, name: str, suffix: str, block: tuple[int, int] | None, config: Mapping[str, Any]
) -> PackedMatrix:
    weight, scale = file.take(name, name), file.take(f"{name}{suffix}", name)
    if weight.dtype not in FP8 or len(weight.shape) not in (2, 3):
        what = f"is {weight.dtype} {list(weight.shape)}, not a matrix of {FP8[0]}"
        raise CheckpointError(weight.file, weight.name, what)
    group, shared = _group(weight, scale, block)
    encoding = Encoding("fp8", "fp8", 8, group, words=f"8-bit floats, {shared}", settings={"dtype": weight.dtype})
    parts = {"codes": weight, "scales": scale}
    return PackedMatrix(name, weight.shape, shown_dtype(config, "bfloat16"), encoding, parts, band_of_blocks)


def _group(
    weight: TensorInfo, scale: TensorInfo, block: tuple[int, int] | None
) -> tuple[tuple[int | None, int | None], str]:
    """Rows and columns that share a scale, by the scale's shape, and the same in words."""
    rows, columns = weight.shape[-2:]
    outer = weight.shape[:-2]  # experts
    grid = (*outer, ceil_div(rows, block[0]), ceil_div(columns, block[1])) if block else None
    if scale.dtype in (*FLOATS, *POWERS):
        if block and scale.shape == grid:
            return block, f"blocks of {block[0]} x {block[1]}"
        if scale.numel == 1 and not outer:
            return (None, None), "one scale per tensor"
        if scale.shape == (*outer, rows, 1) or (scale.shape == (rows,) and not outer):
            return (1, None), "one scale per row"
    what = f"is {scale.dtype} {list(scale.shape)}"
    expected = (
        f"in blocks of {list(block)} has scales of {list(grid)}" if block and grid else "has one scale, or one a row"
    )
    raise CheckpointError(scale.file, scale.name, what, why=f"a weight of {list(weight.shape)} {expected}")


def band_of_blocks(matrix: PackedMatrix, parts: Mapping[str, Tensor], rows: slice) -> Tensor:
    """8-bit floats times their scales, in float32: rows of a matrix, or experts. [R, C] or [E, R, C]"""
    import torch

    scales = parts["scales"]
    if matrix.parts["scales"].dtype in POWERS:
        scales = powers(matrix, scales)
    codes = parts["codes"]
    if codes.ndim == 3:
        every = slice(0, codes.shape[1])
        each = [_product(matrix, codes[e], scales[e], every) for e in range(rows.start, rows.stop)]
        return torch.stack(each) if each else codes[:0].float()
    return _product(matrix, codes[rows], scales if scales.ndim > 1 else scales.reshape(-1, 1), rows)


def _product(matrix: PackedMatrix, codes: Tensor, scales: Tensor, rows: slice) -> Tensor:
    down, right = matrix.encoding.group
    near = rows_of(scales, rows, down).float()
    check_finite(matrix, "scales", near)
    return product(matrix, codes.float(), across(near, codes.shape[1], right))
