"""Weights as optimum-quanto stores them: `weight._data` in 8 bits times `weight._scale`, one for each row.

Its file quanto_qmap.json names the modules. Weights of 2 and 4 bits are refused: the file does not have their shapes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from zoo.errors import CheckpointError
from zoo.files.packed.keys import HINT, PackingKeys, excepted
from zoo.files.packed.numbers import product, spread
from zoo.files.packed.parts import FLOATS, PartsOfFile, expect, shown_dtype
from zoo.files.packed.record import Encoding, PackedMatrix, Packing
from zoo.files.tensor_info import TensorInfo

if TYPE_CHECKING:
    from torch import Tensor

CODES, SCALE = ".weight._data", ".weight._scale"
ACTIVATIONS = (".input_scale", ".output_scale")


def recognise(keys: PackingKeys, config: Mapping[str, Any], tensors: Mapping[str, TensorInfo]) -> Packing:
    """The packed matrices of a checkpoint. Raises CheckpointError for what is not read, or does not fit together."""
    listed = keys.names("modules_to_not_convert")
    keys.pass_over("weights", "activations", *(name for name, value in keys.raw.items() if isinstance(value, dict)))
    keys.check()
    for name, info in tensors.items():
        if name.endswith(("._data._data", "._shift")):
            what = "is packed by optimum-quanto in 2 or 4 bits, and the file does not say the shape of the matrix"
            raise CheckpointError(info.file, name, what, hint=HINT)
    file = PartsOfFile(tensors)
    matrices = {f"{module}.weight": _matrix(file, module, config) for module in file.ending(CODES)}
    file.refuse_left((CODES, SCALE))
    unused = {
        name: "they are for activations, which zoo keeps as they are" for name in tensors if name.endswith(ACTIVATIONS)
    }
    return Packing(frozenset({keys.name} & config.keys()), matrices, unused, tuple(excepted(listed, matrices, keys)))


def _matrix(file: PartsOfFile, module: str, config: Mapping[str, Any]) -> PackedMatrix:
    name = f"{module}.weight"
    codes, scales = file.take(f"{module}{CODES}", name), file.take(f"{module}{SCALE}", name)
    expect(codes, ("int8", "float8_e4m3fn", "float8_e5m2"), None, of="a matrix of optimum-quanto")
    if len(codes.shape) != 2:
        raise CheckpointError(codes.file, codes.name, f"is {list(codes.shape)}, not a matrix")
    expect(scales, FLOATS, (codes.shape[0], 1), of=f"a matrix of {list(codes.shape)}")
    kind = "int" if codes.dtype == "int8" else "fp8"
    words = f"optimum-quanto, 8 bits, {'integers' if kind == 'int' else 'floats'}, one scale per row"
    encoding = Encoding("quanto", kind, 8, (1, None), words=words)
    parts = {"codes": codes, "scales": scales}
    return PackedMatrix(name, codes.shape, shown_dtype(config, scales.dtype), encoding, parts, band_of_rows)


def band_of_rows(matrix: PackedMatrix, parts: Mapping[str, Tensor], rows: slice) -> Tensor:
    """Codes times the scale of their row, rounded once to the type of the scales. [R, C]"""
    scales = spread(matrix, parts["scales"], rows)
    return product(matrix, parts["codes"][rows].float(), scales).to(parts["scales"].dtype)
