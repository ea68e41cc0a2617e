"""`zoo convert`: any format to any other, strict and all or nothing."""

from __future__ import annotations

import json
import time

import click

from zoo.cli.inspect import chosen, lines, shared_options
from zoo.size import human_bytes

EPILOG = """\b
Examples:
  zoo convert tiny ./tiny --to zoo --dry-run
  zoo convert tiny ./tiny-fp32 --to hf --dtype float32
  zoo convert hf://org/name@main ./name
"""


@click.command(epilog=EPILOG)
@click.argument("source")
@click.argument("folder", type=click.Path())
@shared_options
@click.option(
    "--to", default="zoo", show_default=True, metavar="FORMAT", help="zoo, hf, meta or another of the family."
)
@click.option("--dtype", help="Cast the weights; a value that overflows is an error.")
@click.option("--max-shard-size", type=int, metavar="BYTES", help="Cut the weights into files of at most this size.")
@click.option("--force", is_flag=True, help="Replace a folder that zoo wrote.")
@click.option("--dry-run", is_flag=True, help="Settle the account and say what would be written.")
@click.option("--json", "as_json", is_flag=True, help="The account as JSON.")
def command(
    source: str,
    folder: str,
    choices: tuple[str, ...],
    allow: tuple[str, ...],
    allow_pickle: bool,
    to: str,
    dtype: str | None,
    max_shard_size: int | None,
    force: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Write the checkpoint SOURCE to FOLDER in another format.

    Nothing is written unless every tensor and config key has its place; FOLDER is replaced whole or left as it was.
    """
    from zoo.conversion import convert

    start = time.perf_counter()
    done = convert(
        source, folder, to=to, dtype=dtype, **chosen(choices), allow=allow, allow_pickle=allow_pickle,
        max_shard_size=max_shard_size, force=force, dry_run=dry_run,
    )  # fmt: skip
    seconds = time.perf_counter() - start
    if as_json:
        told = {"folder": str(done.folder), "format": to, "tensors": done.num_tensors, "dry_run": dry_run}
        click.echo(json.dumps({**done.ledger.to_dict(), "written": told}, indent=2))
        return
    click.echo("\n".join(lines(done.ledger)))
    verb = "would write" if dry_run else "wrote      "
    click.echo(
        f"{verb} {done.folder}  as {to}: {done.num_tensors} tensors, {human_bytes(done.nbytes)}  {seconds:.1f} s"
    )
