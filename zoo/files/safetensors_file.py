"""safetensors files: the header read and checked without torch, the tensors mapped without copying.

The library checks its own reading as well; what it lacks is names of files in its errors, a header without torch, and a
refusal of what it passes over (duplicate names, unknown keys). A file is eight bytes that hold the length of a header,
the header as JSON, and the bytes of the tensors, end to end.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from zoo.errors import CheckpointError, clean
from zoo.files.json_file import MAX_KEY, parse_json
from zoo.files.regular import size_of, unreadable
from zoo.files.tensor_info import TensorInfo, checked_shape
from zoo.units import ITEM_BYTES

if TYPE_CHECKING:
    from torch import Tensor

HEADER_BYTES = 100_000_000
MAX_TENSORS = 100_000  # of one file: more than the largest released models have in all of theirs
SPACES = b" \t\r\n"  # of JSON; writers pad with them, mostly behind the header
_MINUS_ZERO, _TEXT = re.compile(rb"[\[:,]\s*-0\s*[,\]}]"), re.compile(rb'"(?:[^"\\]|\\.)*"')
DTYPES = {  # the format's code -> torch's name, from the least to the most strictly aligned: the order of the data
    "BOOL": "bool",
    "U8": "uint8",
    "I8": "int8",
    "F8_E5M2": "float8_e5m2",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E8M0": "float8_e8m0fnu",
    "F8_E4M3FNUZ": "float8_e4m3fnuz",
    "F8_E5M2FNUZ": "float8_e5m2fnuz",
    "I16": "int16",
    "U16": "uint16",
    "F16": "float16",
    "BF16": "bfloat16",
    "I32": "int32",
    "U32": "uint32",
    "F32": "float32",
    "C64": "complex64",
    "F64": "float64",
    "I64": "int64",
    "U64": "uint64",
}


class Header(NamedTuple):
    """What stands before the data of one file."""

    tensors: dict[str, TensorInfo]  # in the order of the data
    metadata: dict[str, str]


def read_header(path: Path) -> Header:
    """The checked header of one file. Raises CheckpointError for all that the format does not allow."""
    size = size_of(path)
    try:
        with path.open("rb") as file:
            start, raw = _header_bytes(file.read(8), size, path)
            data = file.read(raw)
    except OSError as error:
        raise CheckpointError(path, "", unreadable(error)) from None
    if len(data) < raw or not data.lstrip(SPACES).startswith(b"{"):
        raise CheckpointError(path, "", "its header is not a JSON object: this is not a safetensors file")
    if (count := data.count(b'"data_offsets"')) > MAX_TENSORS:
        raise CheckpointError(path, "", f"its header lists {count:,} tensors, more than the {MAX_TENSORS:,} it may")
    entries = parse_json(data, path, max_depth=None)  # what is deeper than an entry is refused as one
    if _MINUS_ZERO.search(data) and _MINUS_ZERO.search(_TEXT.sub(b"", data)):
        raise CheckpointError(path, "", "its header has the number -0, which is not a size or an offset")
    found = entries.pop("__metadata__", None)
    metadata = _metadata({} if found is None else found, path)
    tensors = [_tensor(path, name, entry, start) for name, entry in entries.items()]
    tensors.sort(key=_span)
    _check_layout(tensors, start, size, path)
    return Header({info.name: info for info in tensors}, metadata)


class SafetensorsReader:
    """Reads tensors from any number of files; each is mapped once, copy-on-write, and shares the page cache.

    A tensor that was read stays valid after `close`, and writing to it never reaches the file.
    """

    def __init__(self, tensors: Mapping[str, TensorInfo]) -> None:
        self._tensors = tensors
        self._files: dict[Path, Any] = {}

    def __call__(self, name: str) -> Tensor:
        from safetensors import SafetensorError, safe_open

        info = self._tensors[name]
        try:
            if info.file not in self._files:
                self._files[info.file] = safe_open(info.file, "pt")
            tensor: Tensor = self._files[info.file].get_tensor(name)
        except (SafetensorError, OSError) as error:
            raise CheckpointError(info.file, name, f"cannot be read: {clean(error)}") from None
        if tuple(tensor.shape) != info.shape or str(tensor.dtype) != f"torch.{info.dtype}":
            raise CheckpointError(info.file, name, "changed since its header was read")
        return tensor

    def close(self) -> None:
        """Let go of the files."""
        self._files.clear()


def _header_bytes(prefix: bytes, size: int, path: Path) -> tuple[int, int]:
    """Where the data starts, and how long the header is."""
    if len(prefix) < 8:
        raise CheckpointError(path, "", f"has {size} bytes, too few for a safetensors file")
    (length,) = struct.unpack("<Q", prefix)
    if length > HEADER_BYTES:
        why = f"safetensors allows {HEADER_BYTES:,}"
        raise CheckpointError(
            path, "", f"its header would have {length:,} bytes: this is not a safetensors file", why=why
        )
    if length > size - 8:
        raise CheckpointError(path, "", f"is cut off: its header has {length:,} bytes, but only {size - 8:,} are there")
    return 8 + length, length


def _metadata(found: object, path: Path) -> dict[str, str]:
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise CheckpointError(path, "__metadata__", "is not a group of strings")
    if (framework := found.get("format", "pt")) in ("tf", "flax"):
        why = "the same names and shapes mean different layouts there"
        raise CheckpointError(path, "__metadata__.format", f"the file was written for {framework}", why=why)
    return found


def _tensor(path: Path, name: str, entry: Any, start: int) -> TensorInfo:
    if len(name) > MAX_KEY:
        raise CheckpointError(path, name[:MAX_KEY], f"a tensor's name has {len(name):,} characters")
    try:
        code, dims, (begin, end) = entry["dtype"], entry["shape"], entry["data_offsets"]
    except (TypeError, KeyError, ValueError):
        code = dims = begin = end = None
    if type(begin) is not int or type(end) is not int or begin < 0 or len(entry) != 3:
        raise CheckpointError(path, name, "its header entry is not a dtype, a shape and two data_offsets")
    dtype = DTYPES.get(code) if isinstance(code, str) else None
    if dtype is None:
        raise CheckpointError(
            path, name, f"the dtype {clean(repr(code))} is not known", why=f"known: {', '.join(DTYPES)}"
        )
    shape = checked_shape(dims, path, name)
    nbytes = prod(shape) * ITEM_BYTES[dtype]
    if end - begin != nbytes:
        what = f"{dtype} {list(shape)} takes {nbytes:,} bytes, its data_offsets span {end - begin:,}"
        raise CheckpointError(path, name, what)
    return TensorInfo(name, dtype, shape, path, nbytes, start + begin)


def _span(info: TensorInfo) -> tuple[int, int]:
    assert info.offset is not None
    return info.offset, info.nbytes  # an empty tensor goes before the one that starts at the same byte


def _check_layout(tensors: list[TensorInfo], start: int, size: int, path: Path) -> None:
    """The data must be covered once, from its first byte to its last."""
    expected = start
    for info in tensors:
        begin, nbytes = _span(info)
        if begin != expected:
            what = "overlaps the tensor before it" if begin < expected else "leaves a gap before it"
            raise CheckpointError(path, info.name, f"{what}: starts at byte {begin:,}, not {expected:,}")
        expected = begin + nbytes
    if expected > size:
        last = tensors[-1].name if tensors else ""
        raise CheckpointError(path, last, f"the file is cut off: it needs {expected:,} bytes and has {size:,}")
    if expected < size:
        raise CheckpointError(path, "", f"has {size - expected:,} bytes after the last tensor")
