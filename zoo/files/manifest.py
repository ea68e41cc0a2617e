"""zoo.json: the sha256 and size of every file in a folder that zoo wrote, and where the weights came from."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from zoo.errors import CheckpointError
from zoo.files.json_file import read_json
from zoo.files.regular import inner_name, sha256_of, size_of
from zoo.files.safetensors_writer import Digest

MANIFEST = "zoo.json"


def manifest_text(files: Mapping[str, Digest], provenance: Mapping[str, Any]) -> str:
    """The text of zoo.json: the same files and provenance give the same bytes, so no date is in it."""
    from zoo.version import __version__

    listed = {name: {"sha256": digest.sha256, "size": digest.size} for name, digest in sorted(files.items())}
    content = {"zoo": __version__, "files": listed, "provenance": dict(provenance)}
    return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def listed_files(folder: Path) -> dict[str, Digest]:
    """What the folder's zoo.json lists. Raises CheckpointError for a folder that zoo did not write."""
    path = folder / MANIFEST
    found = read_json(path)
    files = found.get("files")
    if "zoo" not in found or not isinstance(files, dict):
        raise CheckpointError(path, "", "was not written by zoo")
    digests: dict[str, Digest] = {}
    for name, entry in files.items():
        sha256, size = (entry.get("sha256"), entry.get("size")) if isinstance(entry, dict) else (None, None)
        if not isinstance(sha256, str) or type(size) is not int:
            raise CheckpointError(path, f"files.{name}", "has no sha256 and size")
        digests[inner_name(name, path, "files")] = Digest(sha256, size)
    return digests


def verify_folder(folder: Path, *, free: Callable[[str], bool] = lambda name: False) -> int:
    """Compare every file with zoo.json and return their number; those whose names are `free` may have changed.

    Raises CheckpointError for the first that differs.
    """
    listed = {name: digest for name, digest in listed_files(folder).items() if not free(name)}
    for name, digest in listed.items():
        if (size := size_of(folder / name)) != digest.size:
            raise CheckpointError(folder / name, "", f"has {size:,} bytes, {MANIFEST} says {digest.size:,}")
        if sha256_of(folder / name) != digest.sha256:
            raise CheckpointError(folder / name, "", f"is not the file that {MANIFEST} describes: its sha256 differs")
    return len(listed)
