"""The types that tensors are written as, and their bytes. Needs the extra `gguf` for those that quantise.

As llama.cpp's converter has it: matrices take the type that was asked for; vectors, norms, and the small tables that
steer (routers, positions, kinds of token, biases of experts) stay float32; a matrix whose rows are not whole blocks is
written as float16.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import TYPE_CHECKING

from zoo.anatomy.records import Shape
from zoo.errors import MissingExtra, UsageError, ZooError, did_you_mean
from zoo.files.safetensors_writer import TensorSpec

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

PLAIN = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}
NUMBERS = {  # of a tensor
    "F32": 0, "F16": 1, "Q4_0": 2, "Q4_1": 3, "Q5_0": 6, "Q5_1": 7, "Q8_0": 8, "BF16": 30, "MXFP4": 39,
}  # fmt: skip
FILE_TYPES = {  # of most of them
    "F32": 0, "F16": 1, "Q4_0": 2, "Q4_1": 3, "Q8_0": 7, "Q5_0": 8, "Q5_1": 9, "BF16": 32, "MXFP4": 38,
}  # fmt: skip
BLOCKS = {"Q4_0": 18, "Q4_1": 20, "Q5_0": 22, "Q5_1": 24, "Q8_0": 34, "MXFP4": 17}  # bytes of a block of 32 numbers
BLOCK = 32
EXPERTS = "_exps.weight"  # what MXFP4 is for: all other matrices stay as they are
STEERING = (
    "ffn_gate_inp.weight", "ffn_gate_inp_shexp.weight", "position_embd.weight", "token_types.weight",
    "ssm_conv1d.weight", "altup_correct_coef.weight", "altup_predict_coef.weight",
)  # fmt: skip
CHUNK = 1 << 22  # numbers that are encoded at a time
LARGEST = 65504.0  # of float16, in which blocks keep their scale


def type_named(name: str) -> str:
    """`q8_0` as the format spells it. Raises UsageError for a type that zoo does not write."""
    if name.upper() not in NUMBERS:
        known = ", ".join(sorted(n.lower() for n in NUMBERS))
        raise UsageError(
            f"{name!r} is not a type that zoo writes", why=did_you_mean(name, known.split(", ")), hint=known
        )
    return name.upper()


def chosen_type(name: str, spec: TensorSpec, wanted: str | None) -> str:
    """How a tensor is written of which ours has this dtype; `wanted` None: as it is."""
    dtype, shape = spec
    if len(shape) < 2 or not name.endswith(".weight") or name.endswith(("norm.weight", *STEERING)):
        return "F32"
    if wanted == "MXFP4" and not name.endswith(EXPERTS):
        wanted = None
    kind = wanted or next((k for k, plain in PLAIN.items() if plain == dtype), "F32")
    return "F16" if kind in BLOCKS and shape[-1] % BLOCK else kind


def bytes_of_type(kind: str, shape: Shape) -> int:
    """Bytes of a tensor."""
    if kind in BLOCKS:
        return prod(shape) // BLOCK * BLOCKS[kind]
    return prod(shape) * (4 if kind == "F32" else 2)


def encoded(name: str, tensor: Tensor, kind: str) -> Iterator[memoryview]:
    """The bytes of a tensor, some rows at a time. Raises ZooError for a number that the type has no room for."""
    rows = tensor.detach().reshape(-1, tensor.shape[-1] if tensor.ndim else 1)
    step = max(1, CHUNK // max(rows.shape[1], 1))
    for start in range(0, rows.shape[0], step):
        part = rows[start : start + step]
        found = _blocks(name, part, kind) if kind in BLOCKS else _plain(name, part, kind)
        yield found.data.cast("B")


def _plain(name: str, rows: Tensor, kind: str) -> NDArray:
    import torch

    dtype: torch.dtype = getattr(torch, PLAIN[kind])
    out = rows.to(dtype).contiguous()
    if kind == "F16" and rows.dtype != dtype and not torch.isfinite(out).all():
        raise ZooError(f"{name}: a value overflows float16", hint="write it as bf16 or f32")
    return out.view(torch.uint8).numpy()


def _blocks(name: str, rows: Tensor, kind: str) -> NDArray:
    import numpy as np

    try:
        from gguf import GGMLQuantizationType, quantize
    except ImportError:
        raise MissingExtra("gguf", "gguf", f"writing {kind}") from None
    values = rows.float().contiguous().numpy()
    if values.size and float(np.abs(values).max()) > LARGEST:
        raise ZooError(f"{name}: a value is above {LARGEST:,.0f}, the largest scale of {kind}", hint="write it as bf16")
    return np.ascontiguousarray(quantize(values, GGMLQuantizationType[kind]))
