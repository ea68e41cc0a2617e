"""Bars: on a terminal once work has lasted, gone when it is done, and nowhere else."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.cli.terminal import STYLE, written

WORK = """
import time
from zoo.cli import bars
from zoo.progress import progress, shown_by
bars.PATIENCE = {patience}
with shown_by(bars.bar), progress("write [it]", 3 << 20) as outer:
    for i in range(3):
        with progress("read back", 2, "tensors") as inner:
            time.sleep(0.06), inner(1), time.sleep(0.06), inner(1)
        outer(1 << 20)
    time.sleep(0.2)
print("done")
"""


@pytest.mark.slow
def test_a_bar_tells_what_and_how_much_and_leaves_nothing_behind() -> None:
    shown = _on_a_terminal(WORK.format(patience=0))
    assert "write [it]" in shown
    assert "1 MiB of 3 MiB" in shown
    assert "1/2 tensors" in shown
    assert shown.rstrip().endswith("\x1b[2K")  # the last thing is a line erased


@pytest.mark.slow
def test_short_work_shows_none() -> None:
    assert _on_a_terminal(WORK.format(patience=60)) == ""


@pytest.mark.slow
def test_a_pipe_gets_none() -> None:
    done = subprocess.run([sys.executable, "-c", WORK.format(patience=0)], capture_output=True, check=True, text=True)
    assert (done.stdout, done.stderr) == ("done\n", "")


def _on_a_terminal(code: str) -> str:
    return STYLE.sub("", written(code, to="stderr", COLUMNS="100"))
