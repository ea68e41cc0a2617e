"""`zoo list`: every model that can be built by name. Imports neither torch nor Hydra."""

from __future__ import annotations

import click

from zoo.cli import output
from zoo.errors import UnknownName, clean, some
from zoo.presets import ModelRecord, in_the_box, list_models, matches
from zoo.registry import installed
from zoo.units import human_count

EPILOG = """\b
Examples:
  zoo list
  zoo list 'llama3*'
  zoo list --family llama --json
"""

COLUMNS = (
    output.Column("model"),
    output.Column("family"),
    output.Column("params", human_count, is_number=True),
    output.Column("layers", is_number=True),
    output.Column("attention", is_cut=True),
    output.Column("position", is_cut=True),
    output.Column("context", lambda tokens: f"{tokens:,}", is_number=True),
    output.Column("weights", is_cut=True),
    output.Column("gated", lambda is_gated: "gated" if is_gated else ""),
)


KNOWN = ("gpt2", "llama3-8b")  # that most people know: what to look at where all models are listed


@click.command(epilog=EPILOG)
@click.argument("pattern", required=False)
@click.option("--family", metavar="NAME", help="Only models of this family.")
@click.option("--json", "is_json", is_flag=True, help="Every field of every model as JSON.")
@click.option("-q", "--quiet", is_flag=True, help="Names only.")
@click.option("--no-truncate", is_flag=True, help="Do not cut the table to the terminal's width.")
def command(pattern: str | None, family: str | None, is_json: bool, quiet: bool, no_truncate: bool) -> None:
    """List the models that zoo can build, with their traits and sizes.

    PATTERN is a shell pattern, or part of a name. In a pipe the table is tab-separated.
    """
    found = list_models(pattern, family=family)
    if pattern and not found:
        raise _nothing(pattern, family)
    if is_json:
        from dataclasses import asdict

        output.as_json([asdict(r) for r in found])
    elif quiet:
        output.names(r.name for r in found)
    else:
        boxed = in_the_box()
        output.table(COLUMNS, (_row(r, boxed) for r in found), truncate=not no_truncate)
        total = len(list_models()) if pattern or family else len(found)
        output.note(f"{len(found)} of {total} models.{_next(found)}")
    _tell_problems(found)


def _next(found: list[ModelRecord]) -> str:
    """What to type next: of the first model listed, and of two of different kinds where there are such."""
    able = [r for r in found if r.problem is None or not r.problem]
    if not able:
        return ""
    names = [r.name for r in able]
    if {*KNOWN} <= {*names}:  # all are listed
        return f" More: zoo show {KNOWN[1]} · zoo compare {' '.join(KNOWN)}"
    first = next((r for r in able if r.hub), able[0])
    others = [r for r in able if r.name != first.name and r.parameters != first.parameters]
    other = next((r for r in others if r.attention != first.attention), others[0] if others else None)
    return f" More: zoo show {first.name}" + (f" · zoo compare {first.name} {other.name}" if other else "")


def _nothing(pattern: str, family: str | None) -> UnknownName:
    """What to say where no model matches: what is near, and where one would match that is not listed."""
    known = [r.name for r in list_models(family=family)]
    hidden = [name for name in installed().presets() if matches(name, pattern)]
    hint = f"of other families, or of a plugin that is not loaded: {some(hidden)}" if hidden else ""
    within = f" of the family {family}" if family else ""
    return UnknownName(f"no model{within} matches {pattern!r}{installed().not_loaded}", pattern, known, hint=hint)


def _row(r: ModelRecord, boxed: frozenset[str]) -> tuple[object, ...]:
    home = "in the box" if r.name in boxed else r.hub
    return r.name, r.family, r.parameters, r.num_layers, r.attention, r.position, r.max_seq_len, home, r.gated


def _tell_problems(found: list[ModelRecord]) -> None:
    """What is not as it should be, a line for plugins and a line for presets."""
    plugins = [p for p in installed().plugins if p.state in ("broken", "refused")]
    if plugins:
        told = "; ".join(f"{p.name} ({clean(p.distribution)} {clean(p.version)}): {clean(p.reason)}" for p in plugins)
        output.note(f"not loaded: {told}. See: zoo plugins")
    if presets := [r for r in found if r.problem]:
        told = "; ".join(f"{clean(r.name)} ({clean(r.plugin)}): {r.problem}" for r in presets)
        output.note(f"cannot be used: {told}")
