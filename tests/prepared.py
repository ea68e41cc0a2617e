"""Children that have torch imported before they begin: forked from one process, which imports nothing of zoo.

A child is as one that `python -c` starts (words, folder, environment, streams, exit code), only seconds sooner. What
asks which modules are imported, or how Python itself starts, needs a process of its own.
As a program, this is `zoo` or `python`.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

ZOO = "from zoo.cli import main; main()"
MODULE = "import runpy, sys; sys.path.remove(''); runpy._run_module_as_main({name!r})"
# Whoever starts the one knows it by the number of its process, and gives the other descriptors of its own.
OTHERS = ("submitit.local._local", "joblib.externals.loky.backend.popen_loky_posix")
# The variables that tell the programs below where the process listens, and which Python does what it cannot.
SOCKET, PYTHON = "ZOO_TESTS_PREPARED", "ZOO_TESTS_PYTHON"


def run(
    code: str,
    words: Sequence[str],
    environment: Mapping[str, str],
    *,
    cwd: Path | None = None,
    timeout: float = 60,
    reference: bool = False,
) -> subprocess.CompletedProcess[str]:
    """What `python -c code words` says and returns; with `reference`, transformers too is imported already."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err, open(os.devnull) as none:
        asked = {"code": code, "words": [*words], "environment": {**environment}, "cwd": str(cwd or Path.cwd())}
        with asking(listening(reference=reference), asked, [f.fileno() for f in (none, out, err)]) as (child, line):
            line.settimeout(timeout)
            try:
                status = int(line.recv(8))
            except TimeoutError:
                os.kill(child, signal.SIGKILL)
                raise subprocess.TimeoutExpired(code, timeout) from None
        said = []
        for file in (out, err):
            file.seek(0)
            said.append(file.read().decode().replace("\r\n", "\n"))
    return subprocess.CompletedProcess([sys.executable, "-c", code, *words], status, *said)


@contextlib.contextmanager
def asking(path: str, asked: dict[str, Any], streams: list[int]) -> Iterator[tuple[int, socket.socket]]:
    """The child's number, and the line on which its exit code will come."""
    with socket.socket(socket.AF_UNIX) as line:
        line.connect(path)
        data = json.dumps(asked).encode()
        socket.send_fds(line, [len(data).to_bytes(8, "big")], streams)
        line.sendall(data)
        yield int(line.recv(8)), line


@cache
def listening(*, reference: bool = False) -> str:
    """Start the process, once in a run's worker, which it does not outlive."""
    path = Path(tempfile.mkdtemp(prefix="zoo-"), "s")
    here = Path(__file__).resolve().parents[1]
    words = [sys.executable, "-c", "import tests.preparing as p; p.main()", str(path), *(("reference",) * reference)]
    kept = {key: value for key, value in os.environ.items() if key != "PYTHONPATH" and not key.startswith("ZOO_")}
    process = subprocess.Popen(words, cwd=here, env=kept, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"listening\n"
    return str(path)


def program(
    folder: Path, name: str = "zoo", *, before: str = "", code: str = ZOO, reference: bool = False
) -> dict[str, str]:
    """Write `zoo`, `python` or what else runs `code` into a folder, and give the environment in which it runs.

    `before` is run in the child before zoo is imported.
    """
    file = folder / name
    text = Path(__file__).read_text(encoding="utf-8").replace(repr(ZOO).replace("'", '"'), repr(before + code), 1)
    file.write_text(f"#!{sys.executable} -IS\n{text}")
    file.chmod(0o755)
    return {
        "PATH": os.pathsep.join((str(folder), os.environ["PATH"])),
        SOCKET: listening(reference=reference),
        PYTHON: sys.executable,
    }


def main() -> None:
    """Be `zoo`, or `python -m MODULE`: hand words, folder, environment and streams to a child that is prepared.

    `-P` is as it says there, and with `-u` alone output waits until the child ends.
    """
    code, words = ZOO, sys.argv[1:]
    if Path(sys.argv[0]).name == "python":
        options = [*itertools.takewhile(lambda word: word in ("-P", "-u"), words)]
        flag, name, *rest = (*words[len(options) :], "", "")
        if flag != "-m" or name in OTHERS:
            os.execv(os.environ[PYTHON], [os.environ[PYTHON], *words])
        code, words = MODULE.format(name=name), rest[:-2]
    environment = {key: value for key, value in os.environ.items() if key != SOCKET}
    asked = {"code": code, "words": words, "environment": environment, "cwd": os.getcwd()}
    with asking(os.environ[SOCKET], asked, [0, 1, 2]) as (_, line):
        sys.exit(int(line.recv(8)) & 255)


if __name__ == "__main__":
    main()
