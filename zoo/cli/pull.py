"""`zoo pull`: a checkpoint of the hub brought to this machine, pinned and checked."""

from __future__ import annotations

import click
from click.shell_completion import CompletionItem

from zoo.checkpoint.pulling import Pull, pull
from zoo.cli import output
from zoo.cli.output import Column
from zoo.units import human_bytes

EPILOG = """\b
Examples:
  zoo pull hf://org/name --dry-run
  zoo pull hf://org/name@v1.0
  zoo pull llama3-8b --to ./llama3-8b
"""


def complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The models whose home on the hub a preset names."""
    from zoo.cli.completion import models

    return models(incomplete)


@click.command(epilog=EPILOG)
@click.argument("source", shell_complete=complete)
@click.option("--revision", help="A branch, tag or commit; as org/name@REVISION.")
@click.option("--to", "folder", type=click.Path(), metavar="DIR", help="Also copy it to this folder, with a zoo.json.")
@click.option("--allow-pickle", is_flag=True, help="Fetch .bin and .pth files if there is nothing better.")
@click.option("--force", is_flag=True, help="Replace a folder that zoo wrote.")
@click.option("--dry-run", is_flag=True, help="Say what would be fetched, with sizes.")
@click.option("--json", "is_json", is_flag=True, help="Commit, files, bytes and folder as JSON.")
def command(
    source: str,
    revision: str | None,
    folder: str | None,
    allow_pickle: bool,
    force: bool,
    dry_run: bool,
    is_json: bool,
) -> None:
    """Fetch the checkpoint SOURCE into the cache: org/name, hf://org/name@rev or a preset with weights on the hub.

    Only what is needed: config, weights in the safest format, tokenizer, templates, card and licence. The revision is
    resolved to a commit first, and the size and hash of every file are checked against those of the hub.
    """
    found = pull(
        source, revision=revision, folder=folder, allow_pickle=allow_pickle, force=force, dry_run=dry_run,
        announce=None if dry_run else announce,
    )  # fmt: skip
    if is_json:
        output.as_json({**found.to_dict(), "dry_run": dry_run})
    elif dry_run:
        columns = [Column("file"), Column("bytes", human_bytes, is_number=True), Column("cached", _yes)]
        output.table(columns, [(file.name, file.nbytes, file.is_cached) for file in found.files])
        output.note(in_words(found))
    else:
        output.fields([("source", in_words(found)), ("checked", "sizes and hashes are those that the hub reports"),
                       ("folder", str(found.folder))])  # fmt: skip


def announce(found: Pull) -> None:
    """Say how much will come before it does."""
    if found.missing_bytes:
        output.note(f"fetching {human_bytes(found.missing_bytes)}: {in_words(found)}")


def in_words(found: Pull) -> str:
    """The commit and what it consists of, on one line."""
    cached = sum(file.is_cached for file in found.files)
    asked = f" ({found.revision})" if found.revision and found.revision != found.commit else ""
    count = f"{len(found.files)} file{'s' * (len(found.files) != 1)}, {human_bytes(found.nbytes)}"
    return f"hf://{found.repo} @ {found.commit[:8]}{asked} · {count}, {cached} cached"


def _yes(value: object) -> str:
    return "yes" if value else "no"
