"""Which files of a checkpoint may be read: regular ones, by plain names inside its folder."""

from __future__ import annotations

import hashlib
import re
import stat
from collections.abc import Callable
from pathlib import Path

from zoo.errors import CheckpointError, clean
from zoo.progress import progress
from zoo.units import human_bytes

MODULE_FILE = re.compile(r"([0-9]+_\w+)/([^/]+)")  # of a folder of sentence-transformers
POINTER_BYTES = 1024  # a pointer of git-lfs has fewer
_POINTER = re.compile(rb"version https://(?:git-lfs|hawser)\.github\.com/spec/[^\n]*\n(?:[^\n]*\n)*?size (\d{1,18})\n")


def size_of(path: Path) -> int:
    """The size in bytes of a regular file, or of the one that a link leads to. Raises CheckpointError for all else.

    Links to single files are followed, because the cache of Hugging Face is made of them. Asking before opening keeps
    us from hanging on a pipe.
    """
    try:
        found = path.stat()
    except FileNotFoundError:
        what = "is a link to a file that does not exist" if path.is_symlink() else "is not there"
        raise CheckpointError(path, "", what) from None
    except (OSError, ValueError) as error:
        raise CheckpointError(path, "", unreadable(error)) from None
    if not stat.S_ISREG(found.st_mode):
        raise CheckpointError(path, "", f"is {_kind(found.st_mode)}, not a regular file")
    if found.st_size < POINTER_BYTES:
        _refuse_pointer(path)
    return found.st_size


def _refuse_pointer(path: Path) -> None:
    """What a clone without git-lfs has in the place of a large file is told as that, whatever reads it."""
    try:
        found = _POINTER.match(path.read_bytes()[:POINTER_BYTES])
    except OSError:
        return  # whoever reads it says so
    if found:
        what = f"is a git-lfs pointer to a file of {human_bytes(int(found[1]))}, which is not here yet"
        raise CheckpointError(path, "", what, hint=f"in {path.parent}: git lfs pull")


def own_file(path: Path) -> Path:
    """`path`, unless it is a link out of its folder; a snapshot of Hugging Face's cache may link to its own blobs.

    What is copied from folder to folder may be published one day. Raises CheckpointError for a link that leads away.
    """
    size_of(path)
    home, target = path.parent.resolve(), path.resolve()
    blobs = next((parent.parent / "blobs" for parent in home.parents if parent.name == "snapshots"), home)
    if not any(target.is_relative_to(root) for root in (home, blobs)):
        hint = "if you want the file that the link points to, replace the link by a copy"
        raise CheckpointError(path, "", "is a link to a file outside the folder", hint=hint)
    return path


def read_bounded(path: Path, limit_bytes: int) -> bytes:
    """The bytes of a regular file of at most `limit_bytes`, asked for its size first. Raises CheckpointError."""
    size = size_of(path)
    if size <= limit_bytes:
        try:
            with path.open("rb") as file:
                data = file.read(limit_bytes + 1)  # it may have grown since
        except OSError as error:
            raise CheckpointError(path, "", unreadable(error)) from None
        if len(data) <= limit_bytes:
            return data
        size = len(data)
    raise CheckpointError(path, "", f"has {size:,} bytes, more than the {limit_bytes:,} that such a file may have")


def plain_name(name: object, file: Path, item: str) -> str:
    """`name`, which `file` gives under `item`, where it is the name of a file beside it; else a CheckpointError."""
    if not isinstance(name, str) or not name:
        raise CheckpointError(file, item, f"{clean(repr(name))} is not the name of a file")
    if name in (".", "..") or "/" in name or "\\" in name or not name.isprintable():
        why = "a checkpoint may name only files in its own folder"
        raise CheckpointError(file, item, f"names the file {clean(repr(name))}", why=why)
    return name


def inner_name(name: object, file: Path, item: str) -> str:
    """As `plain_name`, of a file beside it or in the folder of a module beside it: 1_Pooling/config.json."""
    found = MODULE_FILE.fullmatch(name) if isinstance(name, str) else None
    return plain_name(name, file, item) if found is None else f"{found[1]}/{plain_name(found[2], file, item)}"


def sha256_of(path: Path, *, is_wanted: Callable[[], bool] = lambda: True) -> str:
    """The sha256 of a regular file, in hex; of what was read by then, once it is wanted no longer."""
    digest, buffer = hashlib.sha256(), memoryview(bytearray(1 << 20))
    try:
        with progress(f"hash {path.name}", size_of(path)) as advance, path.open("rb", buffering=0) as file:
            while is_wanted() and (count := file.readinto(buffer)):
                digest.update(buffer[:count])
                advance(count)
            return digest.hexdigest()
    except OSError as error:
        raise CheckpointError(path, "", unreadable(error)) from None


def unreadable(error: Exception) -> str:
    """What the system said, without the path that the message names already."""
    return f"cannot be read: {getattr(error, 'strerror', None) or error}"


def _kind(mode: int) -> str:
    kinds = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}
    return kinds.get(stat.S_IFMT(mode), "a device")
