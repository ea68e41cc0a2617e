"""Work in a copy of this process that can be stopped: what `tokenizers` does cannot be interrupted in this one."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

MAX_EXTRA_BYTES = 400 << 20


class Stopped(Exception):
    """The work took too long, or too much memory."""


def apart(work: Callable[[], Any], seconds: float) -> Any:
    """What `work` returns, as JSON gives it back. Raises Stopped, after `seconds` at the latest.

    A fork costs milliseconds, and the copy runs nothing but `work`. Where a system cannot fork, `work` runs here.
    """
    if not hasattr(os, "fork"):
        return work()
    reader, writer = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of threads that the copy lacks: none of them has a part in `work`
        child = os.fork()
    if child == 0:
        _work_and_leave(work, reader, writer, seconds)
    os.close(writer)
    try:
        answer = json.loads(_read(reader, seconds) or b'{"error": "it ended at once"}')
    finally:
        os.close(reader)
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    if "error" in answer:
        raise Stopped(answer["error"])
    return answer["value"]


def _read(reader: int, seconds: float) -> bytes:
    end, parts = time.monotonic() + seconds, []
    while select.select([reader], [], [], max(0.0, end - time.monotonic()))[0]:
        if not (part := os.read(reader, 1 << 20)):
            return b"".join(parts)
        parts.append(part)
    raise Stopped(f"it takes more than {seconds:.1f} seconds")


def _work_and_leave(work: Callable[[], Any], reader: int, writer: int, seconds: float) -> None:
    """The copy's whole life: nothing of this process runs on in it, whatever happens."""
    try:
        os.close(reader)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # Rust writes its panics there
        _limit(seconds)
        try:
            told = json.dumps({"value": work()})
        except BaseException as error:  # a panic is no Exception
            told = json.dumps({"error": str(error)[:1000]})
        data = told.encode()
        while data:
            data = data[os.write(writer, data) :]
    finally:
        os._exit(0)


def _limit(seconds: float) -> None:
    import resource

    with contextlib.suppress(OSError, ValueError):  # a system without /proc is held by the clock alone
        used = int(Path("/proc/self/statm").read_bytes().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + MAX_EXTRA_BYTES, used + MAX_EXTRA_BYTES))
        resource.setrlimit(resource.RLIMIT_CPU, (int(seconds) + 2, int(seconds) + 2))  # should the parent be gone
