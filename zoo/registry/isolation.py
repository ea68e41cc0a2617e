"""What a third party's code does while zoo asks it something: its words go to stderr, and its end is an error.

Held: what is written to stdout, by Python or below it, the folder at hand, the streams, the answer to Ctrl-C; filters
that would silence zoo's own warnings are taken away. A plugin is code all the same, and may do the rest as it likes.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from typing import Any

from zoo.errors import ZooError, ZooWarning, clean
from zoo.registry import interrupts


class PluginError(ZooError):
    """A third party's code that ended otherwise than with an answer."""


@contextmanager
def isolated(what: str) -> Iterator[None]:
    """Run a third party's code. Raises PluginError, which begins with `what`, for all but a ZooError.

    SystemExit and the like are among it; the user's own Ctrl-C goes through, and so does a lack of memory.
    """
    with _off_stdout(), _at_the_same_place(), _without_silence(), interrupts.noted() as pressed:
        try:
            yield
        except (ZooError, MemoryError):
            raise
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt) and pressed:
                raise
            raise PluginError(f"{what}: {reason_of(error)}" if what else reason_of(error)) from error


def reason_of(error: BaseException) -> str:
    """Type and words of an error, whose words may be no words either."""
    try:
        said = str(error)
    except BaseException:
        said = "its error has no readable text"
    return clean(f"{type(error).__name__}: {said}", 500)


@contextmanager
def _off_stdout() -> Iterator[None]:
    """Send what is printed to stderr, for stdout is for answers; by C code too, which writes to the descriptor."""
    out, err, kept = sys.stdout, sys.stderr, None
    _flush(out)
    with suppress(OSError, ValueError, AttributeError):  # closed, or none
        if sys.__stdout__.fileno() == 1:  # pyrefly: ignore[missing-attribute]  # None is suppressed
            kept = os.dup(1)
            os.dup2(2, 1)
    sys.stdout = err
    try:
        yield
    finally:
        _flush(sys.stdout)
        if kept is not None:
            os.dup2(kept, 1)
            os.close(kept)
        sys.stdout, sys.stderr = out, err


def _flush(stream: Any) -> None:
    """Empty the buffers of what is printed: of a stream, of Python's first one, and of C's, where ctypes is there."""
    for one in filter(None, (stream, sys.__stdout__)):
        with suppress(Exception):
            one.flush()
    if "ctypes" in sys.modules:
        with suppress(Exception):
            _of_c().fflush(None)


@cache
def _of_c() -> Any:
    """The functions of C's library, looked up once: this is done for each family that is asked about a file."""
    return sys.modules["ctypes"].CDLL(None)


@contextmanager
def _at_the_same_place() -> Iterator[None]:
    try:
        folder = os.open(".", os.O_RDONLY)
    except OSError:  # it is gone already
        yield
        return
    try:
        yield
    finally:
        with suppress(OSError):
            os.fchdir(folder)
        os.close(folder)


@contextmanager
def _without_silence() -> Iterator[None]:
    """Take away filters for any warning that were added meanwhile: ours would not be seen, or be raised."""
    before = [*warnings.filters]
    try:
        yield
    finally:
        ours = [f for f in warnings.filters if f not in before and f[1] is None and issubclass(ZooWarning, f[2])]
        for added in ours:
            warnings.filters.remove(added)  # pyrefly: ignore[missing-attribute]  # a list, whatever its stub says
        if ours:
            with warnings.catch_warnings():  # which makes Python look at the filters again
                pass
