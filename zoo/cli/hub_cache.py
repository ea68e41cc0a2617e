"""What the Hugging Face cache of this machine holds, read from its folders. Never touches the network.

The layout is $HF_HOME/hub/models--ORG--NAME/{refs,blobs,snapshots/COMMIT}.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

WEIGHTS = (".safetensors", ".bin", ".pth", ".gguf")


@dataclass(frozen=True)
class Cached:
    """A model in the cache."""

    repo: str
    num_files: int  # of weights, in its newest snapshot
    nbytes: int  # of those files


def folder() -> Path:
    """Where the cache is, by the variables that huggingface_hub reads."""
    env = os.environ
    home = env.get("HF_HOME") or os.path.join(env.get("XDG_CACHE_HOME") or "~/.cache", "huggingface")
    return Path(env.get("HF_HUB_CACHE") or os.path.join(home, "hub")).expanduser()


def find(repo: str) -> Cached | None:
    """What the cache holds of org/name; None: no weights of it."""
    return _read(folder() / f"models--{repo.replace('/', '--')}")


def models() -> Iterator[Cached]:
    """Every model of which the cache holds weights."""
    root = folder()
    for entry in sorted(root.glob("models--*")) if root.is_dir() else ():
        if found := _read(entry):
            yield found


def is_offline() -> bool:
    """Whether the environment forbids huggingface_hub to use the network."""
    return any(
        os.environ.get(name, "").upper() in ("1", "ON", "YES", "TRUE")
        for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
    )


def _read(entry: Path) -> Cached | None:
    try:
        snapshots = [path for path in (entry / "snapshots").iterdir() if path.is_dir()]
        newest = max(snapshots, key=lambda path: path.stat().st_mtime, default=entry)
        sizes = [path.stat().st_size for path in newest.rglob("*") if path.suffix in WEIGHTS and path.is_file()]
    except OSError:
        return None
    return Cached(entry.name.removeprefix("models--").replace("--", "/"), len(sizes), sum(sizes)) if sizes else None
