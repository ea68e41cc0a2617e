"""A command over several processes: `parallel.tp=2` starts them, and each runs the command with its share of the model.

Rank 0 alone prints; what goes wrong on any rank is told once.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence
from contextlib import redirect_stderr
from typing import TYPE_CHECKING, Any

import click

from zoo.errors import UsageError
from zoo.parallel.layout import GROUP, layout_of
from zoo.parallel.processes import FOLDER, joined, launched, left_behind, refuse_others, seat

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh

RUNS = ("generate", "eval")  # the commands that run over several processes

# What gloo, NCCL and torch's store say where another process is gone, or does not come.
GONE = (
    "Connection closed by peer",
    "Connection reset by peer",
    "Timed out",
    "timed out",
    "Broken pipe",
    "NCCL",
    "gloo",
)


def over_ranks(choices: Sequence[str], device: str) -> tuple[tuple[str, ...], DeviceMesh | None]:
    """The words that are not of `parallel`, and the mesh that the others ask for; None: one process.

    Where nobody has started the processes, they are started here, and this one ends when they do.
    """
    words = [word for word in choices if word.lstrip("+").partition("=")[0].partition(".")[0] == GROUP]
    others = tuple(word for word in choices if word not in words)
    layout, here = layout_of(word.lstrip("+") for word in words), seat()
    context = click.get_current_context(silent=True)  # None: a function was called, not a command
    command = "this" if context is None else f"zoo {context.info_name}"
    refuse_others(layout, command)
    is_several = layout.num_ranks > 1 or (here is not None and here.count > 1)
    if context is None or context.info_name not in RUNS:
        if is_several:
            raise UsageError(f"{command} runs in one process only", hint=f"over several: {', '.join(RUNS)}")
        return others, None
    if here is None and not is_several:
        return others, None
    if here is None:
        given: Any = context.find_root().obj
        context.exit(launched(given, layout))
    assert here is not None
    if here.rank > 0:
        sys.stdout = sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115  # as long as the process
    return others, joined(layout, here, device) if here.count > 1 else None


def is_told_elsewhere(error: Exception) -> bool:
    """Whether an error is of a run over several ranks, and this is not the one to tell it."""
    here = seat()
    if here is None or here.count == 1:
        return False
    of = error.__dict__.get("is_of_rank", 0)
    if FOLDER not in os.environ:
        return here.rank != of
    if here.rank == of or not hasattr(error, "is_of_rank"):
        from zoo.cli.failures import told

        with redirect_stderr(io.StringIO()) as words:
            told(error)
        left_behind(here.rank, words.getvalue(), is_lost=is_lost(error))
    return True


def is_lost(error: Exception) -> bool:
    """Whether a rank only noticed that another is gone, or does not answer."""
    is_backend = type(error).__module__.startswith("torch.") or isinstance(error, RuntimeError)
    return is_backend and "torch.distributed" in sys.modules and any(words in str(error) for words in GONE)
