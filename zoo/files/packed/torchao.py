"""Weights as torchao stores them in safetensors: `_weight_qdata` times `_weight_scale`, described in the file's header.

The header says of each weight which class it is and what shares a scale. Two classes are read: Int8Tensor and
Float8Tensor; the others are laid out for one kernel each. A number is (code - zero) * scale in float32, rounded once.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.errors import CheckpointError, clean
from zoo.files.json_file import parse_json
from zoo.files.packed.keys import HINT, PackingKeys, excepted
from zoo.files.packed.numbers import integers, product, spread
from zoo.files.packed.parts import FLOATS, PartsOfFile, ceil_div, expect, shown_dtype
from zoo.files.packed.record import Encoding, PackedMatrix, Packing
from zoo.files.safetensors_file import read_header
from zoo.files.tensor_info import TensorInfo

if TYPE_CHECKING:
    from torch import Tensor

CODES = "._weight_qdata"
CLASSES = {"Int8Tensor": "int8", "Float8Tensor": "float8_e4m3fn"}


def recognise(keys: PackingKeys, config: Mapping[str, Any], tensors: Mapping[str, TensorInfo]) -> Packing:
    """The packed matrices of a checkpoint. Raises CheckpointError for what is not read, or does not fit together."""
    listed = keys.names("modules_to_not_convert")
    keys.pass_over("quant_type", "quant_type_kwargs", "include_input_output_embeddings", "untie_embedding_weights")
    keys.check()
    file = PartsOfFile(tensors)
    headers: dict[Path, Mapping[str, str]] = {}
    matrices: dict[str, PackedMatrix] = {}
    for module in file.ending(CODES):
        where = tensors[f"{module}{CODES}"].file
        if where not in headers:
            headers[where] = read_header(where).metadata if where.suffix == ".safetensors" else {}
        matrices[f"{module}.weight"] = _matrix(file, module, headers[where], config)
    for name, info in tensors.items():
        if "._weight_" in name and name not in file.taken:
            raise CheckpointError(info.file, name, "is of a layout of torchao that zoo does not read", hint=HINT)
    return Packing(frozenset({keys.name}), matrices, notes=tuple(excepted(listed, matrices, keys)))


def _matrix(file: PartsOfFile, module: str, header: Mapping[str, str], config: Mapping[str, Any]) -> PackedMatrix:
    name = f"{module}.weight"
    codes, scales = file.take(f"{module}{CODES}", name), file.take(f"{module}._weight_scale", name)
    kind, block, dtype = _described(header, name, codes)
    expect(codes, (CLASSES[kind],), None, of=f"a weight of class {kind}")
    if len(codes.shape) != 2 or len(block) != 2:
        raise CheckpointError(codes.file, codes.name, f"is {list(codes.shape)}, not a matrix")
    grid = tuple(ceil_div(size, step) for size, step in zip(codes.shape, block, strict=True))
    expect(scales, FLOATS, grid, of=f"a matrix of {list(codes.shape)} in blocks of {block}")
    parts = {"codes": codes, "scales": scales}
    if zeros := file.maybe(f"{module}._weight_zero_point", name):
        expect(zeros, ("int8",), grid, of=f"scales of {list(grid)}")
        parts["zeros"] = zeros
    words = f"torchao {kind}, 8 bits, blocks of {block[0]} x {block[1]}"
    numbers = "int" if kind == "Int8Tensor" else "fp8"
    encoding = Encoding("torchao", numbers, 8, (block[0], block[1]), not zeros, words=words)
    return PackedMatrix(name, codes.shape, shown_dtype(config, dtype), encoding, parts, band_of_blocks)


def _described(header: Mapping[str, str], name: str, codes: TensorInfo) -> tuple[str, list[int], str]:
    """Class, block and type of a weight, by the header of its file."""
    text = header.get(name)
    found = parse_json(text.encode(), codes.file) if text else {}
    data, kind = found.get("_data"), found.get("_type")
    if not isinstance(kind, str) or kind not in CLASSES or not isinstance(data, dict):
        what = f"is described as {clean(repr(kind))}, not one of {', '.join(CLASSES)}"
        raise CheckpointError(codes.file, codes.name, what, hint=HINT)
    block, dtype = data.get("block_size"), data.get("dtype")
    dtype = dtype.get("_data") if isinstance(dtype, dict) else None
    if not isinstance(block, list) or not all(type(n) is int and 0 < n < 1 << 48 for n in block) or dtype not in FLOATS:
        what = f"is described with blocks of {clean(repr(block))} in {clean(repr(dtype))}"
        raise CheckpointError(codes.file, codes.name, what)
    return str(kind), block, str(dtype)


def band_of_blocks(matrix: PackedMatrix, parts: Mapping[str, Tensor], rows: slice) -> Tensor:
    """(code - zero) * scale in float32. [R, C]"""
    if "zeros" not in parts:
        return product(matrix, parts["codes"][rows].float(), spread(matrix, parts["scales"], rows))
    zeros = spread(matrix, parts["zeros"], rows, role="zeros")
    codes = parts["codes"][rows].float() - zeros
    return integers(matrix, {**parts, "scales": parts["scales"].float()}, rows, codes=codes, zeros=0)
