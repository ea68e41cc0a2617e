"""`zoo quantize`: a checkpoint with its matrices rounded to a few bits: a folder, or a GGUF file."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import click

from zoo.anatomy.size import human_bytes
from zoo.cli import output
from zoo.cli.inspect import chosen, complete, lines, shared_options, writing_options
from zoo.weights.account import grouped

if TYPE_CHECKING:
    from zoo.checkpoint.quantising import Quantised

EPILOG = """\b
Examples:
  zoo quantize tiny ./tiny-int8 --to int8
  zoo quantize tiny ./tiny-int4 --to int4 --group 64 --text sample
  zoo quantize tiny ./tiny.gguf --to q8_0
"""


@click.command(epilog=EPILOG)
@click.argument("source", shell_complete=complete)
@click.argument("folder", type=click.Path())
@shared_options
@click.option(
    "--to", "form", default="int8", show_default=True, metavar="FORM",
    help="int8, int4, fp8 (compressed-tensors), nf4 (bitsandbytes); q8_0, q4_0 (one GGUF file).",
)  # fmt: skip
@click.option("--group", type=int, help="Columns that share a scale in int4: 32, 64 or 128.  [default: 32]")
@click.option("--dtype", help="Cast the weights that are not packed; a value that overflows is an error.")
@click.option("--text", metavar="FILE", help="Read this text, or sample, with both: perplexity and KL.")
@writing_options
@click.option("--json", "as_json", is_flag=True, help="The account and the error of every weight as JSON.")
def command(
    source: str,
    folder: str,
    choices: tuple[str, ...],
    allow: tuple[str, ...],
    allow_pickle: bool,
    form: str,
    group: int | None,
    dtype: str | None,
    text: str | None,
    max_shard_size: str,
    force: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Write the checkpoint SOURCE to FOLDER with the matrices of its layers packed, rounded to nearest.

    Embedding, head, router, norms and what reads images keep their numbers. The error of every packed weight is told.
    FOLDER is a Hugging Face folder in the layout of compressed-tensors or bitsandbytes, which transformers reads. With
    q8_0 or q4_0 it is the name of a GGUF file, OUT.gguf, in which embedding and head are rounded too. It is replaced
    completely or not at all.
    """
    from zoo.checkpoint.quantising import quantize
    from zoo.measurement.passages import read_text

    if text is not None:
        read_text(text)  # a name mistyped is told before anything is written
    overrides, family = chosen(choices)
    start = time.perf_counter()
    done = quantize(
        source, folder, *overrides, form=form, group=group, dtype=dtype, family=family, allow=allow,
        allow_pickle=allow_pickle, max_shard_size=max_shard_size, force=force, dry_run=dry_run,
    )  # fmt: skip
    seconds = time.perf_counter() - start
    measured = None if text is None or dry_run else _measured(done, source, overrides, text, family=family, allow=allow,
                                                              allow_pickle=allow_pickle)  # fmt: skip
    if as_json:
        found = None if measured is None else measured.to_dict()
        output.as_json({**done.ledger.to_dict(), "written": done.to_dict() | {"dry_run": dry_run, "measured": found}})
        return
    click.echo("\n".join(lines(done.ledger)))
    verb = "would write" if dry_run else "wrote     "
    click.echo("\n".join(f"{verb if i == 0 else '          '} {line}" for i, line in enumerate(_told(done, seconds))))
    if measured is not None:
        _tell(measured)


def _told(done: Quantised, seconds: float) -> list[str]:
    """What was written, and what it cost in numbers."""
    bits = 8 * done.packed_bytes / max(1, done.numbers)
    told = [
        f"{done.folder}  as {done.form}: {done.words}; {human_bytes(done.nbytes)} in all, packed weights "
        f"{human_bytes(done.packed_bytes)}, {bits:.2f} bits each  {seconds:.1f} s",
        f"as they are: {', '.join(grouped(done.kept)[:6]) or 'vectors and norms'}",
    ]
    if done.errors:
        name, worst = done.worst
        told.append(f"relative error {done.mean:.2%} on average of {len(done.errors)} weights, {worst:.2%} in {name}")
    return told


def _measured(done: Quantised, source: str, overrides: Any, text: str, **options: Any) -> Any:
    """Both models on a text, the source first."""
    from zoo.measurement.measuring import measure
    from zoo.measurement.subject import open_source

    return measure([open_source(source, *overrides, **options), open_source(done.folder)], text=text)


def _tell(measured: Any) -> None:
    first, second = measured.models
    for found in (first, second):
        if found.reading is None:
            output.note(f"{found.source}: {found.reason}")
            return
    kl = "" if second.agreement is None else f" · KL {second.agreement.mean_kl:.3g} nats per token, "
    same = "" if second.agreement is None else f"the same likeliest token in {second.agreement.share:.1%}"
    click.echo(f"text       perplexity {first.reading.perplexity:.3f} → {second.reading.perplexity:.3f}{kl}{same}")
