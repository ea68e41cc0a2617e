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
    ours, theirs = pty.openpty()
    env = {**os.environ, "COLUMNS": str(width), "TERM": "xterm-256color", **environment}
    code = "from zoo.cli import main; main()"
    child = subprocess.Popen([sys.executable, "-c", code, *words], stdout=theirs, stderr=subprocess.DEVNULL, env=env)
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
    shown = b"".join(parts).decode().replace("\r\n", "\n")
    return shown if has_style else STYLE.sub("", shown)
