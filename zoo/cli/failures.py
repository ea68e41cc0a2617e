"""What is said of an error, and the exit code that stands for it."""

from __future__ import annotations

import errno
import io
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, redirect_stderr

import click

from zoo.errors import ZooError
from zoo.registry import interrupts

# What torch says, the loader of shared libraries, and Python of a thread.
NO_ROOM = ("can't allocate memory", "failed to map segment", "annot allocate memory", "can't start new thread")


@contextmanager
def at_least(code: int) -> Iterator[None]:
    """Let no error inside end in a lower exit code, where a lower one is an answer."""
    try:
        yield
    except Exception as error:
        error.__dict__["least_exit_code"] = code
        raise


def tell(error: Exception) -> int:
    """Say what went wrong in a few lines on stderr; the exit code."""
    from zoo.cli.ranks import is_told_elsewhere, others_may_end  # here, since a command that goes well needs none

    is_silent = is_told_elsewhere(error)
    with redirect_stderr(io.StringIO()) if is_silent else nullcontext():
        code = told(error)
    others_may_end(is_said=not is_silent)
    return max(code, error.__dict__.get("least_exit_code", 0))


def told(error: Exception) -> int:
    """Say it on stderr; the exit code that stands for it."""
    match error:
        case ZooError():
            click.echo(f"error: {error}", err=True)
            return error.exit_code
        case click.Abort():
            return 130
        case click.ClickException():
            error.show()
            return error.exit_code
        case BrokenPipeError():  # the reader had enough; Python must not try to flush again at exit
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 141
        case MemoryError() | RuntimeError() | ImportError() | OSError() if is_out_of_memory(error):
            asked = re.search(r"allocate (\d+) bytes", str(error))
            told = f": {int(asked[1]):,} bytes were asked for" if asked else ""
            click.echo(f"error: there is not enough memory{told}\nask for less, or for a smaller dtype", err=True)
            return 1
        case OSError():
            click.echo(f"error: {error.filename or 'the system'}: {error.strerror or error}", err=True)
            return 1
    from zoo.cli.ranks import is_lost

    if is_lost(error):
        is_late = "imed out" in str(error)
        told = "did not answer in time" if is_late else "ended, or did not answer"
        hint = "parallel.timeout=SECONDS sets how long one waits" if is_late else "what it said is told there"
        click.echo(f"error: another rank {told}\n{hint}", err=True)
        return 1
    import traceback

    last = traceback.format_exception_only(error)[-1].strip().partition("\n")[0]
    if interrupts.came_before(error):  # while a module was imported, say, which then tells that it is not whole
        click.echo(f"interrupted: {last}", err=True)
        return 130
    click.echo(f"error: zoo has a bug: {last}\nwhere: run it again with --debug", err=True)
    return 70


def is_out_of_memory(error: Exception) -> bool:
    """Whether Python, or torch on any device, was refused memory; torch is not imported to ask."""
    told = type(error).__name__ == "OutOfMemoryError" or any(words in str(error) for words in NO_ROOM)
    return isinstance(error, MemoryError) or told or getattr(error, "errno", None) == errno.ENOMEM
