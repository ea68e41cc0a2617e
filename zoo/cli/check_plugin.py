"""`zoo check-plugin`: holds a plugin's families to the contract, a line per property."""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from zoo.cli import output
from zoo.errors import UsageError, clean

if TYPE_CHECKING:
    from zoo.testing import Check

EPILOG = """\b
Examples:
  zoo check-plugin llama
  zoo check-plugin gpt2 --group cache --group weights
  zoo check-plugin vit --json
"""

COLUMNS = (
    output.Column("#", is_number=True),
    output.Column("group"),
    output.Column("property"),
    output.Column("state"),
    output.Column("found", is_cut=True),
)


@click.command(epilog=EPILOG)
@click.argument("name", metavar="NAME|DIST")
@click.option("--preset", metavar="MODEL", help="Check this preset's config instead of the family's tiny one.")
@click.option("--group", "groups", multiple=True, metavar="GROUP", help="Only: registry, config, model, cache, ...")
@click.option("--json", "is_json", is_flag=True, help="Every property of every family as JSON.")
@click.option("-q", "--quiet", is_flag=True, help="Failed properties only.")
@click.option("--no-truncate", is_flag=True, help="Do not cut the table to the terminal's width.")
def command(
    name: str, preset: str | None, groups: tuple[str, ...], is_json: bool, quiet: bool, no_truncate: bool
) -> int:
    """Check that a family, or all families of a distribution, keep zoo's contract.

    Models are small, built with random weights and run on the CPU. Exit code 1 if any property fails.
    """
    from zoo.testing import GROUPS, check_family
    from zoo.testing.targets import families_of, loading, plugins_of

    plugins, families = plugins_of(name), families_of(name)
    if preset and len(families) != 1:
        raise UsageError(f"--preset works with one family, {name!r} has {len(families)}", hint="name the family")
    checks = {"": [loading(plugin) for plugin in plugins]}
    for family in families:
        checks[family] = check_family(family, preset=preset, groups=groups or GROUPS)
    counts = Counter(check.state for found in checks.values() for check in found)
    if is_json:
        output.as_json(to_dict(name, checks))
    else:
        _tell(checks, quiet, truncate=not no_truncate)
        if not quiet:
            output.note(summary(counts, is_published={p.state for p in plugins} == {"built in"}))
    return 1 if counts["fail"] else 0


def to_dict(name: str, checks: dict[str, list[Check]]) -> dict[str, Any]:
    """The outcome as JSON values; checks of no family are those of the plugins themselves."""
    counts = Counter(check.state for found in checks.values() for check in found)
    return {
        "name": name,
        "checks": [{"family": family, **asdict(check)} for family, found in checks.items() for check in found],
        **{state: counts[state] for state in ("ok", "skip", "fail")},
    }


def summary(counts: Counter[str], *, is_published: bool) -> str:
    """How many of each, and what comes next."""
    told = [f"{counts[state]} {word}" for state, word in WORDS.items() if counts[state]]
    if counts["fail"]:
        return ", ".join(told)
    return ", ".join(told) + ("." if is_published else ". Publish: python -m build && twine upload dist/*")


WORDS = {"ok": "ok", "skip": "skipped", "fail": "failed"}


def _tell(checks: dict[str, list[Check]], quiet: bool, *, truncate: bool) -> None:
    """A table; on a pipe, and where several families are told of, with the family in the property's place."""
    several = len(checks) > 2
    rows = [
        (
            check.number or None,
            check.group,
            _title(family if several else "", check),
            check.state,
            clean(check.detail, 600),
        )
        for family, found in checks.items()
        for check in found
        if not quiet or check.state == "fail"
    ]
    if rows or not quiet:
        output.table(COLUMNS, rows, truncate=truncate)
    if sys.stdout.isatty() and truncate:  # the table cuts long lines, and these are what one came for
        for check in (c for found in checks.values() for c in found if c.state == "fail"):
            output.note(f"{check.number or ''} {check}".strip())


def _title(family: str, check: Check) -> str:
    return f"{family}: {check.name}" if family else check.name
