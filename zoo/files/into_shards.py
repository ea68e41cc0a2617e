"""Tensors as they come into the safetensors files that they belong to, each finished when it is whole."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from zoo.errors import ZooError
from zoo.files.moved import TensorPart
from zoo.files.safetensors_writer import Digest, SafetensorsWriter, TensorSpec
from zoo.files.shards import bytes_of
from zoo.progress import progress

if TYPE_CHECKING:
    from torch import Tensor


def write_shards(
    folder: Path, shards: Mapping[str, dict[str, TensorSpec]], stream: Iterable[tuple[str, Tensor | TensorPart]]
) -> dict[str, Digest]:
    """Write each file's tensors to `folder`. Raises ZooError for tensors that are not those of `shards`."""
    owner = {name: file for file, specs in shards.items() for name in specs}
    writers: dict[str, SafetensorsWriter] = {}
    last: SafetensorsWriter | None = None
    files: dict[str, Digest] = {}
    total = sum(bytes_of(spec) for specs in shards.values() for spec in specs.values())
    with ExitStack() as stack:
        advance = stack.enter_context(progress(f"write {folder.name.lstrip('.').rsplit('.', 2)[0]}", total))
        for name, value in stream:
            if (file := owner.get(name)) is None:
                raise ZooError(f"{name}: this tensor was not expected")
            if file not in writers:
                writers[file] = SafetensorsWriter(folder / file, shards[file])
                stack.callback(writers[file].close)
            if last is not None and last is not writers[file]:
                last.settle()
            last = writers[file]
            writers[file].write(name, value)
            advance(len(value.data) if isinstance(value, TensorPart) else value.nbytes)
            if writers[file].is_complete:
                files[file] = writers[file].finish()
    if late := [file for file in shards if file not in files]:
        raise ZooError(f"{late[0]}: some of its tensors are missing")
    return files
