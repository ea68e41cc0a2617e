"""PyTorch's own files (.bin, .pth, .pt, .ckpt): pickles, and the bytes of each storage. Opened only by consent.

Names, types and shapes are read without torch by `restricted_pickle`, which runs nothing. Of a zip, which PyTorch has
written since 1.6, the tensors are then read by torch.load(weights_only=True), whose unpickler is restricted as well;
of an older file, one by one, by `legacy_pickle`.
"""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Callable, Mapping
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from zoo.errors import CheckpointError, clean
from zoo.files.legacy_pickle import PICKLE_BYTES, Place, Stored, is_legacy, read_legacy, read_tensor
from zoo.files.regular import size_of, unreadable
from zoo.files.restricted_pickle import Pickle, StoredTensor
from zoo.files.state_dict import find_weights
from zoo.files.tensor_info import TensorInfo, checked_shape
from zoo.units import ITEM_BYTES

if TYPE_CHECKING:
    from torch import Tensor

PICKLES = (".bin", ".pth", ".pt", ".ckpt")  # how such files end
_LOCAL_HEADER = struct.Struct("<4s22xHH")  # signature, length of the name, length of what follows it


def refuse_pickle(path: Path) -> CheckpointError:
    """The error for a pickle that was not asked for."""
    return CheckpointError(
        path,
        "",
        "is a pickle, a format that can run code",
        why="zoo opens a pickle only if you ask for it, and reads only tensors from it",
        hint="--allow-pickle, or save the weights as safetensors",
    )


def read_pickle_header(path: Path) -> dict[str, TensorInfo]:
    """The tensors of one file. Raises CheckpointError for one that holds anything else or does not hold together."""
    return read_pickle(path)[0]


def read_pickle(path: Path) -> tuple[dict[str, TensorInfo], tuple[str, ...]]:
    """The tensors of one file, and what is to be told of where in it they are. Raises as `read_pickle_header`."""
    size = size_of(path)
    weights, places = read_legacy(path) if is_legacy(path) else _read_zip(path, size)
    infos = {name: described(name, stored, places, path) for name, stored in weights.tensors.items()}
    return infos, weights.told(path.name)


def _read_zip(path: Path, size: int) -> Stored:
    try:
        with path.open("rb") as file:
            state, places = read_archive(file, size, path)
    except OSError as error:
        raise CheckpointError(path, "", unreadable(error)) from None
    return Stored(find_weights(state, StoredTensor, path), places)


def read_archive(file: BinaryIO, size: int, path: Path) -> tuple[Any, dict[str, Place]]:
    """What torch.save has put into a zip of `size` bytes, as plain values, and where in it each storage lies."""
    try:
        with _archive(file, path) as archive:
            records = _records(archive, size, path)
            state = Pickle(io.BytesIO(archive.read(records["data.pkl"])), path).value
            _check_byte_order(archive, records, path)
            places = {
                name.removeprefix("data/"): (_data_start(file, record, size, path), record.file_size)
                for name, record in records.items()
            }
    except (zipfile.BadZipFile, NotImplementedError, EOFError, RuntimeError, ValueError, struct.error) as error:
        raise CheckpointError(path, "", f"is a damaged zip archive: {clean(error)}") from None
    return state, places


class PickleReader:
    """Reads tensors from files that `read_pickle_header` passed; each is mapped once, copy-on-write."""

    def __init__(self, tensors: Mapping[str, TensorInfo], names: Mapping[str, str] | None = None) -> None:
        self._tensors = tensors
        self._names = names or {}  # our name of a tensor -> the file's, where they differ
        self._files: dict[Path, Callable[[str], Tensor | None]] = {}

    def __call__(self, name: str) -> Tensor:
        info = self._tensors[name]
        if info.file not in self._files:
            self._files[info.file] = _load(info.file)
        tensor = self._files[info.file](self._names.get(name, name))
        if tensor is None or tuple(tensor.shape) != info.shape or str(tensor.dtype) != f"torch.{info.dtype}":
            raise CheckpointError(info.file, name, "changed since its names were read")
        return tensor.detach()

    def close(self) -> None:
        """Let go of the files."""
        self._files.clear()


def _load(path: Path) -> Callable[[str], Tensor | None]:
    import pickle

    import torch

    if is_legacy(path):
        weights, places = read_legacy(path)

        def read(name: str) -> Tensor | None:
            stored = weights.tensors.get(name)
            return None if stored is None else read_tensor(path, stored, places[stored.storage])

        return read
    try:
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (pickle.UnpicklingError, RuntimeError, OSError, ValueError, TypeError) as error:
        raise CheckpointError(path, "", f"torch does not read it: {clean(error)}") from None
    return find_weights(state, torch.Tensor, path).tensors.get


def _archive(file: BinaryIO, path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(file)
    except zipfile.BadZipFile:
        what = "is neither a zip archive nor the older format of torch.save: is it a checkpoint?"
        hint = "if you trust it, load it with what wrote it and save the weights as safetensors"
        raise CheckpointError(path, "", what, hint=hint) from None


def _records(archive: zipfile.ZipFile, size: int, path: Path) -> dict[str, zipfile.ZipInfo]:
    """The archive's records without their common folder; none compressed, encrypted, doubled or beyond the file."""
    found: dict[str, zipfile.ZipInfo] = {}
    roots = set()
    for record in archive.infolist():
        root, _, name = record.filename.partition("/")
        roots.add(root)
        if name in found:
            raise CheckpointError(path, record.filename, "occurs twice in the archive")
        if record.compress_type != zipfile.ZIP_STORED or record.file_size != record.compress_size:
            raise CheckpointError(path, record.filename, "is compressed, which torch.save never does")
        if record.flag_bits & 0x1:
            raise CheckpointError(path, record.filename, "is encrypted")
        found[name] = record
    if found and (before := min(record.header_offset for record in found.values())):
        raise CheckpointError(path, "", f"has {before:,} bytes before the archive that it ends with")
    if len(roots) != 1 or "data.pkl" not in found:
        raise CheckpointError(path, "", "is a zip archive, but not one that torch.save writes")
    if sum(record.file_size for record in found.values()) > size:
        raise CheckpointError(path, "", f"its records say that they have more than the {size:,} bytes of the file")
    if (length := found["data.pkl"].file_size) > PICKLE_BYTES:
        raise CheckpointError(path, "data.pkl", f"has {length:,} bytes, more than the {PICKLE_BYTES:,} allowed")
    return found


def _check_byte_order(archive: zipfile.ZipFile, records: Mapping[str, zipfile.ZipInfo], path: Path) -> None:
    record = records.get("byteorder")
    if record and (record.file_size > 16 or archive.read(record) != b"little"):
        raise CheckpointError(
            path, "byteorder", "is not little-endian: the file was written on another kind of machine"
        )


def _data_start(file: BinaryIO, record: zipfile.ZipInfo, size: int, path: Path) -> int:
    file.seek(record.header_offset)
    signature, name_length, extra_length = _LOCAL_HEADER.unpack(file.read(_LOCAL_HEADER.size))
    start = record.header_offset + _LOCAL_HEADER.size + name_length + extra_length
    if signature != b"PK\3\4" or start + record.file_size > size:
        raise CheckpointError(path, record.filename, "is not inside the file")
    return start


def described(name: str, stored: StoredTensor, places: Mapping[str, Place], path: Path) -> TensorInfo:
    """A tensor, which lies within its storage. Raises CheckpointError for one that does not."""
    if stored.storage not in places:
        raise CheckpointError(path, name, f"its storage {clean(stored.storage)} is not in the file")
    shape, item = checked_shape(stored.shape, path, name), ITEM_BYTES[stored.dtype]
    nbytes, (begin, there) = prod(shape) * item, places[stored.storage]
    last = stored.start + sum((n - 1) * step for n, step in zip(shape, stored.strides, strict=True))
    # The second test is for strides of 0, with which few bytes would become as many as one likes.
    if nbytes and ((last + 1) * item > there or nbytes > there):
        raise CheckpointError(path, name, f"{stored.dtype} {list(shape)} goes beyond its storage of {there:,} bytes")
    is_one_run = stored.strides == _contiguous(shape) or prod(shape) < 2
    offset = begin + stored.start * item if is_one_run else None
    return TensorInfo(name, stored.dtype, shape, path, nbytes, offset)


def _contiguous(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(prod(shape[i + 1 :]) for i in range(len(shape)))
