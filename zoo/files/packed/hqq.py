"""Weights as HQQ stores them (Badri and Shaji, 2023, Half-Quadratic Quantization): each module says all of itself.

Beside `W_q`, `scale` and `zero` a module has its settings as small tensors: `nbits`, `shape`, `axis`, `packing`, ...
The matrix is cut into rows of a group (axis 1) or columns of a group (axis 0); of the codes in a word, the first stand
in the highest bits, and belong to rows that lie a whole block apart. A number is (code - zero) * scale, each step
rounded.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import TYPE_CHECKING, Any

from zoo.errors import CheckpointError, clean
from zoo.files.packed.keys import HINT, PackingKeys, excepted
from zoo.files.packed.numbers import check_finite, product
from zoo.files.packed.parts import PartsOfFile, ceil_div, expect, read_bytes, read_sizes, shown_dtype
from zoo.files.packed.record import Encoding, PackedMatrix, Packing
from zoo.files.tensor_info import TensorInfo

if TYPE_CHECKING:
    from torch import Tensor

CODES = ".W_q"
WITHOUT_EFFECT = (
    "encoded_state_dict stores_quant_config offload_meta channel_wise optimize round_zero unpack_view_dtype group_size"
).split()
NOT_YET = ("quant_zero", "quant_scale", "view_as_float")  # scales that are packed themselves, codes seen as floats
PACKINGS = {"8bit_u8": (8, 1), "4bit_u8": (4, 2), "3bit_32": (3, 10), "2bit_u8": (2, 4), "1bit_u8": (1, 8)}


def recognise(keys: PackingKeys, config: Mapping[str, Any], tensors: Mapping[str, TensorInfo]) -> Packing:
    """The packed matrices of a checkpoint. Raises CheckpointError for what is not read, or does not fit together."""
    listed = keys.names("skip_modules", "modules_to_not_convert")
    keys.pass_over("quant_config")  # each module of the file says it of itself
    keys.check()
    file = PartsOfFile(tensors)
    modules = file.ending(CODES)
    matrices = {f"{module}.weight": _matrix(file, module, config) for module in modules}
    file.refuse_left((CODES,))
    settings = {f"{module}.{name}": "settings of the packing" for module in modules for name in WITHOUT_EFFECT}
    unused = {name: why for name, why in settings.items() if name in tensors and tensors[name].nbytes < 64}
    return Packing(frozenset({keys.name}), matrices, unused, tuple(excepted(listed, matrices, keys)))


def _matrix(file: PartsOfFile, module: str, config: Mapping[str, Any]) -> PackedMatrix:
    name = f"{module}.weight"
    parts = {
        role: file.take(f"{module}.{part}", name)
        for role, part in (("codes", "W_q"), ("scales", "scale"), ("zeros", "zero"), ("sizes", "shape"))
    }
    parts |= {part: file.take(f"{module}.{part}", name) for part in ("nbits", "axis", "packing", "compute_dtype")}
    for part in NOT_YET:
        if (info := file.maybe(f"{module}.{part}", name)) is not None:
            if any(read_bytes(info)):
                raise CheckpointError(info.file, info.name, "is set, which zoo does not read", hint=HINT)
            parts[part] = info
    shape, packing = read_sizes(parts["sizes"], 2), _text(parts["packing"])
    dtype = _text(parts["compute_dtype"]).removeprefix("torch.")
    bits, count = PACKINGS.get(packing, (0, 1))
    axis = int.from_bytes(read_bytes(parts["axis"])[:4], "little")
    if not bits or int.from_bytes(read_bytes(parts["nbits"])[:4], "little") != bits or axis not in (0, 1):
        info = parts["packing"]
        raise CheckpointError(info.file, info.name, f"says {clean(packing)}, and nbits or axis do not go with it")
    if dtype not in ("float16", "bfloat16", "float32"):
        info = parts["compute_dtype"]
        raise CheckpointError(info.file, info.name, f"is {clean(dtype)}, not a type that models compute in")
    _check(parts, shape, bits, count, axis)
    width = parts["codes"].shape[1]
    words = f"HQQ, {bits} bits, groups of {width if axis else prod(shape) // width}, symmetric: no"
    settings = {"count": count, "axis": axis, "dtype": dtype}
    encoding = Encoding("hqq", "int", bits, (None, None), False, words=words, settings=settings)
    return PackedMatrix(name, shape, shown_dtype(config, dtype), encoding, parts, band_of_codes)


def _check(parts: Mapping[str, TensorInfo], shape: tuple[int, ...], bits: int, count: int, axis: int) -> None:
    codes = parts["codes"]
    expect(codes, ("int32",) if bits == 3 else ("uint8",), None, of=f"HQQ in {bits} bits")
    width = codes.shape[1] if len(codes.shape) == 2 else 0
    lines = prod(shape) // width if width else 0
    if not width or prod(shape) % width or codes.shape[0] != ceil_div(lines, count):
        what = f"is {list(codes.shape)}, which is not a matrix of {list(shape)} with {count} codes in a word"
        raise CheckpointError(codes.file, codes.name, what)
    for role in ("scales", "zeros"):
        grid = (lines, 1) if axis else (1, width)
        expect(parts[role], ("float16", "bfloat16", "float32"), grid, of=f"a matrix of {list(shape)}")


def _text(info: TensorInfo) -> str:
    expect(info, ("uint8",), None, of="a setting in letters")
    return read_bytes(info)[:64].decode("latin-1")


def band_of_codes(matrix: PackedMatrix, parts: Mapping[str, Tensor], rows: slice) -> Tensor:
    """(code - zero) * scale of some rows; the matrix is one line, cut into lines of the packed codes. [R, C]"""
    import torch

    settings, bits = matrix.encoding.settings, matrix.encoding.bits
    dtype, count = getattr(torch, str(settings["dtype"])), int(settings["count"])
    codes, across = parts["codes"], matrix.shape[1]
    step, width = codes.shape
    first, last = rows.start * across, rows.stop * across
    lines = torch.arange(first // width, ceil_div(last, width), device=parts["codes"].device)
    shifts = (count - 1 - lines // step) * bits
    values = codes[lines % step].int() >> shifts[:, None].int() & (1 << bits) - 1
    near = (lines, slice(None)) if settings["axis"] else (slice(None), slice(None))
    scales, zeros = parts["scales"][near].to(dtype), parts["zeros"][near].to(dtype)
    check_finite(matrix, "scales", scales)
    check_finite(matrix, "zeros", zeros)
    out = product(matrix, values.to(dtype) - zeros, scales)
    return out.flatten()[first - first // width * width :][: last - first].reshape(-1, across)
