"""Tensors whose bytes go from one file to another as they are, in parts that are checked on the way. Needs no torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

from zoo.errors import CheckpointError
from zoo.files.regular import unreadable
from zoo.files.tensor_info import TensorInfo

CHUNK = 1 << 20  # bytes that are read at once: few enough for the cache, and whole elements


class TensorPart(NamedTuple):
    """A run of a tensor's bytes, which are there until the next part is asked for."""

    at: int  # bytes before it
    data: memoryview


def moved(
    wanted: Mapping[str, TensorInfo],
    check: Callable[[str, memoryview], None],
    opened: Callable[[Path], object] = id,
) -> Iterator[tuple[str, TensorPart]]:
    """The parts of each tensor, which lies in a file as its info says, by the name that wants it and in that order.

    `check` is called with each part before it is handed on, `opened` with each file once it is open. Raises
    CheckpointError where a file is not what it was when its header was read.
    """
    buffer = memoryview(bytearray(CHUNK))
    with ExitStack() as stack:
        files: dict[Path, Any] = {}
        for name, info in wanted.items():
            assert info.offset is not None
            try:
                if info.file not in files:
                    files[info.file] = stack.enter_context(info.file.open("rb", buffering=0))
                    opened(info.file)
                files[info.file].seek(info.offset)
                for at in range(0, info.nbytes or 1, CHUNK):
                    data = buffer[: min(CHUNK, info.nbytes - at)]
                    _fill(files[info.file], data, info)
                    check(name, data)
                    yield name, TensorPart(at, data)
            except OSError as error:
                raise CheckpointError(info.file, name, unreadable(error)) from None


def _fill(source: Any, data: memoryview, info: TensorInfo) -> None:
    done = 0
    while done < len(data):
        if not (count := source.readinto(data[done:])):
            raise CheckpointError(info.file, info.name, "changed since its header was read")
        done += count
