"""Weights as NVIDIA's ModelOpt stores them: 8-bit floats with one scale, or 4-bit floats in groups of 16 (NVFP4).

NVFP4: `weight` [out, in / 2] holds two codes in a byte, the first in the lower half; `weight_scale` [out, in / 16] are
8-bit floats, and `weight_scale_2` multiplies them all. A number is code * (scale * scale_2), in float32, rounded once.
The settings stand in config.json or in hf_quant_config.json beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from zoo.errors import CheckpointError
from zoo.files.packed import fp8
from zoo.files.packed.keys import PackingKeys, excepted
from zoo.files.packed.numbers import check_finite, fields, fp4, product, spread
from zoo.files.packed.parts import PartsOfFile, expect, shown_dtype
from zoo.files.packed.record import Encoding, PackedMatrix, Packing
from zoo.files.tensor_info import TensorInfo

if TYPE_CHECKING:
    from torch import Tensor

ALGORITHMS = ("fp8", "fp8_per_channel_per_token", "nvfp4", "mixed_precision")
OUTER = ".weight_scale_2"
GROUP = 16
WITHOUT_EFFECT = "producer kv_cache_quant_algo kv_cache_scheme config_groups quantized_layers has_zero_point".split()


def recognise(keys: PackingKeys, config: Mapping[str, Any], tensors: Mapping[str, TensorInfo]) -> Packing:
    """The packed matrices of a checkpoint. Raises CheckpointError for what is not read, or does not fit together."""
    keys.word("quant_algo", None, among=ALGORITHMS)
    keys.number("group_size", GROUP, among=(GROUP,))
    listed = keys.names("exclude_modules", "ignore")
    keys.pass_over(*WITHOUT_EFFECT)
    keys.check()
    file = PartsOfFile(tensors)
    matrices = {f"{module}.weight": _matrix(file, module, config) for module in file.ending(OUTER)}
    rest = PartsOfFile({name: info for name, info in tensors.items() if name not in file.taken})
    floats = fp8.scaled_floats(rest, config, None)
    matrices |= {name: replace(m, encoding=_as_ours(m.encoding)) for name, m in floats.items()}
    unused = {name: fp8.LEFT for name in tensors if name.endswith(fp8.ACTIVATIONS)}
    notes = ("its owner computes with activations of few bits; zoo does not round them",)
    return Packing(frozenset({keys.name}), matrices, unused, (*notes, *excepted(listed, matrices, keys)))


def _as_ours(encoding: Encoding) -> Encoding:
    return replace(encoding, format="modelopt", words=f"ModelOpt {encoding.words}")


def _matrix(file: PartsOfFile, module: str, config: Mapping[str, Any]) -> PackedMatrix:
    name = f"{module}.weight"
    codes, scales, outer = (file.take(f"{module}{end}", name) for end in (".weight", ".weight_scale", OUTER))
    if codes.dtype != "uint8" or len(codes.shape) != 2:
        raise CheckpointError(codes.file, name, f"is {codes.dtype} {list(codes.shape)}, not a matrix of uint8")
    rows, columns = codes.shape[0], 2 * codes.shape[1]
    if columns % GROUP:
        raise CheckpointError(codes.file, name, f"its {columns} columns are not whole groups of {GROUP}")
    expect(scales, fp8.FP8[:1], (rows, columns // GROUP), of=f"a matrix of {[rows, columns]} in groups of {GROUP}")
    if outer.numel != 1:
        raise CheckpointError(outer.file, outer.name, "is not one number")
    expect(outer, ("float32",), None, of="a weight of 4-bit floats")
    words = f"ModelOpt NVFP4, 4 bits, groups of {GROUP}"
    encoding = Encoding("modelopt", "fp4", 4, (1, GROUP), words=words)
    parts = {"codes": codes, "scales": scales, "outer": outer}
    return PackedMatrix(name, (rows, columns), shown_dtype(config, "bfloat16"), encoding, parts, band_of_fp4)


def band_of_fp4(matrix: PackedMatrix, parts: Mapping[str, Tensor], rows: slice) -> Tensor:
    """4-bit floats times the product of both scales, in float32. [R, C]"""
    outer = parts["outer"].float().reshape(())
    check_finite(matrix, "outer", outer)
    factors = spread(matrix, parts["scales"], rows) * outer
    return product(matrix, fp4(fields(parts["codes"][rows], 4)), factors)
