"""GGUF files: metadata and tensors, the quantised ones given as float32. Needs the extra `gguf`.

The package `gguf` knows the quantisations; it does not limit what a header may claim, and makes five arrays per token
of a vocabulary. So `gguf_header` walks the header itself, and the package gets only spans that were checked.
"""

from __future__ import annotations

import mmap
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from zoo.errors import CheckpointError, MissingExtra, clean
from zoo.files.gguf_header import RawTensor, read_raw_header
from zoo.files.regular import unreadable
from zoo.files.tensor_info import TensorInfo, checked_shape
from zoo.units import ITEM_BYTES

if TYPE_CHECKING:
    from torch import Tensor

ALIGNMENT = 32
SHORT = 1024  # elements of the longest array that belongs to the config; vocabularies are longer
PLAIN = {  # numbers as they are; every other type is a quantisation
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "F64": "float64",
    "I8": "int8",
    "I16": "int16",
    "I32": "int32",
    "I64": "int64",
}


class GGUFHeader(NamedTuple):
    """What stands before the data of one file."""

    config: dict[str, Any]  # metadata but for the vocabulary and other long arrays
    tensors: dict[str, TensorInfo]


def read_gguf_header(path: Path) -> GGUFHeader:
    """The checked header of one file. Raises CheckpointError, or MissingExtra without the package `gguf`."""
    types = _quantisations(path)
    raw = read_raw_header(path, longest=SHORT)
    alignment = raw.metadata.get("general.alignment", ALIGNMENT)
    if type(alignment) is not int or not 0 < alignment <= 1 << 20 or alignment & (alignment - 1):
        raise CheckpointError(path, "general.alignment", f"{clean(repr(alignment))} is not a power of two")
    start = expected = _padded(raw.end, alignment)
    tensors: dict[str, TensorInfo] = {}
    for tensor in raw.tensors:
        info = _tensor(tensor, start, types, path)
        if info.offset != expected:
            what = f"starts at byte {info.offset:,}, but the tensors before it end at {expected:,}"
            raise CheckpointError(path, info.name, what)
        if expected + info.nbytes > raw.size:
            raise CheckpointError(path, info.name, f"goes beyond the end of the file, which has {raw.size:,} bytes")
        expected = _padded(expected + info.nbytes, alignment)
        tensors[info.name] = info
    return GGUFHeader(raw.metadata, tensors)


def read_gguf_metadata(path: Path) -> dict[str, Any]:
    """All metadata of a file, vocabulary and merges (tokenizer.ggml.*) among it."""
    return read_raw_header(path, longest=None).metadata


class GGUFReader:
    """Reads tensors from one file, mapped copy-on-write: plain types without copying, quantised ones as float32."""

    def __init__(self, tensors: Mapping[str, TensorInfo]) -> None:
        self._tensors = tensors
        self._files: dict[Path, mmap.mmap] = {}

    def __call__(self, name: str) -> Tensor:
        import torch

        info = self._tensors[name]
        data = self._map(info.file)
        assert info.offset is not None
        if info.offset + info.nbytes > len(data):
            raise CheckpointError(info.file, name, "changed since its header was read")
        dtype: torch.dtype = getattr(torch, info.dtype if info.dtype in ITEM_BYTES else "float32")
        if not info.numel:
            return torch.empty(info.shape, dtype=dtype)
        if info.dtype not in ITEM_BYTES:
            return self._dequantise(info, data)
        return torch.frombuffer(data, dtype=dtype, count=info.numel, offset=info.offset).reshape(info.shape)

    def close(self) -> None:
        """Let go of the files; tensors that were read keep what they need."""
        self._files.clear()

    def _map(self, path: Path) -> mmap.mmap:
        if path not in self._files:
            try:
                with path.open("rb") as file:
                    self._files[path] = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
            except (OSError, ValueError) as error:
                raise CheckpointError(path, "", unreadable(error)) from None
        return self._files[path]

    def _dequantise(self, info: TensorInfo, data: mmap.mmap) -> Tensor:
        import numpy as np
        import torch
        from gguf import GGMLQuantizationType, dequantize

        raw = np.frombuffer(data, np.uint8, info.nbytes, info.offset or 0)
        rows = prod(info.shape[:-1])
        try:
            values = dequantize(raw.reshape(rows, -1), GGMLQuantizationType[info.dtype])
        except NotImplementedError:
            why = "the gguf package cannot convert this type to numbers"
            raise CheckpointError(info.file, info.name, f"is quantised as {info.dtype}", why=why) from None
        return torch.from_numpy(np.ascontiguousarray(values, np.float32)).reshape(info.shape)


def _quantisations(path: Path) -> dict[int, tuple[str, int, int]]:
    """Number of a type -> its name, elements per block and bytes per block."""
    try:
        from gguf import GGML_QUANT_SIZES
    except ImportError:
        raise MissingExtra("gguf", "gguf", f"reading {path.name}") from None
    return {int(kind): (kind.name, *sizes) for kind, sizes in GGML_QUANT_SIZES.items()}


def _tensor(raw: RawTensor, start: int, types: Mapping[int, tuple[str, int, int]], path: Path) -> TensorInfo:
    if raw.kind not in types:
        raise CheckpointError(path, raw.name, f"its type {raw.kind} is not known to the gguf package")
    name, block, block_bytes = types[raw.kind]
    shape = checked_shape(raw.dims[::-1], path, raw.name)  # GGUF names the fastest dimension first
    if block > 1 and (not shape or shape[-1] % block):
        raise CheckpointError(path, raw.name, f"its rows {list(shape)} are not whole blocks of {block} in {name}")
    nbytes = prod(shape) // block * block_bytes
    return TensorInfo(raw.name, PLAIN.get(name, name), shape, path, nbytes, start + raw.offset)


def _padded(offset: int, alignment: int) -> int:
    return -(-offset // alignment) * alignment
