"""Files written in blocks past the system's memory: the bytes that were given, or an error, in whatever order."""

from __future__ import annotations

import errno
import mmap
import os
import random
import threading
import zlib
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from zoo.files import block_file, two_ways
from zoo.files.block_file import BlockFile

SIZE = 10 * 4096 + 123


@pytest.fixture(autouse=True, params=["direct", "usual"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Small blocks, written past the system's memory or through it."""
    monkeypatch.setattr(block_file, "BLOCK", 4096)
    if request.param == "usual":
        monkeypatch.setattr(two_ways, "_open_direct", lambda path: None)
    return str(request.param)


def parts(order: str, seed: int = 0) -> Iterator[tuple[int, bytes]]:
    """A file's bytes in parts of all lengths."""
    chosen = random.Random(seed)
    cuts = sorted({0, SIZE, *(chosen.randrange(SIZE) for _ in range(40))})
    data = chosen.randbytes(SIZE)
    found = [(a, data[a:b]) for a, b in pairwise(cuts)]
    if order == "backwards":
        found.reverse()
    elif order == "shuffled":
        chosen.shuffle(found)
    yield from found


def compares(file: BlockFile) -> bool:
    """Whether whole blocks are read back as they are written; asked before it is closed."""
    return file._file._is_past is True


class Seen:
    """What `hashed` was called with."""

    def __init__(self) -> None:
        self.data = b""

    def __call__(self, data: memoryview) -> None:
        self.data += data


def written(path: Path, order: str, seed: int = 0) -> tuple[BlockFile, bytes, Seen]:
    seen = Seen()
    file, expected = BlockFile(path, SIZE, seen), bytearray(SIZE)
    for at, data in parts(order, seed):
        given = bytearray(data)
        file.put(at, memoryview(given))
        given[:] = bytes(len(given))  # it was copied
        expected[at : at + len(data)] = data
    return file, bytes(expected), seen


@pytest.mark.parametrize("order", ["in order", "backwards", "shuffled"])
@pytest.mark.parametrize("seed", range(5))
def test_in_any_order_the_file_is_what_was_given(tmp_path: Path, order: str, seed: int) -> None:
    file, expected, seen = written(tmp_path / "x", order, seed)
    file.finish()
    assert (tmp_path / "x").read_bytes() == expected
    assert seen.data == expected[: SIZE - file.unseen]
    assert order != "in order" or not file.unseen
    compared = SIZE - sum(segment.nbytes for segment in file.segments)
    assert compared % 4096 == 0
    assert compared >= 4096 * 10 * (order == "in order" and compares(file))
    assert all(zlib.crc32(expected[s.at : s.at + s.nbytes]) == s.checksum for s in file.segments)
    told = list[int]()
    assert file.wrong(told.append) is None
    assert seen.data == expected
    assert sum(told) == SIZE
    assert not file.unseen
    file.close()


def test_the_system_takes_the_blocks_past_its_memory(tmp_path: Path, way: str) -> None:
    file, _, _ = written(tmp_path / "x", "in order")
    if way == "direct" and file._file.direct is None:
        pytest.skip("this file system has no O_DIRECT")
    assert (file._file.direct is not None) == (way == "direct")
    file.finish()
    file.close()


@pytest.mark.parametrize("order", ["in order", "shuffled"])
@pytest.mark.parametrize("at", [0, 4095, 4096, 20_000, SIZE - 1])
def test_a_bit_that_is_another_on_the_disk_is_found_wherever_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, order: str, at: int
) -> None:
    honest = os.pwrite

    def lying(fd: int, data: memoryview, begin: int) -> int:
        count = honest(fd, data, begin)
        if begin <= at < begin + count:
            other = os.open(tmp_path / "x", os.O_WRONLY)
            honest(other, bytes([data[at - begin] ^ 1]), at)
            os.fsync(other)  # what reads past the system's memory must find it, too
            os.close(other)
        return count

    monkeypatch.setattr(os, "pwrite", lying)
    file, _, _ = written(tmp_path / "x", order)
    file.finish()
    found = file.wrong(lambda count: None)
    assert found is not None
    assert found[0] <= at < sum(found)
    file.close()


@pytest.mark.parametrize("at", [0, 20_000, SIZE - 1])
def test_what_the_usual_way_wrote_is_read_when_all_is_on_the_disk(tmp_path: Path, way: str, at: int) -> None:
    file, expected, _ = written(tmp_path / "x", "in order")
    file.finish()
    read_late = not compares(file) or at == SIZE - 1
    with (tmp_path / "x").open("r+b") as other:
        other.seek(at)
        other.write(bytes([expected[at] ^ 1]))
    assert (file.wrong(lambda count: None) is not None) == read_late
    file.close()


@pytest.mark.parametrize("fault", ["held", "not told"])
def test_a_file_system_that_takes_the_direct_way_through_its_memory_is_read_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    honest = mmap.mmap

    def held(fd: int, nbytes: int, **options: Any) -> mmap.mmap:
        if fd == -1:
            return honest(fd, nbytes, **options)
        if fault == "not told":
            raise OSError(errno.ENODEV, "no mapping of these")
        view = honest(fd, nbytes, **options)
        assert len(view[:])  # which brings it in
        return view

    monkeypatch.setattr(mmap, "mmap", held)
    file, expected, _ = written(tmp_path / "x", "in order")
    file.finish()
    assert sum(segment.nbytes for segment in file.segments) == SIZE
    assert file.wrong(lambda count: None) is None
    assert (tmp_path / "x").read_bytes() == expected
    file.close()


def test_what_the_system_holds_of_a_file_is_known(tmp_path: Path) -> None:
    file = two_ways.TwoWays(tmp_path / "x")
    file.write(0, memoryview(bytes(8192)))
    assert two_ways._is_held(file._fd, 4096, 4096)
    file.close()


@pytest.mark.parametrize("fault", ["refused", "half of it", "refused when read"])
def test_where_the_direct_way_fails_the_usual_one_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str, fault: str
) -> None:
    honest, fails = {"pwrite": os.pwrite, "preadv": os.preadv}, list[int]()

    def failing(fd: int, data: Any, at: int, *flags: int) -> int:
        if fd != file._file.direct:
            return honest[name](fd, data, at, *flags)
        fails.append(at)
        if fault == "half of it":
            return honest[name](fd, data[: len(data) // 2], at)
        raise OSError(errno.EINVAL, "not aligned")

    name = "preadv" if fault == "refused when read" else "pwrite"
    file = BlockFile(tmp_path / "x", SIZE, lambda data: None)
    has_direct = file._file.direct is not None
    monkeypatch.setattr(os, name, failing)
    expected = b"".join(data for _, data in parts("in order"))
    file.put(0, memoryview(expected))
    file.finish()
    assert file.wrong(lambda count: None) is None
    assert (tmp_path / "x").read_bytes() == expected
    assert bool(fails) == has_direct
    file.close()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_an_error_of_the_disk_is_raised_though_a_thread_met_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(*args: object) -> int:
        raise OSError(number, os.strerror(number))

    file = BlockFile(tmp_path / "x", SIZE, lambda data: None)
    monkeypatch.setattr(os, "pwrite", refuse)

    def write() -> None:
        for at, data in parts("in order"):
            file.put(at, memoryview(data))
        file.finish()

    with pytest.raises(OSError, match=os.strerror(number)):
        write()
    file.close()


def test_a_file_system_that_takes_nothing_and_says_nothing_is_not_asked_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = list[int]()

    def none(fd: int, data: object, at: int) -> int:
        asked.append(at)
        assert len(asked) < 100
        return 0

    file = BlockFile(tmp_path / "x", 5000, lambda data: None)
    monkeypatch.setattr(os, "pwrite", none)
    file.put(0, memoryview(bytes(5000)))
    with pytest.raises(OSError, match="nothing was written at byte"):
        file.finish()
    file.close()


def test_nothing_is_read_before_it_is_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[tuple[str, Any]] = []
    for name in ("pwrite", "fsync", "preadv"):
        honest = getattr(os, name)
        monkeypatch.setattr(os, name, lambda *args, n=name, honest=honest: called.append((n, args)) or honest(*args))
    file, _, _ = written(tmp_path / "x", "shuffled")
    file.finish()
    assert file.wrong(lambda count: None) is None
    flushed = [name for name, _ in called].index("fsync")
    written_past = set()
    for number, (name, args) in enumerate(called):
        if name == "pwrite":
            assert number < flushed
            written_past |= {args[2]} if args[0] == file._file.direct else set()
        elif name == "preadv" and len(args) == 3 and number < flushed:
            assert args[0] == file._file.direct
            assert args[2] in written_past
    file.close()


def test_every_block_is_read_back_once_in_however_many_runs_it_came(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    size, read, honest = 100 * 4096, list[int](), os.preadv

    def counting(*args: Any) -> int:
        count = honest(*args)
        read.append(count * (len(args) == 3))
        return count

    monkeypatch.setattr(os, "preadv", counting)
    file = BlockFile(tmp_path / "x", size, lambda data: None)
    for at in random.Random(0).sample(range(0, size, 64), size // 64):
        file.put(at, memoryview(at.to_bytes(8, "little") * 8))
    file.finish()
    assert len(file.segments) > 1000
    assert file.wrong(lambda count: None) is None
    assert sum(read) == size
    file.close()


def test_few_blocks_are_held_in_any_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []
    held = block_file._Begun.__init__
    monkeypatch.setattr(block_file._Begun, "__init__", lambda self: made.append(1) or held(self))
    file, size = BlockFile(tmp_path / "x", 100 * 4096, lambda data: None), 2048
    for at in range(0, 100 * 4096, 4096):  # the first half of each, and then the second
        file.put(at, memoryview(bytes(size)))
    for at in range(size, 100 * 4096, 4096):
        file.put(at, memoryview(bytes(size)))
    file.finish()
    assert len(made) <= block_file.OPEN + block_file.WAITING + 1
    assert (tmp_path / "x").read_bytes() == bytes(100 * 4096)
    file.close()


def test_blocks_stay_until_they_are_hashed_and_few_are_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []
    held = block_file._Begun.__init__
    monkeypatch.setattr(block_file._Begun, "__init__", lambda self: made.append(1) or held(self))
    go, seen = threading.Semaphore(0), Seen()

    def late(data: memoryview) -> None:
        go.acquire()
        seen(data)

    size = 50 * 4096
    file, data = BlockFile(tmp_path / "x", size, late), random.Random(0).randbytes(size)
    for number in range(50):
        if number >= block_file.WAITING:
            go.release()
        file.put(number * 4096, memoryview(data[number * 4096 : (number + 1) * 4096]))
    for _ in range(50):
        go.release()
    file.finish()
    assert seen.data == data
    assert len(made) <= block_file.WAITING + 1
    file.close()


def test_a_file_that_is_given_up_writes_nothing_more(tmp_path: Path) -> None:
    file, _, _ = written(tmp_path / "x", "backwards")
    file.close()
    file.close()
    before = (tmp_path / "x").read_bytes()
    with pytest.raises(RuntimeError):
        file.finish()
    assert (tmp_path / "x").read_bytes() == before
