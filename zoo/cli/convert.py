"""`zoo convert`: any format to any other, strict and all or nothing."""

from __future__ import annotations

import time

import click

from zoo.anatomy.size import human_bytes
from zoo.cli import output
from zoo.cli.inspect import chosen, complete, lines, shared_options, writing_options
from zoo.cli.proving import is_family

EPILOG = """\b
Examples:
  zoo convert tiny ./tiny --to zoo --dry-run
  zoo convert tiny tiny.gguf --type q8_0
  zoo convert --prove llama gpt2
"""


@click.command(epilog=EPILOG)
@click.argument("source", required=False, shell_complete=complete)
@click.argument("folder", type=click.Path(), required=False)
@shared_options
@click.option(
    "--to", "format", metavar="FORMAT",
    help="zoo, dcp, hf, gguf, meta or another of the family. [default: zoo; gguf for a FOLDER that ends in .gguf]",
)  # fmt: skip
@click.option("--type", metavar="TYPE", help="Of a GGUF file's matrices: q8_0, q4_0, bf16, ...")
@click.option("--dtype", help="Cast the weights; a value that overflows is an error.")
@writing_options
@click.option("--adapter", metavar="FOLDER", help="Merge this folder of peft, made for SOURCE, into the weights.")
@click.option("--prove", is_flag=True, help="First test the weight tables on numbered elements, in both directions.")
@click.option("--json", "as_json", is_flag=True, help="The account as JSON.")
def command(
    source: str | None,
    folder: str | None,
    choices: tuple[str, ...],
    allow: tuple[str, ...],
    allow_pickle: bool,
    format: str | None,
    type: str | None,
    dtype: str | None,
    max_shard_size: str,
    adapter: str | None,
    force: bool,
    dry_run: bool,
    prove: bool,
    as_json: bool,
) -> None:
    """Write the checkpoint SOURCE to FOLDER, or a file that ends in .gguf, in another format.

    Nothing is written unless every tensor and config key matches; FOLDER is replaced completely or not at all.

    --prove first shows that every number goes to exactly one place and can be restored: for all families and formats,
    for the families named in the place of SOURCE, or for a SOURCE at its own sizes.
    """
    if folder is not None and folder.lstrip("+~").startswith(("model.", "family=")) and "=" in folder:
        folder, choices = None, (folder, *choices)  # an override where FOLDER is left out
    if format is None:
        format = "gguf" if folder is not None and folder.endswith(".gguf") else "zoo"
    if prove:
        from zoo.cli.proving import proven

        options = {"allow": allow, "allow_pickle": allow_pickle}
        if not proven(source, folder, choices, format=format, as_json=as_json, **options):
            raise click.exceptions.Exit(1)
        if source is None or folder is None or is_family(source):
            return
    if source is None or folder is None:
        raise click.UsageError(f"missing {'SOURCE' if source is None else 'FOLDER'}")
    from zoo.checkpoint.conversion import convert

    overrides, family = chosen(choices)
    start = time.perf_counter()
    done = convert(
        source, folder, *overrides, format=format, dtype=dtype, family=family, allow=allow, allow_pickle=allow_pickle,
        max_shard_size=max_shard_size, force=force, dry_run=dry_run, type=type, adapter=adapter,
    )  # fmt: skip
    seconds = time.perf_counter() - start
    if as_json:
        told = {
            "folder": str(done.folder), "format": format, "tensors": done.num_tensors, "bytes": done.nbytes,
            "dry_run": dry_run, "notes": [*done.notes],
        }  # fmt: skip
        output.as_json({**done.ledger.to_dict(), "written": told})
        return
    click.echo("\n".join(lines(done.ledger)))
    verb = "would write" if dry_run else "wrote     "
    for note in done.notes:
        click.echo(f"note       {note}")
    click.echo(
        f"{verb} {done.folder}  as {format}: {done.num_tensors} tensors, {human_bytes(done.nbytes)}  {seconds:.1f} s"
    )
