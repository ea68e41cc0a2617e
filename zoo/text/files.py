"""Reading small text files of a checkpoint: regular ones, of a size that such files have, of strict JSON."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any, NoReturn

from zoo.errors import CheckpointError, clean

TOKENIZER_BYTES = 256 << 20
CONFIG_BYTES = 16 << 20
TEMPLATE_BYTES = 1 << 20


def read_text(path: Path, limit_bytes: int) -> str:
    """The text of a regular file of at most `limit_bytes`. Raises CheckpointError for all else."""
    try:
        status = path.stat()  # before opening, which would hang on a pipe
        if not stat.S_ISREG(status.st_mode):
            raise CheckpointError(path, "", "is not a regular file")
        with path.open("rb") as file:
            data = file.read(limit_bytes + 1)
        text = data.decode("utf-8")
    except OSError as error:
        raise CheckpointError(path, "", f"cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise CheckpointError(path, "", f"is not UTF-8 text: byte {error.start}") from None
    if len(data) > limit_bytes:
        raise CheckpointError(path, "", f"is longer than the {limit_bytes:,} bytes that such a file may have")
    return text


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file, or an empty one where there is no such file."""
    if not path.exists():
        return {}

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(items)
        if len(found) < len(items):
            twice = next(key for i, (key, _) in enumerate(items) if key in dict(items[:i]))
            raise CheckpointError(path, twice, "stands twice in one object")
        return found

    def constant(literal: str) -> NoReturn:
        raise CheckpointError(path, "", f"{literal} is not a JSON number")

    try:
        value = json.loads(read_text(path, CONFIG_BYTES), object_pairs_hook=pairs, parse_constant=constant)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(path, "", f"is not readable JSON: {clean(error)}") from None
    if not isinstance(value, dict):
        raise CheckpointError(path, "", "is not a JSON object ({...})")
    return value
