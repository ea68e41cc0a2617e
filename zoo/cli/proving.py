"""`zoo convert --prove`: what the proofs of the weight tables say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from zoo.cli import output
from zoo.cli.inspect import chosen


def is_family(word: str) -> bool:
    """Whether a word names a family and no file, preset or repository."""
    from zoo.registry import installed

    return word in installed().families and not Path(word).exists() and "/" not in word


def proven(
    source: str | None, folder: str | None, choices: tuple[str, ...], *, format: str, as_json: bool, **options: Any
) -> bool:
    """Print a line per table and tell whether all of them are bijections."""
    from zoo.verification.proving import prove_families, prove_ledger

    if source is None or is_family(source):
        rows = list(prove_families([word for word in (source, folder, *choices) if word]))
    else:
        from zoo.checkpoint.inspection import inspect

        overrides, family = chosen(choices)
        ledger = inspect(source, *overrides, family=family, **options)
        rows = prove_ledger(ledger, format if folder else None)
    failed = [row for row in rows if not row.holds]
    if as_json and (folder is None or source is None or is_family(source) or failed):
        output.as_json({"holds": not failed, "tables": [row.to_dict() for row in rows]})
    elif not as_json:
        for row in rows:
            click.echo(str(row))
        refused = sum(bool(row.refusal) for row in rows)
        click.echo(f"{len(rows) - refused - len(failed)} tables proven, {len(failed)} failed, {refused} skipped")
    return not failed
