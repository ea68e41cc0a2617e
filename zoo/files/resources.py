"""Bytes of a file that a stranger may have put there: a regular file or an error, never more of it than asked for."""

from __future__ import annotations

import os
import stat
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from zoo.errors import ZooError, clean

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

MAX_BYTES = 1 << 20  # of a preset
KINDS = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}


def files(package: str) -> Traversable:
    """Where a package's files lie. Raises ModuleNotFoundError for a package that is not there.

    For a plain folder without `importlib.resources`, which takes 10 ms to import.
    """
    spec = import_module(package).__spec__
    places = list(spec.submodule_search_locations or ()) if spec else []
    if spec and spec.has_location and len(places) == 1 and spec.origin == os.path.join(places[0], "__init__.py"):
        return Path(places[0])
    from importlib import resources

    return resources.files(package)


def read_bounded(file: Traversable, most: int) -> bytes:
    """The file's bytes. Raises ZooError, which names it, for all but a regular file of at most `most` bytes."""
    try:
        if isinstance(file, Path):
            return _read(file, most)
        with file.open("rb") as stream:  # in a zip, where there is nothing but regular files
            return _up_to(stream.read(most + 1), most, file)
    except (OSError, ValueError) as error:
        raise ZooError(f"{file}: cannot be read: {getattr(error, 'strerror', None) or clean(error, 200)}") from None


def _read(file: Path, most: int) -> bytes:
    _regular(file.stat(), file)  # before opening, which wakes some devices
    descriptor = os.open(file, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    with os.fdopen(descriptor, "rb", buffering=0) as stream:
        found = os.fstat(descriptor)  # of what was opened: it may have been put there since
        _regular(found, file)
        if found.st_size > most:
            raise ZooError(too_large(file, found.st_size, most))
        data = b""
        while len(data) <= most and (more := stream.read(most + 1 - len(data))):
            data += more
    return _up_to(data, most, file)


def _regular(found: os.stat_result, file: Path) -> None:
    if not stat.S_ISREG(found.st_mode):
        kind = KINDS.get(stat.S_IFMT(found.st_mode), "a device")
        raise ZooError(f"{file}: is {kind}, not a regular file")


def _up_to(data: bytes, most: int, file: Traversable) -> bytes:
    if len(data) > most:
        raise ZooError(too_large(file, len(data), most))
    return data


def too_large(file: object, size: int, most: int) -> str:
    """The sentence about a file that has more bytes than it may."""
    return f"{file}: {size} bytes are more than the {most} that a preset may have"
