"""Bars on a terminal's stderr for work that takes its time: what is done, how much of it, and the time left."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from zoo.errors import clean
from zoo.progress import Advance

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

PATIENCE = 0.7  # seconds of work that show no bar

_open: list[Bar] = []  # the outermost first: one display has a line for each


class Bar:
    """One line, there once the work has lasted."""

    def __init__(self, what: str, total: int, unit: str) -> None:
        self.what, self.total, self.unit, self.done = clean(what), total, unit, 0
        self.start = time.monotonic()
        self.display: Progress | None = None
        self.task: TaskID | None = None
        self.owns_display = False

    def advance(self, done: int) -> None:
        self.done += done
        if self.task is None and time.monotonic() - self.start > PATIENCE:
            self._appear()
        if self.display is not None and self.task is not None:
            self.display.update(self.task, completed=self.done, amount=self._amount())

    def close(self) -> None:
        if self.display is None or self.task is None:
            return
        if self.owns_display:
            self.display.stop()
        else:
            self.display.remove_task(self.task)

    def _appear(self) -> None:
        self.display = next((bar.display for bar in _open if bar.display is not None), None)
        if self.display is None:
            self.display, self.owns_display = _display(), True
            self.display.start()
        self.task = self.display.add_task(self.what, total=self.total, amount=self._amount())

    def _amount(self) -> str:
        if self.unit != "bytes":
            return f"{self.done:,}/{self.total:,} {self.unit}"
        from zoo.units import human_bytes

        return f"{human_bytes(self.done)} of {human_bytes(self.total)}"


@contextmanager
def bar(what: str, total: int, unit: str) -> Iterator[Advance]:
    """A bar that goes when the work is done; none where stderr is no terminal."""
    if not sys.stderr.isatty():
        yield lambda done: None
        return
    line = Bar(what, total, unit)
    _open.append(line)
    try:
        yield line.advance
    finally:
        _open.remove(line)
        line.close()


def _display() -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TextColumn("{task.fields[amount]}"))
    return Progress(*columns, TimeRemainingColumn(compact=True), console=Console(stderr=True), transient=True)
