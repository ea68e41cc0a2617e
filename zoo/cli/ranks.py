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
from zoo.parallel.layout import CUTS, of_words
from zoo.parallel.processes import FOLDER, joined, launched, left_behind, refuse_others, seat
from zoo.parallel.word import has_the_word, pass_on

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh

RUNS = ("generate", "eval", "compare", "train")  # the commands that run over several processes

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


def over_ranks(
    choices: Sequence[str], device: str, ways: Sequence[str] = ()
) -> tuple[tuple[str, ...], DeviceMesh | None]:
    """The words that are not of `parallel`, and the mesh that the others ask for; None: one process.

    `ways` are the dimensions that it is to have; none given: those that cut the model.

    Where nobody has started the processes, they are started here, and this one ends when they do.
    """
    (layout, timeout, others), here = of_words(choices), seat()
    context = click.get_current_context(silent=True)  # None: a function was called, not a command
    command = "this" if context is None else f"zoo {context.info_name}"
    refuse_others(layout, command, ways or CUTS)
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
    silence_others()
    return others, joined(layout, here, device, ways, timeout=timeout) if here.count > 1 else None


def silence_others() -> None:
    """Let every rank but the first print nothing."""
    if (here := seat()) is not None and here.rank > 0:
        sys.stdout = sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115  # as long as the process


def is_told_elsewhere(error: Exception) -> bool:
    """Whether an error is of a run over several ranks, and this is not the one to tell it."""
    here = seat()
    if here is None or here.count == 1:
        return False
    is_agreed = hasattr(error, "is_of_rank")  # each rank has it, and knows whose it is
    of, lost = error.__dict__.get("is_of_rank", 0), is_lost(error)
    if FOLDER not in os.environ:
        is_mine = here.rank == of if is_agreed else has_the_word(here, is_lost=lost, is_alike=_is_of_words(error))
        if is_mine and here.rank > 0:
            sys.stderr = sys.__stderr__  # which all but the first have closed
        return not is_mine
    if not getattr(
        error, "is_of_another", False
    ):  # of an error that all have, too: who knows which of them gets to say it
        from zoo.cli.failures import told

        with redirect_stderr(io.StringIO()) as words:
            code = told(error)
        left_behind(here.rank, words.getvalue(), code, is_lost=lost)
    return True


def others_may_end(*, is_said: bool) -> None:
    """Let no rank end before what went wrong is told, for whoever started them then ends all."""
    here = seat()
    if here is not None and here.count > 1 and FOLDER not in os.environ:
        pass_on(is_said=is_said)


def _is_of_words(error: Exception) -> bool:
    """Whether an error is of what was typed, which is the same on all ranks."""
    return isinstance(error, UsageError | click.ClickException | click.Abort)


def is_lost(error: Exception) -> bool:
    """Whether a rank only noticed that another is gone, or does not answer."""
    is_backend = type(error).__module__.startswith("torch.") or isinstance(error, RuntimeError)
    return is_backend and "torch.distributed" in sys.modules and any(words in str(error) for words in GONE)
