"""`zoo push`: a folder that zoo wrote published on the hub, checked first."""

from __future__ import annotations

import click

from zoo.checkpoint.pushing import Push, push
from zoo.cli import output
from zoo.cli.inspect import chosen, shared_options
from zoo.cli.output import Column
from zoo.units import human_bytes

EPILOG = """\b
Examples:
  zoo push ./tiny org/tiny --dry-run
  zoo push ./tiny org/tiny --private --message "First weights"
  zoo push ./tiny org/tiny --revision v2
"""


@click.command(epilog=EPILOG)
@click.argument("folder", type=click.Path())
@click.argument("repo", metavar="ORG/NAME")
@shared_options
@click.option("--private", is_flag=True, help="Make the repository private: only its owners see it.")
@click.option(
    "--revision", metavar="BRANCH", help="The branch to commit to; it is created from main if it does not exist."
)
@click.option("--message", help="The commit message.")
@click.option("--dry-run", is_flag=True, help="Check the folder and say what would be sent; connects to nothing.")
@click.option("--json", "is_json", is_flag=True, help="Commit, files and bytes as JSON.")
def command(
    folder: str,
    repo: str,
    choices: tuple[str, ...],
    allow: tuple[str, ...],
    allow_pickle: bool,
    private: bool,
    revision: str | None,
    message: str | None,
    dry_run: bool,
    is_json: bool,
) -> None:
    """Publish FOLDER, which zoo wrote, as ORG/NAME in one commit.

    The folder is first checked against its zoo.json and inspected. If it has no README.md, zoo writes a card.
    """
    overrides, family = chosen(choices)
    found = push(
        folder, repo, *overrides, revision=revision, private=private, message=message, family=family, allow=allow,
        allow_pickle=allow_pickle, dry_run=dry_run, announce=None if is_json else announce,
    )  # fmt: skip
    if is_json:
        output.as_json({**found.to_dict(), "dry_run": dry_run})
        return
    if dry_run:
        output.table([Column("file"), Column("bytes", human_bytes, is_number=True)], found.files)
        return
    output.fields([("published", f"hf://{found.repo}@{found.commit}"), ("branch", found.revision),
                   ("files", _count(found))])  # fmt: skip


def announce(found: Push) -> None:
    """Say what will be sent before it is."""
    output.note(f"{found.folder} → hf://{found.repo}@{found.revision} · {_count(found)}")
    if found.has_new_card:
        output.note(
            f"card: generated, licence {found.license or 'not stated'}; write a README.md if you want to say more"
        )
    if found.left_out:
        output.note(f"left out: {', '.join(found.left_out)}")
    if found.deleted:
        output.note(f"removed there: {', '.join(found.deleted)}")


def _count(found: Push) -> str:
    return f"{len(found.files)} files, {human_bytes(found.nbytes)}"
