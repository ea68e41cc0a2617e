"""Weights as Apple's MLX stores them: codes in words of 32 bits along a row, the lowest bits first, by groups.

Of a matrix [out, in], `weight` [out, in * bits / 32] holds the codes and `scales` [out, G] those of the groups. In the
mode `affine`, `biases` [out, G] are added: a number is code * scale, rounded to the type of the scales, plus bias,
rounded again. In `mxfp4`, `nvfp4` and `mxfp8` codes are small floats and scales bytes: powers of two, or floats of 8
bits. The settings are config.json's `quantization`, with those of a module under its name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from zoo.errors import CheckpointError, clean
from zoo.files.packed.keys import PackingKeys
from zoo.files.packed.numbers import across, check_finite, fields, fp4, powers, product
from zoo.files.packed.parts import FLOATS, PartsOfFile, expect, shown_dtype
from zoo.files.packed.record import Encoding, PackedMatrix, Packing
from zoo.files.tensor_info import TensorInfo

if TYPE_CHECKING:
    from torch import Tensor

KEY, COPY = "quantization", "quantization_config"
SUFFIXES = (".scales", ".biases")
MODES = {"affine": (0, 0), "mxfp4": (4, 32), "nvfp4": (4, 16), "mxfp8": (8, 32)}  # bits and group sizes that are fixed


def settings_in(config: Mapping[str, Any]) -> dict[str, Any] | None:
    """MLX's settings in a config; None where it has none."""
    for key in (KEY, COPY):
        found = config.get(key)
        if isinstance(found, dict) and "quant_method" not in found and {"bits", "group_size"} <= found.keys():
            return found
    return None


def recognise(keys: PackingKeys, config: Mapping[str, Any], tensors: Mapping[str, TensorInfo]) -> Packing:
    """The packed matrices of a checkpoint. Raises CheckpointError for what is not read, or does not fit together."""
    both = [found for key in (KEY, COPY) if isinstance(found := config.get(key), dict)]
    if len(both) == 2 and both[0] != both[1]:
        what = f"is not the same as {COPY}: which of them is right?"
        raise CheckpointError(keys.file, KEY, what, hint="correct or remove one of the two")
    file = PartsOfFile(tensors)
    modules = [
        m for m in file.ending(".scales") if f"{m}.weight" in tensors and tensors[f"{m}.weight"].dtype == "uint32"
    ]
    own = {name for name, value in keys.raw.items() if isinstance(value, dict) or value is False}
    matrices = {f"{module}.weight": _matrix(file, module, keys, config) for module in modules}
    keys.pass_over("bits", "group_size", "mode", *own)
    keys.check()
    file.refuse_left(SUFFIXES)
    notes = [
        f"{keys.name} names {clean(name)}, which is not packed"
        for name in sorted(own)
        if keys.raw[name] and name not in modules
    ]
    notes += [f"{keys.name} says that {clean(name)} is not packed, but the file has it packed: the file is followed"
              for name in sorted(own) if keys.raw[name] is False and name in modules]  # fmt: skip
    return Packing(frozenset({KEY, COPY} & config.keys()), matrices, notes=tuple(notes[:8]))


def _matrix(file: PartsOfFile, module: str, keys: PackingKeys, config: Mapping[str, Any]) -> PackedMatrix:
    name = f"{module}.weight"
    own = keys.group(module) if isinstance(keys.raw.get(module), dict) else None
    said = own or keys
    mode = said.word("mode", keys.word("mode", "affine", among=MODES), among=MODES)
    fixed_bits, fixed_size = MODES[mode]
    bits = said.number("bits", fixed_bits or None, among=(fixed_bits,) if fixed_bits else (2, 3, 4, 5, 6, 8))
    size = said.number("group_size", fixed_size or None, among=(fixed_size,) if fixed_size else ())
    if own:
        own.check()
    codes, scales = file.take(name, name), file.take(f"{module}.scales", name)
    if len(codes.shape) not in (2, 3) or len(scales.shape) != len(codes.shape):
        raise CheckpointError(codes.file, name, f"is {list(codes.shape)}, with scales of {list(scales.shape)}")
    columns = scales.shape[-1] * size
    what = f"a matrix of {columns} columns in {bits} bits, groups of {size}"
    expect(codes, ("uint32",), (*scales.shape[:-1], columns * bits // 32), of=what)
    parts = {"codes": codes, "scales": scales}
    if mode == "affine":
        expect(scales, FLOATS, None, of=what)
        parts["offsets"] = file.take(f"{module}.biases", name)
        expect(parts["offsets"], (scales.dtype,), scales.shape, of=what)
    else:
        expect(scales, ("uint8",), None, of=what)
    words = f"MLX {mode}, {bits} bits, groups of {size}"
    numbers = {"affine": "int", "mxfp8": "fp8"}.get(mode, "fp4")
    encoding = Encoding("mlx", numbers, bits, (1, size), mode != "affine", words=words, settings={"mode": mode})
    dtype = shown_dtype(config, scales.dtype if mode == "affine" else "bfloat16")
    return PackedMatrix(name, (*codes.shape[:-1], columns), dtype, encoding, parts, band_of_words)


def band_of_words(matrix: PackedMatrix, parts: Mapping[str, Tensor], rows: slice) -> Tensor:
    """Some rows of [out, in], or experts of [E, out, in]."""
    import torch

    mode, columns, size = matrix.encoding.settings["mode"], matrix.shape[-1], matrix.encoding.group[1]
    raw, scales = (parts[role][rows].flatten(0, -2) for role in ("codes", "scales"))
    codes = fields(raw, matrix.encoding.bits)
    if mode == "affine":
        offsets = parts["offsets"][rows].flatten(0, -2)
        check_finite(matrix, "scales", scales)
        check_finite(matrix, "offsets", offsets)
        scaled = product(matrix, codes.float(), across(scales.float(), columns, size)).to(scales.dtype)
        out = scaled + across(offsets, columns, size)
    else:
        values = codes.view(torch.float8_e4m3fn).float() if mode == "mxfp8" else fp4(codes)
        factors = scales.view(torch.float8_e4m3fn).float() if mode == "nvfp4" else powers(matrix, scales)
        check_finite(matrix, "scales", factors)
        out = values * across(factors, columns, size)
    return out.reshape(-1, *matrix.shape[1:])
