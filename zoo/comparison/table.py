"""A comparison as aligned text, as Markdown and as tab-separated values."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from itertools import zip_longest

from zoo.comparison import Comparison, Row

NARROWEST, WIDEST = 11, 26  # columns of text per model


def as_text(c: Comparison, width: int | None = None) -> str:
    """The rows that differ under the models' names, sections apart; cells wrap so that lines have `width` columns."""
    measured = c.measurements.rows if c.measurements else ()
    told = [*c.differing, *measured]
    labels = [label(row) for row in told]
    first = max(map(len, labels), default=0) + 2
    columns = _widths(c, told, None if width is None else width - 2 - first)
    lines = list(_line("", [s.name for s in c.subjects], first, columns))
    for i, row in enumerate(told):
        if i and row.section != told[i - 1].section:
            lines.append("")
        lines += _line(labels[i], row.texts, first, columns)
    lines += [] if told else ["  they are the same in all that is told here"]
    ends = [f"same: {same(c)}." if c.same else "", *(f"note: {note}." for note in notes(c))]
    for end in filter(None, ends):
        lines += textwrap.wrap(end, width or 100, subsequent_indent="  ")
    return "\n".join(lines)


def as_markdown(c: Comparison) -> str:
    """A table of what differs, a line of what is the same, and the notes."""
    names = [_escaped(s.name) for s in c.subjects]
    lines = [f"| | {' | '.join(names)} |", "|---|" + "---|" * len(names)]
    for row in (*c.differing, *(c.measurements.rows if c.measurements else ())):
        shown = f"&nbsp;&nbsp;{row.label}" if row.is_part else f"**{row.label}**"
        lines.append(f"| {shown} | {' | '.join(map(_escaped, row.texts))} |")
    if c.same:
        lines += ["", f"Same in all: {_escaped(same(c))}."]
    for note in notes(c):
        lines += ["", f"Note: {_escaped(note)}."]
    return "\n".join(lines)


def as_tsv(c: Comparison) -> str:
    """Every row with its plain values, parts named after their whole: for pipes."""
    lines = ["\t".join(["", *(s.name for s in c.subjects)])]
    whole = ""
    for row in (*c.rows, *(c.measurements.rows if c.measurements else ())):
        whole = whole if row.is_part else row.label
        name = f"{whole}: {row.label}" if row.is_part else row.label
        lines.append("\t".join([name, *("" if v is None else str(v) for v in row.values)]))
    return "\n".join(lines)


def same(c: Comparison) -> str:
    """What all models share, in one line."""
    return "; ".join(f"{row.label} {row.texts[0]}" for row in c.same if not row.is_part)


def notes(c: Comparison) -> tuple[str, ...]:
    """What is to be said below the table."""
    return (*c.notes, *(c.measurements.notes if c.measurements else ()))


def label(row: Row) -> str:
    """A row's name, a part's indented."""
    return f"  {row.label}" if row.is_part else row.label


def _widths(c: Comparison, told: Sequence[Row], room: int | None) -> list[int]:
    """Columns for each model: what its cells need, less where that is more than there is room for."""
    columns = [
        max(len(s.name), *(len(row.texts[i]) for row in told), NARROWEST) if told else len(s.name)
        for i, s in enumerate(c.subjects)
    ]
    if room is None:
        return [min(width, WIDEST) for width in columns]
    while sum(columns) + 2 * (len(columns) - 1) > room and max(columns) > NARROWEST:
        columns[columns.index(max(columns))] -= 1
    return columns


def _line(first: str, cells: Sequence[str], width: int, columns: Sequence[int]) -> Iterator[str]:
    """A row as one line, or as several where cells wrap."""
    wrapped = [textwrap.wrap(cell, w, break_on_hyphens=False) or [""] for cell, w in zip(cells, columns, strict=True)]
    for i, parts in enumerate(zip_longest(*wrapped, fillvalue="")):
        cut = "  ".join(f"{part:{w}}" for part, w in zip(parts, columns, strict=True))
        yield f"  {first if i == 0 else '':{width}}{cut}".rstrip()


def _escaped(text: str) -> str:
    """Text that Markdown shows as it is."""
    for mark in "\\`*_[]<>|":
        text = text.replace(mark, f"\\{mark}")
    return text
