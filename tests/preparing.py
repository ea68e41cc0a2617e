"""The process from which prepared children are forked, and what one does before and after its code."""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import io
import json
import os
import random
import select
import signal
import socket
import sys
import threading
import traceback
from types import ModuleType
from typing import Any

# What zoo's commands import, but for what reads its settings from the environment as it is imported.
HEAVY = ("torch", "numpy", "hydra", "hydra.core.config_store", "omegaconf", "click", "jinja2", "pluggy")
REFERENCE = tuple(
    f"transformers.{name}" for name in ("generation", "models.auto.modeling_auto", "models.gpt2.modeling_gpt2")
)


def main() -> None:
    """Import, listen, and fork a child for whoever asks, until the process that started this one is gone."""
    for name in (*HEAVY, *REFERENCE * (sys.argv[2:] == ["reference"])):
        importlib.import_module(name)
    gc.freeze()  # what is shared stays shared
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(sys.argv[1])
        door.listen(16)
        sys.stdout.write("listening\n")
        sys.stdout.flush()
        while True:
            ready, _, _ = select.select([door, sys.stdin], [], [])
            if sys.stdin in ready:
                os.remove(sys.argv[1])
                os.rmdir(os.path.dirname(sys.argv[1]))
                return
            line, _ = door.accept()
            if os.fork() == 0:
                door.close()
                _serve(line)
            line.close()


def _serve(line: socket.socket) -> None:
    """Start the child, tell its number, wait for it, and tell its exit code."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    size, streams, _, _ = socket.recv_fds(line, 8, 3)
    data = b""
    while len(data) < int.from_bytes(size, "big"):
        data += line.recv(1 << 20)
    if (child := os.fork()) == 0:
        line.close()
        _be(json.loads(data), streams)
    for stream in streams:
        os.close(stream)
    line.sendall(b"%8d" % child)
    _, status = os.waitpid(child, 0)
    with contextlib.suppress(BrokenPipeError):  # who asked may be gone
        line.sendall(b"%8d" % os.waitstatus_to_exitcode(status))
    os._exit(0)


def _be(asked: dict[str, Any], streams: list[int]) -> None:
    """Become what was asked for, run its code, and end as Python ends."""
    for fd, stream in enumerate(streams):
        os.dup2(stream, fd)
    os.closerange(3, 1024)
    os.chdir(asked["cwd"])
    os.environ.clear()
    os.environ.update(asked["environment"])
    sys.argv = ["-c", *asked["words"]]
    sys.path[1:1] = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    sys.stdin, sys.stdout, sys.stderr = (_text(fd) for fd in range(3))
    random.seed()
    sys.modules.pop("sitecustomize", None)
    with contextlib.suppress(ModuleNotFoundError):
        importlib.import_module("sitecustomize")  # what Python runs as it starts, of the child's own path
    os._exit(_exit_code(asked["code"]))


def _text(fd: int) -> io.TextIOWrapper:
    """A standard stream, as Python opens it."""
    file = open(fd, "wb" if fd else "rb")  # noqa: SIM115  it is open until the end
    errors, by_line = ("backslashreplace", True) if fd == 2 else ("strict", os.isatty(fd))
    return io.TextIOWrapper(file, encoding="utf-8", errors=errors, line_buffering=by_line)


def _exit_code(code: str) -> int:
    module = sys.modules["__main__"] = ModuleType("__main__")
    status = 0
    try:
        exec(compile(code, "<string>", "exec"), vars(module))
    except SystemExit as left:
        status = left.code if isinstance(left.code, int) else int(left.code is not None)
        if isinstance(left.code, str):
            print(left.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
        status = 1
    threading._shutdown()  # type: ignore[attr-defined]  # waits for threads, as the end of a program does
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    return status & 255
