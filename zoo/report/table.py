"""Facts side by side, a column for each thing: as aligned text, as Markdown and as tab-separated values."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

NARROWEST, WIDEST = 11, 26  # columns of text per thing


@dataclass(frozen=True)
class Row:
    """One fact about every thing; `values` are JSON values, None where a thing has none, `texts` word them."""

    section: str
    label: str
    values: tuple[Any, ...]
    texts: tuple[str, ...]
    is_number: bool = False  # of one unit, so that bars may show its proportions
    is_part: bool = False  # a part of the row above

    @property
    def is_same(self) -> bool:
        """Whether all things are alike in it."""
        return all(value == self.values[0] for value in self.values)


def as_text(names: Sequence[str], rows: Sequence[Row], width: int | None = None) -> list[str]:
    """Lines with the rows under the names, sections apart; cells wrap so that lines have `width` columns."""
    labels = [f"  {row.label}" if row.is_part else row.label for row in rows]
    first = max(map(len, labels), default=0) + 2
    columns = _widths(names, rows, None if width is None else width - 2 - first)
    lines = list(_line("", names, first, columns))
    for i, row in enumerate(rows):
        if i and row.section != rows[i - 1].section:
            lines.append("")
        lines += _line(labels[i], row.texts, first, columns)
    return lines


def as_markdown(names: Sequence[str], rows: Sequence[Row]) -> list[str]:
    """Lines of a table, its text shown as it is."""
    lines = [f"| | {' | '.join(map(escaped, names))} |", "|---|" + "---|" * len(names)]
    for row in rows:
        shown = f"&nbsp;&nbsp;{row.label}" if row.is_part else f"**{row.label}**"
        lines.append(f"| {shown} | {' | '.join(map(escaped, row.texts))} |")
    return lines


def as_tsv(names: Sequence[str], rows: Sequence[Row]) -> str:
    """Every row with its plain values, parts named after their whole: for pipes."""
    lines = ["\t".join(["", *names])]
    whole = ""
    for row in rows:
        whole = whole if row.is_part else row.label
        name = f"{whole}: {row.label}" if row.is_part else row.label
        lines.append("\t".join([name, *("" if v is None else str(v) for v in row.values)]))
    return "\n".join(lines)


def escaped(text: str) -> str:
    """Text that Markdown shows as it is."""
    for mark in "\\`*_[]<>|":
        text = text.replace(mark, f"\\{mark}")
    return text


def _widths(names: Sequence[str], rows: Sequence[Row], room: int | None) -> list[int]:
    """Columns for each thing: what its cells need, less where that is more than there is room for."""
    columns = [
        max(len(name), *(len(row.texts[i]) for row in rows), NARROWEST) if rows else len(name)
        for i, name in enumerate(names)
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
