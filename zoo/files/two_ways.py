"""A new file written and read in two ways: past the system's memory, where the file system can, and through it.

What goes through that memory is copied once more on its way in and out, which takes longer than all else that is done
with the bytes. And what is read past it comes from the disk, whatever was written a moment ago.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
from contextlib import suppress
from pathlib import Path

PIECE = 64 << 10  # numbers that are compared at once: few enough for the cache


class TwoWays:
    """An open file. Close it, or it stays open."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        self.direct = _open_direct(path)  # None: there is no such way
        self._is_past: bool | None = None  # whether it is true of the direct way; None: no block was written yet

    def is_written_past(self, at: int, block: memoryview) -> bool:
        """Write pages of the file past the system's memory; whether that was possible, and all of them were."""
        if self.direct is None or self._is_past is False:
            return False
        with suppress(OSError):  # the usual way says what is wrong, or does without
            if os.pwrite(self.direct, block, at) == len(block):
                if (is_past := self._is_past) is None:
                    self._is_past = is_past = not _is_held(self._fd, at, len(block))
                return is_past
        return False

    def came_back(self, at: int, block: memoryview, buffer: memoryview) -> bool | None:
        """Read pages that were just written into a buffer like them; whether they are the same, None if it cannot."""
        assert self.direct is not None
        with suppress(OSError):
            if os.preadv(self.direct, [buffer], at) == len(block):
                return _same(block, buffer)
        return None

    def write(self, at: int, data: memoryview) -> None:
        """Write through the system's memory. Raises OSError where the system takes nothing, and says nothing."""
        while data:
            if not (written := os.pwrite(self._fd, data, at)):
                raise OSError(errno.EIO, f"nothing was written at byte {at:,}")
            data, at = data[written:], at + written

    def read(self, begin: int, buffer: memoryview, wanted: int) -> memoryview:
        """So many bytes from there on, in a buffer of whole pages. Raises OSError for a file that ends before."""
        done = 0
        if self.direct is not None:
            with suppress(OSError):
                done = os.preadv(self.direct, [buffer], begin)
        while done < wanted:
            count = os.preadv(self._fd, [buffer[done:wanted]], begin + done)
            if not count:
                raise OSError(f"the file ends at byte {begin + done:,}, not {begin + wanted:,}")
            done += count
        return buffer[:wanted]

    def flush(self) -> None:
        """Bring everything to the disk, and let the system forget it, so that reading it asks the disk."""
        os.fsync(self._fd)
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(self._fd, 0, 0, os.POSIX_FADV_DONTNEED)

    def close(self) -> None:
        """Let go of the file."""
        for fd in (self._fd, self.direct):
            if fd is not None and fd >= 0:
                os.close(fd)
        self._fd, self.direct = -1, None


def pages(nbytes: int) -> memoryview:
    """Memory that begins at a page, as the direct way wants it; of large pages, which are fewer to look up."""
    if not hasattr(mmap, "MADV_HUGEPAGE"):
        return memoryview(mmap.mmap(-1, nbytes))
    memory = mmap.mmap(-1, nbytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with suppress(OSError):  # a system without them
        memory.madvise(mmap.MADV_HUGEPAGE)
    return memoryview(memory)


def _is_held(fd: int, at: int, nbytes: int) -> bool:
    """Whether the system holds pages of a file, as file systems do that take the direct way for the usual one."""
    mincore = getattr(ctypes.CDLL(None), "mincore", None)
    if mincore is None:
        return True
    told = (ctypes.c_ubyte * -(-nbytes // mmap.PAGESIZE))()
    try:
        with mmap.mmap(fd, nbytes, offset=at) as view:
            first = ctypes.c_char.from_buffer(view)
            failed = mincore(ctypes.c_void_p(ctypes.addressof(first)), ctypes.c_size_t(nbytes), told)
            del first  # the view cannot be closed before
    except (OSError, ValueError):  # it does not say
        return True
    return bool(failed) or any(page & 1 for page in told)


def _same(one: memoryview, other: memoryview) -> bool:
    import numpy as np

    a, b = (np.frombuffer(data, np.uint64) for data in (one, other))
    return all(np.array_equal(a[at : at + PIECE], b[at : at + PIECE]) for at in range(0, len(a), PIECE))


def _open_direct(path: Path) -> int | None:
    if not hasattr(os, "O_DIRECT"):
        return None
    try:
        return os.open(path, os.O_RDWR | os.O_DIRECT | os.O_CLOEXEC)
    except OSError:
        return None
