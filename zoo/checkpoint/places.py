"""Where one of our tensors is in a checkpoint's files, for messages about it. Needs no torch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from zoo.weights.account import grouped

if TYPE_CHECKING:
    from zoo.checkpoint.inspection import Ledger


def in_file(ledger: Ledger, name: str) -> tuple[Path, str]:
    """The file that one of our tensors comes from, and what it is called there."""
    step = next(step for step in ledger.account.steps if name in step.ours)
    theirs = [ledger.account.actual[n] for n in step.theirs]
    called = grouped(theirs)[0]
    return ledger.checkpoint.tensors[theirs[0]].file, called if called == name else f"{called} (our {name})"
