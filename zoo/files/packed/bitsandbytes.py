"""Weights as bitsandbytes stores them: 4-bit codes of a table (arXiv:2305.14314), or rows of int8 (arXiv:2208.07339).

4 bits: `weight` holds two codes in a byte, the first in the higher half, the matrix as one line; `absmax` is the scale
of each block of that line, itself in 8 bits where it is nested; `quant_state.bitsandbytes__nf4` is JSON in bytes:
shape, block size, type. A number is its table's entry times its scale in float32, rounded to the type that the JSON
names. (bitsandbytes 0.50.2's kernel for AVX-512 gives other numbers where a block runs on into the next row; its
plain kernel does not.) 8 bits: `SCB` is the largest number of each row, which stands for 127.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import TYPE_CHECKING, Any

from zoo.errors import CheckpointError, clean
from zoo.files.json_file import parse_json
from zoo.files.packed.keys import PackingKeys, excepted
from zoo.files.packed.numbers import check_finite
from zoo.files.packed.parts import FLOATS, PartsOfFile, ceil_div, expect, read_bytes, shown_dtype
from zoo.files.packed.record import Encoding, PackedMatrix, Packing
from zoo.files.tensor_info import TensorInfo, checked_shape

if TYPE_CHECKING:
    from torch import Tensor

STATE, SCB = ".quant_state.bitsandbytes__", ".SCB"
SUFFIXES = (".weight.absmax", ".weight.quant_map", ".weight.nested_absmax", ".weight.nested_quant_map", SCB)
SUFFIXES += (f".weight{STATE}nf4", f".weight{STATE}fp4", ".weight_format")
# The numbers that codes stand for: quantiles of the normal distribution, and floats of two exponent bits over 12.
TABLES: dict[str, tuple[float, ...]] = {
    "nf4": (
        -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635,
        -0.18477343022823334, -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634,
        0.33791524171829224, 0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0,
    ),
    "fp4": tuple(x / 12 for x in (0, 0.0625, 8, 12, 4, 6, 2, 3, 0, -0.0625, -8, -12, -4, -6, -2, -3)),
}  # fmt: skip
BYTE = 7.874015718698502e-3  # 1 / 127, as bitsandbytes writes it
WITHOUT_EFFECT = (
    "_load_in_4bit _load_in_8bit load_in_4bit load_in_8bit llm_int8_enable_fp32_cpu_offload llm_int8_has_fp16_weight "
    "llm_int8_threshold bnb_4bit_compute_dtype bnb_4bit_quant_storage bnb_4bit_use_double_quant bnb_4bit_quant_type "
    "llm_int8_skip_modules"
).split()


def recognise(keys: PackingKeys, config: Mapping[str, Any], tensors: Mapping[str, TensorInfo]) -> Packing:
    """The packed matrices of a checkpoint. Raises CheckpointError for what is not read, or does not fit together."""
    file = PartsOfFile(tensors)
    matrices: dict[str, PackedMatrix] = {}
    for kind in TABLES:
        for name in file.ending(f"{STATE}{kind}"):
            matrices[name] = _four_bits(file, name, kind, config)
    for module in file.ending(SCB):
        matrices[f"{module}.weight"] = _eight_bits(file, module, config)
    file.refuse_left(SUFFIXES)
    said = str(keys.get("bnb_4bit_quant_type", "")).lower()
    other = {m.encoding.numbers for m in matrices.values()} - {said, "int"} if said else set()
    notes = [
        f"the config says {clean(said)}, the file {some_kind}: the file is followed" for some_kind in sorted(other)
    ]
    if any(m.encoding.numbers == "int" for m in matrices.values()):
        notes.append("its owner computes with activations of 8 bits; zoo does not round them")
    notes += excepted(keys.names("llm_int8_skip_modules"), matrices, keys)
    keys.pass_over(*WITHOUT_EFFECT)
    keys.check()
    return Packing(frozenset({keys.name}), matrices, notes=tuple(notes))


def _four_bits(file: PartsOfFile, name: str, kind: str, config: Mapping[str, Any]) -> PackedMatrix:
    state = file.take(f"{name}{STATE}{kind}", name)
    found = parse_json(read_bytes(state), state.file)
    shape = checked_shape(found.get("shape"), state.file, state.name)
    size, dtype = _block(found, "blocksize", state), found.get("dtype")
    if found.get("quant_type") != kind or dtype not in FLOATS or not 1 < len(shape) < 4:
        what = f"says {clean(repr(found.get('quant_type')))} {list(shape)} in {clean(repr(dtype))}"
        raise CheckpointError(
            state.file, state.name, what, why=f"zoo expects a matrix of {kind} in {' or '.join(FLOATS)}"
        )
    codes, scales, table = (file.take(f"{name}{end}", name) for end in ("", ".absmax", ".quant_map"))
    if codes.nbytes != ceil_div(prod(shape), 2):
        raise CheckpointError(codes.file, name, f"has {codes.nbytes:,} bytes, not two numbers of {list(shape)} in each")
    blocks = ceil_div(prod(shape), size)
    is_nested = "nested_blocksize" in found
    expect(scales, ("uint8",) if is_nested else ("float32",), (blocks,), of=f"{list(shape)} in blocks of {size}")
    expect(table, ("float32",), (16,), of=f"a table of {kind}")
    parts = {"codes": codes, "scales": scales, "table": table, "state": state}
    settings: dict[str, int | str] = {"block": size, "dtype": str(dtype)}
    if is_nested:
        parts |= {
            "outer": file.take(f"{name}.nested_absmax", name),
            "bytes": file.take(f"{name}.nested_quant_map", name),
        }
        outer = _block(found, "nested_blocksize", state)
        expect(parts["outer"], ("float32",), (ceil_div(blocks, outer),), of=f"{blocks} scales in blocks of {outer}")
        expect(parts["bytes"], ("float32",), (256,), of="scales of 8 bits")
        settings |= {"outer": outer, "offset": _offset(found, state)}
    words = f"bitsandbytes {kind}, 4 bits, blocks of {size}{', scales in 8 bits' if is_nested else ''}"
    encoding = Encoding("bitsandbytes", kind, 4, (None, None), words=words, settings=settings)
    return PackedMatrix(name, shape, shown_dtype(config, str(dtype)), encoding, parts, band_of_codes)


def _block(found: Mapping[str, Any], key: str, state: TensorInfo) -> int:
    size = found.get(key)
    if type(size) is not int or not 0 < size <= 1 << 20:
        raise CheckpointError(state.file, state.name, f"{key} is {clean(repr(size))}, not a number from 1 to 2^20")
    return size


def _offset(found: Mapping[str, Any], state: TensorInfo) -> str:
    value = found.get("nested_offset")
    if not isinstance(value, int | float) or isinstance(value, bool) or not abs(value) < 3e38:
        raise CheckpointError(state.file, state.name, f"nested_offset is {clean(repr(value))}, not a number")
    return repr(float(value))


def _eight_bits(file: PartsOfFile, module: str, config: Mapping[str, Any]) -> PackedMatrix:
    name = f"{module}.weight"
    codes, scales = file.take(name, name), file.take(f"{module}{SCB}", name)
    if codes.dtype != "int8" or len(codes.shape) != 2:
        raise CheckpointError(codes.file, name, f"is {codes.dtype} {list(codes.shape)}, not a matrix of int8")
    flat = (scales.numel,) if scales.shape in ((codes.shape[0], 1), (1, codes.shape[0])) else scales.shape
    if flat != codes.shape[:1] or scales.dtype not in FLOATS:
        expect(scales, FLOATS, codes.shape[:1], of=f"a matrix of {list(codes.shape)}")
    parts = {"codes": codes, "scales": scales}
    if layout := file.maybe(f"{module}.weight_format", name):
        if any(read_bytes(layout)):  # 0 is by rows; the others are orders of GPU kernels
            raise CheckpointError(layout.file, layout.name, "is not 0: the weight is in the order of a GPU's kernel")
        parts["layout"] = layout
    words = "bitsandbytes int8, one scale per row"
    encoding = Encoding("bitsandbytes", "int", 8, (1, None), words=words, settings={})
    return PackedMatrix(name, codes.shape, shown_dtype(config, "float16"), encoding, parts, band_of_rows)


def band_of_codes(matrix: PackedMatrix, parts: Mapping[str, Tensor], rows: slice) -> Tensor:
    """Entries of the table times the scales of their blocks, which run along the matrix as one line. [R, ...]"""
    import torch

    across = prod(matrix.shape[1:])
    first, last = rows.start * across, rows.stop * across
    table = torch.tensor(TABLES[matrix.encoding.numbers], device=parts["codes"].device)
    if not torch.allclose(parts["table"], table, rtol=0, atol=1e-3):
        raise matrix.refuse("table", f"is not the table of {matrix.encoding.numbers}")
    raw = parts["codes"].contiguous().view(torch.uint8).flatten()[first // 2 : -(-last // 2)]
    codes = torch.stack((raw >> 4, raw & 15), 1).flatten()[first % 2 :][: last - first]
    size = int(matrix.encoding.settings["block"])
    near = slice(first // size, -(-last // size))
    scales = _scales(matrix, parts, near).repeat_interleave(size)[first - near.start * size :][: last - first]
    out = table[codes.long()] * scales
    return out.reshape(-1, *matrix.shape[1:]).to(getattr(torch, str(matrix.encoding.settings["dtype"])))


def _scales(matrix: PackedMatrix, parts: Mapping[str, Tensor], near: slice) -> Tensor:
    """The scales of some blocks, unpacked where they are themselves in 8 bits. [blocks]"""
    scales = parts["scales"][near]
    if "outer" in parts:
        check_finite(matrix, "bytes", parts["bytes"])
        check_finite(matrix, "outer", parts["outer"])
        size = int(matrix.encoding.settings["outer"])
        first, last = near.start // size, -(-near.stop // size)
        outer = parts["outer"][first:last].repeat_interleave(size)[near.start - first * size :][: len(scales)]
        scales = parts["bytes"][scales.long()] * outer + float(matrix.encoding.settings["offset"])
    check_finite(matrix, "scales", scales)
    if "outer" not in parts and bool((scales < 0).any()):
        raise matrix.refuse("scales", "has a number below 0, which cannot be a largest number")
    return scales


def band_of_rows(matrix: PackedMatrix, parts: Mapping[str, Tensor], rows: slice) -> Tensor:
    """int8 times the largest number of its row over 127, in float32. [R, C]"""
    scales = parts["scales"].reshape(-1, 1)[rows].float()
    check_finite(matrix, "scales", scales)
    return parts["codes"][rows] * scales * BYTE
