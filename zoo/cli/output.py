"""How answers leave a command: a table for people, TSV for pipes, JSON for programs; notes go to stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import click

from zoo.errors import UsageError, clean

NARROW = 24  # columns that a text has at least beside its name
LEAST = 12  # that a column of a table keeps which gives way


class Column(NamedTuple):
    """A column of a table; `show` words a value for people, pipes get it plain."""

    title: str
    show: Callable[[Any], str] = str
    is_number: bool = False
    is_cut: bool = False  # gives way first where the terminal is narrow


def table(columns: Sequence[Column], rows: Iterable[Sequence[Any]], *, truncate: bool = True) -> None:
    """Print rows: aligned on a terminal, cut to its width if `truncate`, else TSV with a header line."""
    if sys.stdout.isatty():
        _rich_table(columns, rows, truncate)
        return
    lines = [[column.title for column in columns], *([_plain(value) for value in row] for row in rows)]
    click.echo("\n".join("\t".join(line) for line in lines))  # once: each call flushes


def fields(rows: Sequence[tuple[str, str]]) -> None:
    """Print what belongs to each of a few names: aligned and broken between words on a terminal, else TSV."""
    if not sys.stdout.isatty():
        for name, text in rows:
            click.echo(f"{name}\t{text}")
        return
    import shutil  # these two where people read: a pipe needs neither
    import textwrap

    width = max((len(name) for name, _ in rows), default=0)
    columns = shutil.get_terminal_size((100, 24)).columns
    is_narrow = columns - width - 4 < NARROW  # then each text stands below its name
    indent = 4 if is_narrow else width + 4
    for name, text in rows:
        lines = textwrap.wrap(text, max(columns - indent, 1), break_long_words=False, break_on_hyphens=False) or [""]
        first = [] if is_narrow else [lines.pop(0)]
        click.echo("  ".join([f"  {click.style(f'{name:{width}}', bold=True)}", *first]).rstrip())
        for line in lines:
            click.echo(f"{'':{indent}}{line}")


def as_json(value: Any) -> None:
    """Print JSON values."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def names(found: Iterable[str]) -> None:
    """Print names only, one a line."""
    for name in found:
        click.echo(name)


def note(text: str) -> None:
    """Tell people something beside the answer."""
    click.echo(text, err=True)


def html_file(text: str) -> Path:
    """Where the page goes: a file that ends as such do, so that a slip overwrites nothing else."""
    file = Path(text).expanduser()
    if file.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"--html {clean(text)!r} does not end in .html", hint="type: --html report.html")
    if not file.parent.is_dir():
        raise UsageError(f"--html {clean(text)!r}: there is no folder {clean(file.parent)!r}")
    return file


def write_page(file: Path, text: str) -> None:
    """Write all of it or nothing: beside the file first."""
    from zoo.files.beside import put_whole
    from zoo.units import human_bytes

    put_whole(file, lambda path: path.write_text(text, encoding="utf-8"))

    note(f"wrote {clean(file, 200)}, {human_bytes(file.stat().st_size)}")


def _plain(value: Any) -> str:
    if value is None or value is False:
        return ""
    return "yes" if value is True else clean(value, 1000)


def _is_told(column: Column, value: Any) -> bool:
    """Whether a cell says anything; a column in which none does is left out where people read it."""
    return value is not None and column.show(value) != ""


def _rich_table(columns: Sequence[Column], rows: Iterable[Sequence[Any]], truncate: bool) -> None:
    from rich.console import Console
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    rows = [*rows]
    told = [i for i in range(len(columns)) if not rows or any(_is_told(columns[i], row[i]) for row in rows)]
    console = Console() if truncate else Console(width=10_000)
    cells = [[_cell(c, row[i]) for c, i in zip((columns[i] for i in told), told, strict=True)] for row in rows]
    fits = _fitting([columns[i] for i in told], cells, console.width)
    if missing := [columns[told[i]].title for i in range(len(told)) if i not in fits]:
        note(f"left out: {', '.join(missing)}. A wider terminal or a pipe shows all")
    columns, cells = [columns[told[i]] for i in fits], [[row[i] for i in fits] for row in cells]
    shown = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in columns:
        # A column that may wrap is the first to be narrowed; its cells are cut all the same.
        shown.add_column(Text(column.title), justify="right" if column.is_number else "left", no_wrap=not column.is_cut)
    for line in cells:
        shown.add_row(*(Text(cell, no_wrap=True, overflow="ellipsis") for cell in line))
    console.print(Padding(shown, (0, 0, 0, 2), expand=False))


def _cell(column: Column, value: Any) -> str:
    return clean("-" if value is None or value == "" else column.show(value), 1000)


def _fitting(columns: Sequence[Column], cells: Sequence[Sequence[str]], width: int) -> list[int]:
    """The columns that a terminal has room for: the first, and not in part what does not give way, as a number."""
    widths = [max([len(c.title), *(len(row[i]) for row in cells)]) for i, c in enumerate(columns)]
    least = [min(w, LEAST) if c.is_cut else w for c, w in zip(columns, widths, strict=True)]
    kept = [*range(len(columns))]
    while len(kept) > 1 and sum(2 + least[i] for i in kept) > width:
        kept.remove(max(kept[1:], key=lambda i: (columns[i].is_cut, i)))
    return kept
