"""The sha256 of files, taken in a thread while something else is done with what is in them."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Self

from zoo.files.regular import sha256_of


class Hashing:
    """Begins at once. A context manager, which ends it early where what it was for has failed."""

    def __init__(self, files: Iterable[Path]) -> None:
        self._ended, self._beside = Event(), ThreadPoolExecutor(1)
        self._found = self._beside.submit(self._hash, [*files])

    def hashes(self) -> dict[str, str]:
        """The sha256 of each file by its name, once all are known. Raises CheckpointError for one that is not read."""
        return self._found.result()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._beside.shutdown()

    def _hash(self, files: list[Path]) -> dict[str, str]:
        return {file.name: sha256_of(file, is_wanted=lambda: not self._ended.is_set()) for file in files}
