"""What `zoo show` says of a checkpoint: what it is, and what its bytes are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from zoo.cli.datasheet import rows
from zoo.cli.inspect import chosen
from zoo.errors import clean
from zoo.units import human_bytes, human_count

if TYPE_CHECKING:
    from zoo.checkpoint.inspection import Ledger


def opened(source: str, words: Sequence[str]) -> Ledger:
    """A checkpoint whose headers are read, all of it accounted for. Raises CheckpointError, UsageError."""
    from zoo.checkpoint.inspection import inspect

    overrides, family = chosen(tuple(words))
    ledger = inspect(source, *overrides, family=family)
    ledger.check()
    return ledger


def fields(source: str, ledger: Ledger, form: str | None) -> list[tuple[str, str]]:
    """A label and a line each."""
    from zoo.checkpoint.stored import stored_kinds

    kinds = stored_kinds(ledger)
    numbers = sum(kind.numbers for kind in kinds)
    bits = f"{8 * ledger.nbytes / max(1, numbers):.2f} bits a weight"
    about = [
        (
            clean(source, 60),
            f"{ledger.family.name}, read as {ledger.dialect} · {len(ledger.checkpoint.tensors)} tensors",
        )
    ]
    about += [("On disk", f"{human_bytes(ledger.nbytes)}, {bits}")]
    about += [
        ("" if i else "Stored as", f"{kind.words}: {kind.tensors} tensors, {human_count(kind.numbers)} numbers, "
         f"{human_bytes(kind.nbytes)}, {kind.bits:.2f} bits each")
        for i, kind in enumerate(kinds)
    ]  # fmt: skip
    return [*about, *rows(ledger.config, form), ("Try", f"zoo inspect {clean(source, 200)}")]


def to_dict(source: str, ledger: Ledger, form: str | None) -> dict[str, Any]:
    """The same as JSON values."""
    from zoo.anatomy.costs import costs
    from zoo.anatomy.size import Size
    from zoo.checkpoint.stored import stored_kinds
    from zoo.errors import ZooError

    kinds = stored_kinds(ledger)
    told: dict[str, Any] = {
        "name": source, "family": ledger.family.name, "format": ledger.dialect, "config": ledger.config.to_dict(),
        "bytes": ledger.nbytes, "bits_per_weight": 8 * ledger.nbytes / max(1, sum(kind.numbers for kind in kinds)),
        "stored": [kind.to_dict() for kind in kinds],
    }  # fmt: skip
    try:
        size = Size.of(ledger.config)
    except ZooError:
        return told | {"traits": {}, "size": None}
    return told | {"traits": size.anatomy.traits, "size": costs(size, None, quantize=form)}
