"""A checkpoint that was found: what its headers say, and what opens its tensors. Needs no torch."""

from __future__ import annotations

import mmap
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from zoo.errors import CheckpointError
from zoo.files.gguf_file import read_gguf_metadata
from zoo.files.open_tensors import OpenTensors
from zoo.files.packed import Packing
from zoo.files.regular import sha256_of, unreadable
from zoo.files.tensor_info import TensorInfo


@dataclass(frozen=True)
class Checkpoint:
    """Where weights are, in whose dialect, with the foreign config and every tensor's type, shape and place."""

    path: Path
    dialect: str  # hf | zoo | meta | gguf
    config: dict[str, Any]  # config.json, params.json, or the metadata of a GGUF file without its vocabulary
    tensors: dict[str, TensorInfo]  # as `open` gives them, but for quantised GGUF, which it gives as float32
    files: tuple[Path, ...]  # of weights
    config_file: Path
    _open: Callable[[], OpenTensors] = field(repr=False)
    notes: tuple[str, ...] = ()  # what is odd about the files
    undone: tuple[str, ...] = ()  # what was done to them to find the model, to be told wherever its weights go
    packing: Packing | None = None  # of weights that `tensors` shows unpacked
    _open_raw: Callable[[], OpenTensors] | None = field(default=None, repr=False)

    @property
    def folder(self) -> Path:
        """Where tokenizer files lie."""
        return self.path if self.path.is_dir() else self.path.parent

    @property
    def config_name(self) -> str:
        """What messages about the config call it."""
        return self.config_file.name

    @property
    def spare(self) -> frozenset[str]:
        """Tensors that a model may lack if they are all 0."""
        return self.packing.spare if self.packing else frozenset()

    def open(self) -> OpenTensors:
        """The tensors, read when asked for and not copied where the file has them as they are. Imports torch."""
        return self._open()

    def open_parts(self) -> OpenTensors:
        """The tensors by the names that they have in the files, packed weights as the parts that they lie in."""
        return (self._open_raw or self._open)()

    def raw_bytes(self, name: str) -> memoryview:
        """The bytes of one tensor as they lie in the file. Raises CheckpointError for one that is computed."""
        info = self.tensors[name]
        if info.offset is None:
            raise CheckpointError(info.file, name, "is not stored in the file in the order of its shape")
        if not info.nbytes:
            return memoryview(b"")
        try:
            with info.file.open("rb") as file:
                mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError) as error:
            raise CheckpointError(info.file, "", unreadable(error)) from None
        return memoryview(mapped)[info.offset : info.offset + info.nbytes]

    def metadata(self) -> dict[str, Any]:
        """The config and, for a GGUF file, the vocabulary and all else that `config` leaves out for its length."""
        return read_gguf_metadata(self.config_file) if self.dialect == "gguf" else self.config

    def hashes(self) -> dict[str, str]:
        """sha256 of the config and of every file of weights, by name. Reads all of them."""
        return {file.name: sha256_of(file) for file in dict.fromkeys((self.config_file, *self.files))}


def found_in(
    path: Path,
    dialect: str,
    config_file: Path,
    config: dict[str, Any],
    tensors: dict[str, TensorInfo],
    opener: Callable[[], OpenTensors],
    notes: tuple[str, ...] = (),
) -> Checkpoint:
    """A checkpoint of these tensors. Raises CheckpointError where there are none."""
    if not tensors:
        raise CheckpointError(path, "", "holds no tensors")
    files = tuple(dict.fromkeys(info.file for info in tensors.values()))
    return Checkpoint(path, dialect, config, tensors, files, config_file, opener, notes)
