"""Ctrl-C, known even where a stranger's code swallows it or makes it an error of its own. Imports nothing of zoo."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


@contextmanager
def noted() -> Iterator[list[bool]]:
    """A list that is filled when the user presses Ctrl-C: plugins may raise a KeyboardInterrupt, others swallow one."""
    pressed: list[bool] = []
    before: Any = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield pressed
        return

    def handle(number: int, frame: FrameType | None) -> None:
        pressed.append(True)
        before(number, frame)

    signal.signal(signal.SIGINT, handle)
    try:
        yield pressed
    except Exception as error:
        error.__dict__["is_interrupted"] = bool(pressed)
        raise
    finally:
        signal.signal(signal.SIGINT, before)


def came_before(error: Exception) -> bool:
    """Whether Ctrl-C was pressed before an error left `noted`: what raised it may be one that was cut off."""
    return bool(error.__dict__.get("is_interrupted"))
