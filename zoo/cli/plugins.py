"""`zoo plugins`: what is loaded, from where, and why not."""

from __future__ import annotations

from typing import Any

import click

from zoo.cli import output
from zoo.errors import clean
from zoo.registry import Plugin, installed

EPILOG = """\b
Examples:
  zoo plugins
  zoo plugins --all
  zoo plugins --json
"""

COLUMNS = (
    output.Column("plugin"),
    output.Column("version"),
    output.Column("package"),
    output.Column("families", is_cut=True),
    output.Column("state", is_cut=True),
)


SLOW = 0.5  # seconds


@click.command(epilog=EPILOG)
@click.option("--all", "show_all", is_flag=True, help="The blocked ones too, in the table.")
@click.option("--json", "is_json", is_flag=True, help="Every plugin as JSON, blocked ones included.")
@click.option("--no-truncate", is_flag=True, help="Do not cut the table to the terminal's width.")
def command(show_all: bool, is_json: bool, no_truncate: bool) -> None:
    """List the installed plugins, the families they provide and why one is not loaded."""
    registry = installed()
    registry.try_out()
    plugins = registry.plugins
    if is_json:
        output.as_json([to_dict(p) for p in plugins])
        return
    shown = [p for p in plugins if show_all or p.state != "blocked"]
    output.table(COLUMNS, (_row(p) for p in shown), truncate=not no_truncate)
    if blocked := [f"{p.name} ({p.reason})" for p in plugins if p.state == "blocked" and not show_all]:
        output.note(f"blocked: {', '.join(blocked)}")
    if slow := [f"{p.name} ({p.seconds:.1f} s)" for p in plugins if p.state != "built in" and p.seconds > SLOW]:
        output.note(f"slow to import, and every command waits for them: {', '.join(slow)}")


def to_dict(p: Plugin) -> dict[str, Any]:
    """A plugin as JSON values."""
    return {
        "name": p.name,
        "version": p.version,
        "package": p.distribution,
        "families": [family.name for family in p.families],
        "config_packages": list(p.config_packages),
        "formats": [f"{f.family}: {f.name}" for f in p.formats],
        "commands": [command.name for command in p.commands],
        "state": p.state,
        "reason": p.reason,
        "seconds": round(p.seconds, 6),
    }


def state(p: Plugin) -> str:
    """What became of a plugin, in words."""
    match p.state:
        case "loaded":
            return f"loaded in {p.seconds * 1000:.0f} ms"
        case "broken":
            return f"BROKEN  {clean(p.reason, 200)}"
        case "refused" | "blocked":
            return f"{p.state}  {clean(p.reason, 200)}"
    return p.state


def _row(p: Plugin) -> tuple[object, ...]:
    families = " ".join(family.name for family in p.families)
    return clean(p.name), clean(p.version), clean(p.distribution), families, state(p)
