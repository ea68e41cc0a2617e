"""Which of several ranks tells what went wrong, where nobody that started them collects what they say."""

from __future__ import annotations

import sys
import time
from itertools import count
from typing import Any

from zoo.parallel.processes import Seat

WORD, SAID = "zoo/word", "zoo/said"  # kept where torch's processes meet: who tells, and that it was told
PATIENCE = 3  # seconds that a rank waits for what another says

_errors = count()  # of this process; nearly always one


def has_the_word(here: Seat, *, is_lost: bool, is_alike: bool) -> bool:
    """Whether this rank tells what went wrong: the first that knows, before those that only noticed another's end.

    What is alike on all ranks the first of them tells, and so where the ranks have not met yet.
    """
    number = next(_errors)
    if (store := _store()) is None:
        return here.rank == 0 or not is_alike
    key = f"{WORD}/{number}"
    try:
        if is_lost or (is_alike and here.rank > 0):
            _wait(store, key)
        return store.add(key, 1) == 1
    except RuntimeError:  # whoever kept it is gone
        return here.rank == 0 or not is_lost


def pass_on(*, is_said: bool) -> None:
    """Let the other ranks end once this one has told what went wrong, for whoever started them then ends all."""
    if (store := _store()) is None:
        return
    try:
        if is_said:
            store.add(SAID, 1)
        else:
            _wait(store, SAID)
    except RuntimeError:  # whoever kept it is gone
        return


def _store() -> Any:
    """Where torch's processes meet; None before they have."""
    dist: Any = sys.modules.get("torch.distributed")
    return dist.distributed_c10d._get_default_store() if dist is not None and dist.is_initialized() else None


def _wait(store: Any, key: str) -> None:
    until = time.monotonic() + PATIENCE
    while not store.check([key]) and time.monotonic() < until:
        time.sleep(0.02)
