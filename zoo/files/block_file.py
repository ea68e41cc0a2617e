"""A file that is written in blocks, past the system's memory where it can be, and read back from the disk.

Blocks lie at whole multiples of their size, as the disk wants them, and each is read back as soon as it is written and
compared with what is still in memory. What does not fill one, as at the end of a file, goes the usual way, as all does
where the file system has no other: reading that asks the disk only after the end of all writing, so it is known by a
checksum until then. So is what does not come in the order of the file, which must be read once more to be hashed.
"""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from zoo.files.two_ways import TwoWays, pages

BLOCK = 2 << 20  # bytes
THREADS = 3  # that wait for the disk
WAITING = 6  # blocks that are on their way to the disk and back, or to `hashed`, at once
OPEN = 4  # blocks that are begun and not full; the oldest goes as it is where a further one is begun


class Segment(NamedTuple):
    """A run of bytes in the file, and the checksum of what was given for it."""

    at: int
    nbytes: int
    checksum: int


class _Begun:
    """A block in memory, and the runs of bytes that have come for it."""

    def __init__(self) -> None:
        self.memory = pages(BLOCK)
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

    `hashed` is called with all of them in their order, in a thread: with what comes in their order at once, and with
    the rest, which are `unseen` then, as `wrong` reads it back. Close it when all is done, or nothing will be. Errors
    of the disk are raised late: by a later call, at the latest by `finish`.
    """

    def __init__(self, path: Path, size: int, hashed: Callable[[memoryview], object]) -> None:
        self.size, self._hashed, self._seen = size, hashed, 0
        self.segments: list[Segment] = []  # what is still to be read back
        self._wrong: list[tuple[int, int]] = []  # blocks that came back otherwise, and their bytes
        self._begun: dict[int, _Begun] = {}
        self._free: list[_Begun] = []
        self._waiting: deque[tuple[_Begun, list[Future[object]]]] = deque()
        self._buffers: deque[memoryview] = deque()
        self._threads, self._hashing = ThreadPoolExecutor(THREADS), ThreadPoolExecutor(1)
        self._file = TwoWays(path)

    @property
    def unseen(self) -> int:
        """How many bytes `hashed` was not called with yet."""
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
            self._buffers.clear()

    def finish(self) -> None:
        """Bring everything to the disk."""
        for number in sorted(self._begun):
            self._send(number)
        self.settle()
        self._file.flush()

    def wrong(self, advance: Callable[[int], object]) -> tuple[int, int] | None:
        """The first run of bytes that the disk gave back as others than it was given: where it begins, and its length.

        What was not read back yet is read now, of the finished file. Raises OSError where it cannot be read.
        """
        if self._wrong:
            return min(self._wrong)
        unread = {block: [*runs] for block, runs in groupby(sorted(self.segments), lambda run: run.at // BLOCK)}
        advance(self.size - sum(min(BLOCK, self.size - block * BLOCK) for block in unread))

        def read(block: int, buffer: memoryview) -> tuple[memoryview, Segment | None]:
            begin, runs = block * BLOCK, unread[block]
            data = self._file.read(begin, buffer, min(BLOCK, self.size - begin))
            sums = (zlib.crc32(data[run.at - begin : run.at - begin + run.nbytes]) for run in runs)
            return data, next((run for run, found in zip(runs, sums, strict=True) if found != run.checksum), None)

        buffers = deque(pages(BLOCK) for _ in range(THREADS + 1))
        running: deque[tuple[int, memoryview, Future[tuple[memoryview, Segment | None]]]] = deque()
        for block in [*unread, None]:
            while running and (block is None or not buffers):
                number, buffer, reading = running.popleft()
                data, wrong = reading.result()
                if wrong is not None:
                    return wrong.at, wrong.nbytes
                if unseen := data[max(0, self._seen - number * BLOCK) :]:
                    self._hashing.submit(self._hashed, unseen).result()
                    self._seen += len(unseen)
                buffers.append(buffer)
                advance(len(data))
            if block is not None:
                buffer = buffers.popleft()
                running.append((block, buffer, self._threads.submit(read, block, buffer)))
        return None

    def close(self) -> None:
        """Let go of the file, finished or not."""
        self._threads.shutdown(cancel_futures=True)  # first: a number that is closed may be another file's next
        self._hashing.shutdown(cancel_futures=True)
        self._file.close()

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
            if is_seen := begin + at == self._seen:
                futures.append(self._hashing.submit(self._hashed, data))
                self._seen += len(data)
            futures.append(self._threads.submit(self._write, begin + at, data, is_seen))
        self._waiting.append((block, futures))
        self.settle(WAITING)

    def _write(self, at: int, data: memoryview, is_seen: bool) -> None:
        if len(data) < BLOCK or not self._file.is_written_past(at, data):
            self._file.write(at, data)
        elif is_seen and (came_back := self._compared(at, data)) is not None:
            self._wrong += [] if came_back else [(at, len(data))]
            return
        self.segments.append(Segment(at, len(data), zlib.crc32(data)))

    def _compared(self, at: int, block: memoryview) -> bool | None:
        """Whether a block that was written comes back from the disk as it is; None where that cannot be asked yet."""
        buffer = self._buffers.pop() if self._buffers else pages(BLOCK)
        came_back = self._file.came_back(at, block, buffer)
        self._buffers.append(buffer)
        return came_back
