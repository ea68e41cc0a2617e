"""A ledger as a notebook shows it. Needs no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zoo.errors import clean, some
from zoo.report.notebook import facts
from zoo.units import human_bytes, human_count

if TYPE_CHECKING:
    from zoo.checkpoint.inspection import Ledger

MOST = 8  # rows of what has no place


def as_html(ledger: Ledger) -> str:
    """What the checkpoint is, where its keys and tensors go, and what has no place."""
    keys, account = ledger.keys, ledger.account
    dtypes = ", ".join(f"{dtype} ({count})" for dtype, count in ledger.dtypes.items())
    rows = [
        ("family", f"{ledger.family.name} ({'; '.join(ledger.reasons)}) · format {ledger.dialect}"),
        ("config", f"{len(keys.raw)} keys: {len(keys.used)} used · {len(keys.inert)} inert"),
        ("tensors", account.summary()),
        ("dtype", dtypes),
        ("parameters", human_count(ledger.num_parameters)),
    ]
    if ledger.assumed:
        rows.append(("assumed", some([f"{name}={clean(repr(value))}" for name, value in ledger.assumed.items()], 4)))
    problems = account.problems()
    rows += [(kind, f"{name}  {what}") for kind, name, what in problems[:MOST]]
    rest = [f"and {len(problems) - MOST} more groups without a place"] if len(problems) > MOST else []
    title = f"{clean(ledger.source, 200)} · {human_bytes(ledger.nbytes)}"
    return facts(title, rows, [*rest, *(f"note: {note}" for note in ledger.notes)], is_bad=bool(problems))
