"""The cache of huggingface_hub: where it is, and what a pull that was killed has left in it."""

from __future__ import annotations

import fcntl
import os
import re
from contextlib import suppress
from pathlib import Path

_PART = re.compile(r"(?P<etag>.+)\.[0-9a-f]{8}\.incomplete")  # how huggingface_hub calls a file that is coming
_NOTE = re.compile(r"\.ref\.(?P<pid>[0-9]+)\.incomplete")  # how zoo calls a note of a branch


def cache_folder() -> Path:
    """Where the cache is: the library says so itself, by the variables that it has read."""
    from huggingface_hub.constants import HF_HUB_CACHE

    return Path(HF_HUB_CACHE).expanduser()


def is_offline() -> bool:
    """Whether the library may not use the network."""
    from huggingface_hub.constants import is_offline_mode

    return is_offline_mode()


def remove_leftovers(cache: Path, name: str) -> None:
    """Remove parts of files of the repository org/name, and notes, that nobody is writing any more."""
    folder = f"models--{name.replace('/', '--')}"
    for part in _entries(cache / folder / "blobs"):
        if (found := _PART.fullmatch(part.name)) and _is_free(cache / ".locks" / folder / f"{found['etag']}.lock"):
            _remove(part)
    for note in _entries(cache / folder):
        if (found := _NOTE.fullmatch(note.name)) and not _is_alive(int(found["pid"])):
            _remove(note)
    for listing in _entries(cache / folder / "trees"):
        if listing.suffix == ".tmp":  # whoever lost one writes another
            _remove(listing)


def _is_free(lock: Path) -> bool:
    """Whether nobody holds the lock under which the library fetches a file."""
    try:
        fd = os.open(lock, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return not lock.exists()
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except OSError:
        return False
    finally:
        os.close(fd)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True
    return True


def _entries(folder: Path) -> list[Path]:
    try:
        return [entry for entry in folder.iterdir() if entry.is_file() and not entry.is_symlink()]
    except OSError:
        return []


def _remove(path: Path) -> None:
    with suppress(OSError):  # a cache that cannot be written serves all the same
        path.unlink()
