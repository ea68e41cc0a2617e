"""What the Hugging Face cache of this machine holds, read from its folders. Never touches the network.

The layout is $HF_HOME/hub/models--ORG--NAME/{refs,blobs,snapshots/COMMIT}.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from zoo.hub.folder import cache_folder

WEIGHTS = (".safetensors", ".bin", ".pth", ".gguf")


@dataclass(frozen=True)
class Cached:
    """A model in the cache."""

    repo: str
    num_files: int  # of weights, in its newest snapshot
    nbytes: int  # of those files


def find(repo: str) -> Cached | None:
    """What the cache holds of org/name; None: no weights of it."""
    return _read(cache_folder() / f"models--{repo.replace('/', '--')}")


def models() -> Iterator[Cached]:
    """Every model of which the cache holds weights."""
    root = cache_folder()
    for entry in sorted(root.glob("models--*")) if root.is_dir() else ():
        if found := _read(entry):
            yield found


def _read(entry: Path) -> Cached | None:
    try:
        snapshots = [path for path in (entry / "snapshots").iterdir() if path.is_dir()]
        newest = max(snapshots, key=lambda path: path.stat().st_mtime, default=entry)
        sizes = [path.stat().st_size for path in newest.rglob("*") if path.suffix in WEIGHTS and path.is_file()]
    except OSError:
        return None
    return Cached(entry.name.removeprefix("models--").replace("--", "/"), len(sizes), sum(sizes)) if sizes else None
