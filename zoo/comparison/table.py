"""A comparison as aligned text, as Markdown and as tab-separated values."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from zoo.report import table
from zoo.report.table import Row

if TYPE_CHECKING:
    from zoo.comparison.record import Comparison


def as_text(c: Comparison, width: int | None = None, *, is_short: bool = False) -> str:
    """The rows that differ under the models' names, what is the same in a line unless `is_short`, and the notes."""
    lines = table.as_text(_names(c), told := _told(c), width)
    lines += [] if told else ["  they are the same in everything shown here"]
    ends = [f"same: {same(c)}." if c.same and not is_short else "", *(f"note: {note}." for note in notes(c))]
    for end in filter(None, ends):
        lines += textwrap.wrap(end, width or 100, subsequent_indent="  ")
    return "\n".join(lines)


def as_markdown(c: Comparison, *, is_short: bool = False) -> str:
    """A table of what differs, a line of what is the same, and the notes."""
    lines = table.as_markdown(_names(c), _told(c))
    if c.same and not is_short:
        lines += ["", f"Same in all: {table.escaped(same(c))}."]
    for note in notes(c):
        lines += ["", f"Note: {table.escaped(note)}."]
    return "\n".join(lines)


def as_tsv(c: Comparison, *, is_short: bool = False) -> str:
    """Every row with its plain values, or `is_short` those that differ: for pipes."""
    return table.as_tsv(_names(c), [*(c.differing if is_short else c.rows), *_measured(c)])


def same(c: Comparison) -> str:
    """What all models share, in one line."""
    return "; ".join(f"{row.label} {row.texts[0]}" for row in c.same if not row.is_part)


def notes(c: Comparison) -> tuple[str, ...]:
    """What is to be said below the table."""
    return (*c.notes, *(c.measurements.notes if c.measurements else ()))


def _names(c: Comparison) -> list[str]:
    return [s.name for s in c.subjects]


def _told(c: Comparison) -> list[Row]:
    return [*c.differing, *_measured(c)]


def _measured(c: Comparison) -> tuple[Row, ...]:
    return c.measurements.rows if c.measurements else ()
