"""The small files of a folder, beside the weights: written once, never over another."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from zoo.errors import ZooError
from zoo.files.regular import size_of


def write_file(path: Path, content: bytes | Path) -> None:
    """Write bytes, or copy a regular file, to a place where nothing is yet, and have the disk take it."""
    if isinstance(content, Path):
        size_of(content)  # refuses what is not a regular file
    with path.open("xb") as file:
        if isinstance(content, Path):
            with content.open("rb") as source:
                shutil.copyfileobj(source, file)
        else:
            file.write(content)
        file.flush()
        os.fsync(file.fileno())


def put_whole(file: Path, write: Callable[[Path], object]) -> None:
    """Write all of a file or nothing, in place of what is there. Raises OSError, which names the file."""
    beside = file.with_name(f".{file.name}.{os.getpid()}.incomplete")
    try:
        with named(file):
            write(beside)
            beside.replace(file)
    finally:
        beside.unlink(missing_ok=True)


@contextmanager
def named(file: Path) -> Iterator[None]:
    """Let an OSError name this file: a disk that is full says only that it is."""
    try:
        yield
    except OSError as error:
        error.filename = str(file)
        raise


def json_of(value: Mapping[str, Any]) -> bytes:
    """The text of a JSON file. Raises ZooError for numbers that JSON does not have."""
    try:
        return (json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()
    except ValueError:
        raise ZooError("the config contains NaN or infinity, which JSON does not allow") from None
