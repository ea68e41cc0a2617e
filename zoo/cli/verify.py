"""`zoo verify`: a checkpoint against a reference, and the goldens of the installed families."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click

from zoo.cli import output
from zoo.cli.inspect import chosen, complete, shared_options

EPILOG = """\b
Examples:
  zoo verify tiny --against tiny
  zoo verify hf://HuggingFaceTB/SmolLM2-135M --against transformers
  zoo verify --golden
"""


@click.command(epilog=EPILOG)
@click.argument("source", required=False, shell_complete=complete)
@shared_options
@click.option(
    "--against", metavar="REF",
    help="Another source; transformers, with the same checkpoint; or golden, the family's stored numbers."
    "  [default: transformers]",
)  # fmt: skip
@click.option("--golden", is_flag=True, help="Recompute the stored numbers of all families, or of those that you name.")
@click.option("--dtype", help="The type in which both sides compute.  [default: float64 if it fits, else float32]")
@click.option("--length", type=click.IntRange(2), help="Tokens of each text.  [default: 61, or beyond a window]")
@click.option(
    "--limit", type=click.FloatRange(0, min_open=True), metavar="X",
    help="Largest difference, in units of the root mean square.  [default: what rounding leaves, the reference's too]",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Every number as JSON.")
def command(
    source: str | None,
    choices: tuple[str, ...],
    allow: tuple[str, ...],
    allow_pickle: bool,
    against: str | None,
    golden: bool,
    dtype: str | None,
    length: int | None,
    limit: float | None,
    as_json: bool,
) -> None:
    """Run the same tokens through SOURCE and through a reference; exit code 1 if they are not the same.

    The reference also runs against itself, and its difference from itself is not counted. If the two are not the same,
    the first module that differs is named, and the mistake that explains it.
    With --golden, name families in the place of SOURCE; goldens need neither transformers nor a checkpoint.
    """
    if golden and against is not None:
        raise click.UsageError("--golden cannot be used with --against")
    if limit is not None and (golden or against == "golden"):
        raise click.UsageError("goldens have their own limits: leave out --limit")
    if golden:
        names = [word for word in (source, *choices) if word]
        passed = rerun(names, as_json=as_json)
    elif source is None:
        raise click.UsageError("missing SOURCE, or --golden")
    elif against == "golden" and not Path("golden").exists():
        passed = rerun([family_of(source, choices, allow, allow_pickle)], as_json=as_json)
    else:
        overrides, family = chosen(choices)
        settings: dict[str, Any] = {
            "family": family,
            "allow": allow,
            "allow_pickle": allow_pickle,
            "dtype": dtype,
            "length": length,
            "limit": limit,
            "against": against or "transformers",
        }
        passed = hold(source, overrides, settings, as_json=as_json)
    if not passed:
        raise click.exceptions.Exit(1)


def hold(source: str, overrides: list[str], settings: dict[str, Any], *, as_json: bool) -> bool:
    """Verify one source and print the answer."""
    from zoo.verification import verify

    result = verify(source, *overrides, **settings)
    if as_json:
        output.as_json(result.to_dict())
    else:
        click.echo(result.table())
    return result.passed


def rerun(names: list[str], *, as_json: bool) -> bool:
    """Run goldens and print a line each."""
    from zoo.verification.goldens.rerun import rerun_goldens, without_golden

    start = time.perf_counter()
    results = list(rerun_goldens(names))
    missing = [name for name in without_golden() if not names or name in names]
    failed = [result for result in results if not result.passed]
    if as_json:
        output.as_json(
            {"passed": not failed, "goldens": [result.to_dict() for result in results], "without_golden": missing}
        )
        return not failed
    for result in results:
        click.echo(str(result))
    click.echo(
        f"{len(results) - len(failed)} goldens agree, {len(failed)} do not.  {time.perf_counter() - start:.1f} s"
    )
    for name in missing:
        click.echo(f"note: {name} has no golden", err=True)
    return not failed


def family_of(source: str, choices: tuple[str, ...], allow: tuple[str, ...], allow_pickle: bool) -> str:
    """The family of a source, once every tensor of it has a place."""
    from zoo.checkpoint.inspection import inspect

    overrides, family = chosen(choices)
    ledger = inspect(source, *overrides, family=family, allow=allow, allow_pickle=allow_pickle)
    ledger.check()
    return ledger.family.name
