"""What opens a door is shut unless somebody opens it: pickles, the network, other people's folders, publishing."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
DOORS = {"allow_pickle", "allow_network", "force", "dry_run", "private", "local_files_only"}


def defaults() -> Iterator[tuple[str, str, ast.expr | None]]:
    """File, name and default of every parameter that opens a door and has a default."""
    for file in (ROOT / "zoo").rglob("*.py"):
        text = file.read_text(encoding="utf-8")
        for node in ast.walk(ast.parse(text)) if any(door in text for door in DOORS) else ():
            if isinstance(node, ast.FunctionDef):
                args = node.args
                given = zip(args.args[::-1], args.defaults[::-1], strict=False)
                named = zip(args.kwonlyargs, args.kw_defaults, strict=True)
                yield from ((file.name, a.arg, d) for a, d in [*given, *named] if a.arg in DOORS and d is not None)


def test_no_door_is_open_by_default() -> None:
    found = list(defaults())
    assert {name for _, name, _ in found} == DOORS, "a door has another name, and this test no longer sees it"
    assert not [(file, name) for file, name, value in found if getattr(value, "value", None) is not False]
