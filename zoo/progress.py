"""How far long work has come, told to whoever watches: a front shows it, a library call says nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar

Advance = Callable[[int], None]  # told how much more is done
Show = Callable[[str, int, str], AbstractContextManager[Advance]]  # of what is done, how much, in which unit

_shown: ContextVar[Show | None] = ContextVar("zoo_progress", default=None)


@contextmanager
def shown_by(show: Show) -> Iterator[None]:
    """Within it, long work is shown by `show`."""
    token = _shown.set(show)
    try:
        yield
    finally:
        _shown.reset(token)


@contextmanager
def progress(what: str, total: int, unit: str = "bytes") -> Iterator[Advance]:
    """Work of `total` units; call what this gives with how many more are done."""
    show = _shown.get()
    if show is None:
        yield lambda done: None
        return
    with show(what, total, unit) as advance:
        yield advance
