"""A file that is written in blocks, past the system's memory where it can be, and read back from the disk.

What goes through that memory is copied once more on its way in and out, which takes longer than all else that is done
with the bytes. Blocks lie at whole multiples of their size, as the disk wants them; what does not fill one, as at the
end of a file, goes the usual way.
"""

from __future__ import annotations

import mmap
import os
import zlib
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

BLOCK = 2 << 20  # bytes
WAITING = 4  # blocks that are on their way to the disk, or to `hashed`, at once
OPEN = 4  # blocks that are begun and not full; the oldest goes as it is where a further one is begun


class Segment(NamedTuple):
    """A run of bytes in the file, and the checksum of what was given for it."""

    at: int
    nbytes: int
    checksum: int


class _Begun:
    """A block in memory, and the runs of bytes that have come for it."""

    def __init__(self) -> None:
        self.memory = memoryview(mmap.mmap(-1, BLOCK))  # of pages of its own, as the disk wants it
        self.runs: list[tuple[int, int]] = []

    def put(self, at: int, data: memoryview) -> None:
        """Take bytes, which join the last ones where they go on from them."""
        end = at + len(data)
        self.memory[at:end] = data
        if self.runs and self.runs[-1][1] == at:
            self.runs[-1] = (self.runs[-1][0], end)
        else:
            self.runs.append((at, end))


class BlockFile:
    """A new file of a known size, whose bytes come in any order, each once.

    `hashed` is called with the blocks, in their order and in a thread, for as long as they come in their order: what it
    has not seen in the end, `unseen` says. Close it when all is done, or nothing will be. Errors of the disk are raised
    late: by a later call, at the latest by `finish`.
    """

    def __init__(self, path: Path, size: int, hashed: Callable[[memoryview], object]) -> None:
        self.size, self._hashed, self._seen = size, hashed, 0
        self.segments: list[Segment] = []
        self._begun: dict[int, _Begun] = {}
        self._free: list[_Begun] = []
        self._waiting: deque[tuple[_Begun, list[Future[object]]]] = deque()
        self._disk, self._hashing = ThreadPoolExecutor(2), ThreadPoolExecutor(1)
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        self._direct = _open_direct(path)

    @property
    def unseen(self) -> int:
        """How many bytes `hashed` was not called with."""
        return self.size - self._seen

    def put(self, at: int, data: memoryview) -> None:
        """Take bytes for their place; they are copied before this returns."""
        while data:
            number, within = divmod(at, BLOCK)
            part = data[: BLOCK - within]
            self._block(number).put(within, part)
            if self._begun[number].runs == [(0, min(BLOCK, self.size - number * BLOCK))]:
                self._send(number)
            data, at = data[len(part) :], at + len(part)

    def settle(self, most: int = 0) -> None:
        """Wait until no more than so many blocks are on their way; for 0, keep no memory but that of begun ones."""
        while len(self._waiting) > most:
            block, futures = self._waiting.popleft()
            for future in futures:
                future.result()
            block.runs.clear()
            self._free.append(block)
        if not most:
            self._free.clear()

    def finish(self) -> None:
        """Bring everything to the disk."""
        for number in sorted(self._begun):
            self._send(number)
        self.settle()
        os.fsync(self._fd)
        _forget(self._fd)

    def wrong(self, advance: Callable[[int], object], hashed: Callable[[memoryview], object] | None) -> Segment | None:
        """Read the finished file back from the disk; the first run of bytes whose checksum is another than it was.

        `hashed` is called with all bytes in their order, where it is given. Raises OSError where they cannot be read.
        """
        blocks = [[*runs] for _, runs in groupby(sorted(self.segments), lambda run: run.at // BLOCK)]
        buffers = deque(memoryview(mmap.mmap(-1, BLOCK)) for _ in range(4))

        def read(runs: list[Segment], buffer: memoryview) -> tuple[memoryview, Segment | None]:
            begin = runs[0].at // BLOCK * BLOCK
            data = self._read(begin, buffer)
            sums = (zlib.crc32(data[run.at - begin : run.at - begin + run.nbytes]) for run in runs)
            return data, next((run for run, found in zip(runs, sums, strict=True) if found != run.checksum), None)

        running: deque[tuple[memoryview, Future[tuple[memoryview, Segment | None]]]] = deque()
        for runs in [*blocks, None]:
            while running and (runs is None or not buffers):
                buffer, reading = running.popleft()
                data, wrong = reading.result()
                if wrong is not None:
                    return wrong
                if hashed is not None:
                    self._hashing.submit(hashed, data).result()
                buffers.append(buffer)
                advance(len(data))
            if runs is not None:
                buffer = buffers.popleft()
                running.append((buffer, self._disk.submit(read, runs, buffer)))
        return None

    def close(self) -> None:
        """Let go of the file, finished or not."""
        self._disk.shutdown(cancel_futures=True)  # first: a number that is closed may be another file's next
        self._hashing.shutdown(cancel_futures=True)
        for fd in (self._fd, self._direct):
            if fd is not None and fd >= 0:
                os.close(fd)
        self._fd, self._direct = -1, None

    def _block(self, number: int) -> _Begun:
        if number not in self._begun:
            if len(self._begun) == OPEN:
                self._send(next(iter(self._begun)))
            self._begun[number] = self._free.pop() if self._free else _Begun()
        return self._begun[number]

    def _send(self, number: int) -> None:
        """Have a block written, and hashed where all before it was."""
        block, begin = self._begun.pop(number), number * BLOCK
        futures: list[Future[object]] = []
        for at, end in block.runs:
            data = block.memory[at:end]
            if begin + at == self._seen:
                futures.append(self._hashing.submit(self._hashed, data))
                self._seen += len(data)
            futures.append(self._disk.submit(self._write, begin + at, data))
        self._waiting.append((block, futures))
        self.settle(WAITING)

    def _write(self, at: int, data: memoryview) -> None:
        self.segments.append(Segment(at, len(data), zlib.crc32(data)))
        if self._direct is not None and len(data) == BLOCK:
            with suppress(OSError):  # the usual way says what is wrong, or does without
                if os.pwrite(self._direct, data, at) == BLOCK:
                    return
        while data:
            written = os.pwrite(self._fd, data, at)
            data, at = data[written:], at + written

    def _read(self, begin: int, buffer: memoryview) -> memoryview:
        """The bytes of the block that begins there, in a buffer for a whole one."""
        wanted, done = min(BLOCK, self.size - begin), 0
        if self._direct is not None:
            with suppress(OSError):
                done = os.preadv(self._direct, [buffer], begin)
        while done < wanted:
            count = os.preadv(self._fd, [buffer[done:wanted]], begin + done)
            if not count:
                raise OSError(f"the file ends at byte {begin + done:,}, not {begin + wanted:,}")
            done += count
        return buffer[:wanted]


def _open_direct(path: Path) -> int | None:
    """The file for writing past the system's memory; None where it has no such way."""
    if not hasattr(os, "O_DIRECT"):
        return None
    try:
        return os.open(path, os.O_RDWR | os.O_DIRECT | os.O_CLOEXEC)
    except OSError:
        return None


def _forget(fd: int) -> None:
    """Let the system forget what it holds of a file, so that reading it asks the disk."""
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
