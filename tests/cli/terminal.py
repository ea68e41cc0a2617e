"""A command on a terminal of a given width, and what it prints there."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys

STYLE = re.compile(r"\x1b\[[0-9;]*m")


def on_terminal(*words: str, width: int = 100, has_style: bool = False, **environment: str) -> str:
    """What `zoo` with `words` writes to a terminal, its colours and weights left out; stderr is dropped."""
    shown = written("from zoo.cli import main; main()", *words, to="stdout", COLUMNS=str(width), **environment)
    return shown if has_style else STYLE.sub("", shown)


def written(code: str, *words: str, to: str, **environment: str) -> str:
    """What a Python program writes to a terminal that is its stdout or stderr; the other stream is dropped."""
    ours, theirs = pty.openpty()
    env = {**os.environ, "TERM": "xterm-256color", **environment}
    streams = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, to: theirs}
    child = subprocess.Popen([sys.executable, "-c", code, *words], env=env, **streams)
    os.close(theirs)
    parts = []
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # how Linux says that the other end was closed
            break
        if not part:
            break
        parts.append(part)
    os.close(ours)
    assert child.wait(timeout=60) == 0
    return b"".join(parts).decode().replace("\r\n", "\n")
