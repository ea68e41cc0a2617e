"""`zoo tokenize`: a text as the pieces and ids that a model sees, side by side for two models."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from zoo.cli import output
from zoo.cli.inspect import complete
from zoo.errors import UsageError, clean

if TYPE_CHECKING:
    from zoo.text import Tokenizer

EPILOG = """\b
Examples:
  zoo tokenize tiny -p "One day"
  zoo tokenize tiny ./tiny-mine -p "One day"
  zoo tokenize tiny ./story.txt --json
"""
MAX_BYTES = 16 << 20
Row = tuple[int, str, str]  # a token's id, how the vocabulary spells it, and the part of the text that it stands for


@click.command(epilog=EPILOG)
@click.argument("source", shell_complete=complete)
@click.argument("others", nargs=-1, metavar="[SOURCE] [FILE]", shell_complete=complete)
@click.option("-p", "--prompt", help="The text.")
@click.option("--no-special", is_flag=True, help="Without the tokens that stand around a text.")
@click.option(
    "--json", "is_json", is_flag=True, help="Kind, ids, pieces and their places, a record for each source, as JSON."
)
@click.option("-q", "--quiet", is_flag=True, help="Ids only, a line for each source.")
def command(
    source: str, others: tuple[str, ...], prompt: str | None, no_special: bool, is_json: bool, quiet: bool
) -> None:
    """Show a text as the tokens of the model SOURCE: id, piece, and the part of the text that it stands for.

    With a second SOURCE both are shown side by side, a line for each part at whose end both have a token's end. The
    text is -p, or a FILE, the last word, or what is piped in. SOURCE needs no weights: a folder with a tokenizer in
    any form, a GGUF file, tiny, org/name from the cache.
    """
    from zoo.text import open_tokenizer

    sources, text = _sources_and_text([source, *others], prompt)
    tokenizers = [open_tokenizer(name) for name in sources]
    read = [_rows(tokenizer, text, not no_special) for tokenizer in tokenizers]
    for tokenizer in tokenizers:
        for line in tokenizer.notes:
            output.note(f"note: {line}")
    if is_json:
        output.as_json([_as_json(*each) for each in zip(sources, tokenizers, read, strict=True)])
    elif quiet:
        output.names(" ".join(str(row[0]) for row, _ in rows) for rows in read)
    elif len(read) == 1:
        columns = [output.Column("id", is_number=True), output.Column("piece"), output.Column("text")]
        output.table(columns, ((row[0], *map(_shown, row[1:])) for row, _ in read[0]))
    else:
        titles = ("text", *(part for name in sources for part in (name, "ids")))
        output.table([output.Column(title) for title in titles], _side_by_side(text, read))
    if not is_json and not quiet:
        for name, tokenizer, rows in zip(sources, tokenizers, read, strict=True):
            output.note(f"{name}: {tokenizer.kind}, {tokenizer.vocab_size:,} tokens · {_count(len(rows), text)}")


def _sources_and_text(words: list[str], prompt: str | None) -> tuple[list[str], str]:
    """One or two sources, and the text. Raises UsageError for three, and where there is no text."""
    if prompt is None and len(words) > 1 and Path(words[-1]).is_file() and not words[-1].endswith(".gguf"):
        prompt = _read(Path(words.pop()))
    if prompt is None and not sys.stdin.isatty():
        prompt = sys.stdin.read(MAX_BYTES)
    if prompt is None:
        raise UsageError("there is no text", hint="-p 'Some text', a file, or a pipe")
    if len(words) > 2:
        raise UsageError(
            f"{len(words)} sources, and two at most stand side by side", why=f"{clean(words[-1])} is not a file"
        )
    return words, prompt


def _read(path: Path) -> str:
    from zoo.files.regular import read_bounded

    return read_bounded(path, MAX_BYTES).decode("utf-8", errors="replace")


def _rows(tokenizer: Tokenizer, text: str, add_special_tokens: bool) -> list[tuple[Row, tuple[int, int]]]:
    found = tokenizer.encode_with_offsets(text, add_special_tokens)
    pieces = (tokenizer.id_to_token(index) or "" for index in found.ids)
    zipped = zip(found.ids, pieces, found.offsets, strict=True)
    return [((index, piece, text[begin:end]), (begin, end)) for index, piece, (begin, end) in zipped]


def _side_by_side(text: str, read: list[list[tuple[Row, tuple[int, int]]]]) -> list[list[str]]:
    """A row for each part of the text at whose end both have a token's end; what stands around it is by itself."""
    parts: list[list[str]] = []
    begin, left = 0, [list(rows) for rows in read]
    while any(left):
        taken: list[list[Row]] = [[], []]
        ends = [0, 0]
        for i in (0, 1):
            _take(left[i], taken[i], ends, i)
        while ends[0] != ends[1] and any(left):
            i = 0 if (ends[0] < ends[1] and left[0]) or not left[1] else 1
            _take(left[i], taken[i], ends, i)
        end = max(*ends, begin)
        cells = ((" ".join(_shown(r[1]) for r in rows), " ".join(str(r[0]) for r in rows)) for rows in taken)
        parts.append([_shown(text[begin:end]), *(cell for pair in cells for cell in pair)])
        begin = end
    return parts


def _take(left: list[tuple[Row, tuple[int, int]]], taken: list[Row], ends: list[int], i: int) -> None:
    """The next token, and those of no part of the text that follow it."""
    while left:
        row, (_, end) = left.pop(0)
        taken.append(row)
        ends[i] = max(ends[i], end)
        if end and (not left or left[0][1][1] > ends[i]):
            return


def _as_json(source: str, tokenizer: Tokenizer, rows: list[tuple[Row, tuple[int, int]]]) -> dict[str, Any]:
    tokens = [{"id": row[0], "piece": row[1], "begin": begin, "end": end} for row, (begin, end) in rows]
    return {"source": source, "kind": tokenizer.kind, "vocab_size": tokenizer.vocab_size, "tokens": tokens}


def _shown(text: str) -> str:
    """A text with what cannot be seen spelt out."""
    return text.replace("\n", "\\n").replace("\t", "\\t").replace("\r", "\\r").replace(" ", "·")


def _count(tokens: int, text: str) -> str:
    return f"{tokens:,} tokens for {len(text):,} characters"
