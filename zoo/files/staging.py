"""A folder appears whole or not at all: it is made beside its place and put there by one rename.

The sibling is called `.<name>.<pid>.incomplete`. A lock file keeps a second writer away; whoever holds it removes what
killed writers left. Replacing exchanges the two folders in one step, so the old or the new one is always there.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import glob
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from zoo.errors import ZooError

_UNSUPPORTED = {errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOLCK}
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2


@contextmanager
def staged(target: Path, check: Callable[[Path], None]) -> Iterator[Path]:
    """Yield an empty folder that becomes `target` when the block ends well, and is removed when it does not.

    `check` is called with the lock held, to refuse a target that must not be touched.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with _locked(target) as is_locked:
        if is_locked:
            _remove_leftovers(target)
        check(target)
        folder = _sibling(target, "incomplete")
        folder.mkdir()
        try:
            yield folder
            sync_folder(folder)
            _put(folder, target)
            sync_folder(target.parent)
        finally:
            shutil.rmtree(folder, ignore_errors=True)  # what failed, or what was replaced


@contextmanager
def held(target: Path) -> Iterator[None]:
    """Keep other runs away from a folder that this one writes again and again.

    Raises ZooError where one is at it, and where nothing can be written beside it.
    """
    with ExitStack() as stack:
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            stack.enter_context(_locked(target, "run.lock"))  # not that of a single writing, which is taken meanwhile
        except OSError as error:
            raise ZooError(f"{target} cannot be written: {error.strerror or error}") from error
        yield


@contextmanager
def staged_file(target: Path, check: Callable[[Path], None]) -> Iterator[Path]:
    """As `staged`, of a file: yield a path that is free, whose file becomes `target` when the block ends well."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with _locked(target) as is_locked:
        if is_locked:
            for path in target.parent.glob(f".{glob.escape(target.name)}.*.incomplete"):
                path.unlink()  # of a writer that was killed
        check(target)
        file = _sibling(target, "incomplete")
        try:
            yield file
            file.replace(target)
            sync_folder(target.parent)
        finally:
            file.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Bring the names in a folder to the disk."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _sibling(target: Path, state: str) -> Path:
    return target.with_name(f".{target.name}.{os.getpid()}.{state}")


@contextmanager
def _locked(target: Path, kind: str = "lock") -> Iterator[bool]:
    """Hold the target's lock; False where the file system has none."""
    path = target.with_name(f".{target.name}.{kind}")
    fd = _open_locked(path, target)
    try:
        yield fd is not None
    finally:
        if fd is not None:
            with suppress(FileNotFoundError):
                path.unlink()  # while it is held: see _open_locked
            os.close(fd)


def _open_locked(path: Path, target: Path) -> int | None:
    while True:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(fd), path.stat()):
                return fd
        except BlockingIOError:
            os.close(fd)
            raise ZooError(f"{target}: another zoo process is writing it", hint="wait until it ends") from None
        except FileNotFoundError:
            pass  # its owner removed it between our opening and locking it: that file locks nothing
        except OSError as error:
            os.close(fd)
            if error.errno not in _UNSUPPORTED:
                raise
            path.unlink(missing_ok=True)
            return None
        os.close(fd)


def _remove_leftovers(target: Path) -> None:
    pattern = re.compile(rf"\.{re.escape(target.name)}\.[0-9]+\.(incomplete|replaced)")
    for path in sorted(target.parent.iterdir()):
        found = pattern.fullmatch(path.name)
        if not found or path.is_symlink() or not path.is_dir():
            continue
        if found[1] == "replaced" and not target.exists():
            path.rename(target)  # killed between the two renames of _replace
        else:
            shutil.rmtree(path)


def _put(folder: Path, target: Path) -> None:
    if not target.exists() or not any(target.iterdir()):
        folder.rename(target)  # over an empty folder, or over nothing
    elif not _exchange(folder, target):
        _replace(folder, target)


def _exchange(one: Path, other: Path) -> bool:
    """Swap two folders in one step; False where the system cannot."""
    renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if renameat2 is None:
        return False
    if renameat2(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) == 0:
        return True
    if (number := ctypes.get_errno()) in _UNSUPPORTED:
        return False
    raise OSError(number, os.strerror(number), str(other))


def _replace(folder: Path, target: Path) -> None:
    """The same in two steps; killed between them, the next run puts the old folder back."""
    old = _sibling(target, "replaced")
    target.rename(old)
    try:
        folder.rename(target)
    except BaseException:
        old.rename(target)
        raise
    shutil.rmtree(old, ignore_errors=True)
