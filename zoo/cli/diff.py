"""`zoo diff`: two checkpoints' weights, tensor by tensor; exit codes are those of diff(1)."""

from __future__ import annotations

import sys

import click

from zoo.cli import output
from zoo.cli.failures import at_least
from zoo.cli.inspect import complete
from zoo.errors import UsageError

EPILOG = """\b
Examples:
  zoo diff tiny tiny
  zoo diff ./base ./tuned --html difference.html
  zoo diff ./model.gguf './folder family=llama' --json
"""


@click.command(epilog=EPILOG)
@click.argument("a", metavar="A", shell_complete=complete)
@click.argument("b", metavar="B", shell_complete=complete)
@click.option("--allow", multiple=True, metavar="PATTERN", help="Allow tensors or config keys that match the pattern.")
@click.option("--allow-pickle", is_flag=True, help="Open .bin and .pth files as data only; code in them is refused.")
@click.option("--all", "is_whole", is_flag=True, help="Name every tensor that differs.")
@click.option("--json", "is_json", is_flag=True, help="Every tensor with every number as JSON.")
@click.option("--html", "page", type=click.Path(), metavar="FILE", help="Write a page with a picture to FILE.")
def command(
    a: str, b: str, allow: tuple[str, ...], allow_pickle: bool, is_whole: bool, is_json: bool, page: str | None
) -> None:
    """Compare the weights of two checkpoints: which tensors differ, by how much, in which layers and roles.

    A and B are checkpoints of any format (folders, files, tiny, org/name, hf://org/name@rev). Family and overrides go
    in quotes: './folder family=llama'. Weights are paired by zoo's names, after each side's layout is undone, and read
    a few at a time. What models are, rather than what they hold: zoo compare.

    Exit code 0 if all weights are equal to the bit, 1 if anything differs, even a dtype, 2 or more if there was an
    error.
    """
    with at_least(2):
        is_equal = _run(a, b, allow, allow_pickle, is_whole, is_json, page)
    if not is_equal:
        raise click.exceptions.Exit(1)


def _run(
    a: str, b: str, allow: tuple[str, ...], allow_pickle: bool, is_whole: bool, is_json: bool, page: str | None
) -> bool:
    from zoo.difference import diff
    from zoo.difference.table import as_tsv

    if is_json and is_whole:
        raise UsageError("--json names every tensor already", hint="leave out --all")
    file = output.html_file(page) if page is not None else None
    found = diff(a, b, allow=allow, allow_pickle=allow_pickle)
    if file is not None:
        output.write_page(file, found.html())
    if is_json:
        output.as_json(found.to_dict())
    elif file is None:
        is_table = sys.stdout.isatty() or is_whole
        click.echo(found.table(is_whole=is_whole) if is_table else as_tsv(found))
    return found.is_equal
