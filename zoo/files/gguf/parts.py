"""A GGUF model in parts, NAME-00001-of-00003.gguf and so on: the first has the metadata, all of them have tensors."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from zoo.errors import CheckpointError, some
from zoo.files.gguf_file import GGUFHeader, read_gguf_header
from zoo.files.tensor_info import TensorInfo

PART = re.compile(r"(?P<stem>.+)-(?P<number>[0-9]{5})-of-(?P<count>[0-9]{5})\.gguf")
MAX_PARTS = 1000


def parts_of(file: Path) -> list[Path]:
    """The parts that a file is one of, in order; the file alone where its name says no part.

    Raises CheckpointError, with its name, for a part that is not there.
    """
    if (found := PART.fullmatch(file.name)) is None:
        return [file]
    number, count = int(found["number"]), int(found["count"])
    if not 1 <= number <= count <= MAX_PARTS:
        raise CheckpointError(file, "", f"its name says part {number:,} of {count:,}, of at most {MAX_PARTS:,}")
    parts = [file.with_name(f"{found['stem']}-{n:05}-of-{count:05}.gguf") for n in range(1, count + 1)]
    if missing := [part.name for part in parts if not part.is_file()]:
        raise CheckpointError(file, "", f"is one of {count} parts; these are missing: {some(missing)}")
    return parts


def chosen_of(folder: Path, names: Sequence[str]) -> Path | None:
    """The one model among GGUF files of a folder, a file or the first of its parts; None where there are several."""
    stems = {found["stem"] if (found := PART.fullmatch(name)) else name for name in names}
    return folder / min(names) if len(stems) == 1 else None


def read_gguf(file: Path) -> tuple[GGUFHeader, list[Path]]:
    """The checked headers of a file and the other parts of its model, as one, and the parts."""
    parts = parts_of(file)
    headers = [read_gguf_header(part) for part in parts]
    metadata = headers[0].config
    if len(parts) == 1:
        if metadata.get("split.count", 1) not in (0, 1):
            hint = "part files are called NAME-00001-of-00003.gguf: give this one back its name"
            raise CheckpointError(file, "split.count", "the file is one part of several", hint=hint)
        return headers[0], parts
    tensors: dict[str, TensorInfo] = {}
    for index, (part, header) in enumerate(zip(parts, headers, strict=True)):
        _check(part, header.config, index, len(parts))
        if twice := tensors.keys() & header.tensors.keys():
            raise CheckpointError(part, min(twice), "is in another part, too")
        tensors |= header.tensors
    if (told := metadata.get("split.tensors.count")) not in (None, len(tensors)):
        raise CheckpointError(parts[0], "split.tensors.count", f"says {told!r:.20}, the parts have {len(tensors):,}")
    return GGUFHeader(metadata, tensors), parts


def _check(part: Path, metadata: dict[str, Any], index: int, count: int) -> None:
    for key, expected in (("split.no", index), ("split.count", count)):
        if (found := metadata.get(key)) != expected:
            raise CheckpointError(part, key, f"is {found!r:.20}, but by its name the part has {expected}")
