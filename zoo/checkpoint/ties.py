"""What else a checkpoint must hold whose tensors are moved and not looked at one by one. Torch is asked in doubt."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zoo.errors import CheckpointError, clean

if TYPE_CHECKING:
    from zoo.checkpoint.inspection import Ledger

BLOCK = 4 << 20  # bytes that are compared at once


def check_moved(ledger: Ledger) -> None:
    """Refuse second copies that differ, and witnesses that contradict the config. Raises CheckpointError.

    Copies of the same bytes are the same numbers. Others may be, such as 0 and -0: torch says so. Nor are witnesses
    read here.
    """
    account = ledger.account
    if not account.witnesses and not account.zeros and all(_same(ledger, a, b) for a, b in account.tied.items()):
        return
    from zoo.checkpoint.checks import check_tied, check_witnesses

    with ledger.checkpoint.open() as tensors:
        check_tied(ledger, tensors)
        check_witnesses(ledger, tensors)


def check_places(ledger: Ledger) -> None:
    """Refuse a file that has two weights of the model, which are not one, in one place. Raises CheckpointError."""
    account, first = ledger.account, dict[str, str]()
    for name in dict.fromkeys(account.actual[theirs] for step in account.steps for theirs in step.theirs):
        info = ledger.checkpoint.tensors.get(name)
        if info is not None and info.shared and first.setdefault(info.shared, name) != name:
            what = f"lies where {clean(first[info.shared])} does, and the model has them apart"
            hint = "if they are one weight, the config must say so (tie_word_embeddings: true)"
            raise CheckpointError(info.file, name, what, hint=hint)


def _same(ledger: Ledger, copy: str, of: str) -> bool:
    """Whether two tensors are the same bytes, of the same type."""
    infos = [ledger.checkpoint.tensors[name] for name in (copy, of)]
    if len({info.dtype for info in infos}) > 1 or any(info.offset is None for info in infos):
        return False
    a, b = (ledger.checkpoint.raw_bytes(name) for name in (copy, of))
    return len(a) == len(b) and all(
        bytes(a[at : at + BLOCK]) == b[at : at + BLOCK].tobytes() for at in range(0, len(a), BLOCK)
    )
