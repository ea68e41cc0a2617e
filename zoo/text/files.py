"""Reading small text files of a checkpoint: regular ones, of a size that such files have, of strict JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from zoo.errors import CheckpointError
from zoo.files.json_file import CONFIG_BYTES, parse_json
from zoo.files.regular import read_bounded

TOKENIZER_BYTES = 48 << 20  # the largest in use, of 262,144 tokens with all merges, have 34 MB
TOKENIZER_COST = 128 << 20  # as json_file.py counts; those come to 84 MB
TEMPLATE_BYTES = 1 << 20


def read_text(path: Path, limit_bytes: int) -> str:
    """The text of a regular file of at most `limit_bytes`. Raises CheckpointError for all else."""
    try:
        return read_bounded(path, limit_bytes).decode("utf-8")
    except UnicodeDecodeError as error:
        raise CheckpointError(path, "", f"is not UTF-8 text: byte {error.start}") from None


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file, or an empty one where there is no such file."""
    if not path.exists() and not path.is_symlink():
        return {}
    return parse_json(read_bounded(path, CONFIG_BYTES), path, allow_infinity=False)
